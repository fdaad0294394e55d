//! Where the files of a model are: in a folder, or inside the program.
//!
//! The second exists for the self-test of a shipped binary, which has to open a model in an image that holds nothing but the
//! binary. Both ways go through the same checks; what differs is here.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::config;
use crate::error::{ModelError, ModelErrorKind as Kind};
use crate::sigbus_guard::MappedFile;

/// The files of one model inside the program: path within the model's folder, and content. The weights are used in place, so
/// their content must lie on a 4-byte boundary; that is checked.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

#[derive(Clone, Copy)]
pub(crate) struct ModelFiles<'a> {
    dir: &'a Path,
    embedded: Option<EmbeddedFiles>,
}

/// One file, there or not. Reads as the path that error messages show.
pub(crate) struct ModelFile {
    path: PathBuf,
    embedded: Option<EmbeddedFiles>,
    /// Within the model.
    relative: PathBuf,
}

/// The bytes of a weight file, not copied.
pub(crate) enum WeightBytes {
    File(MappedFile),
    Embedded(&'static [u8]),
}

impl<'a> ModelFiles<'a> {
    pub fn folder(dir: &'a Path) -> Result<Self, ModelError> {
        if !dir.is_dir() {
            let found = if dir.exists() { "not a folder" } else { "nothing" };
            let hint = format!("ls -l {}", dir.display());
            return Err(ModelError::new(Kind::MissingFile, dir, "a model folder", found, hint));
        }
        Ok(Self { dir, embedded: None })
    }

    pub fn embedded(name: &'a str, files: EmbeddedFiles) -> Self {
        Self { dir: Path::new(name), embedded: Some(files) }
    }

    pub fn file(&self, relative: impl AsRef<Path>) -> ModelFile {
        let relative = relative.as_ref();
        ModelFile { path: self.dir.join(relative), embedded: self.embedded, relative: relative.to_owned() }
    }

    /// The last part of the folder's real path.
    pub fn name(&self) -> String {
        let real = if self.embedded.is_none() { self.dir.canonicalize().ok() } else { None };
        let name = real.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.dir.display().to_string())
    }
}

impl Deref for ModelFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl ModelFile {
    pub fn bytes(&self) -> Result<Cow<'static, [u8]>, ModelError> {
        match self.embedded {
            Some(files) => self.find(files).map(Cow::Borrowed),
            None => std::fs::read(&self.path).map(Cow::Owned).map_err(|error| config::io(&self.path, &error)),
        }
    }

    /// Without reading it.
    pub fn len(&self) -> Result<u64, ModelError> {
        match self.embedded {
            Some(files) => self.find(files).map(|bytes| bytes.len() as u64),
            None => std::fs::metadata(&self.path)
                .map(|file| file.len())
                .map_err(|error| config::io(&self.path, &error)),
        }
    }

    pub fn map(&self) -> Result<WeightBytes, ModelError> {
        if let Some(files) = self.embedded {
            let bytes = self.find(files)?;
            if !bytes.as_ptr().addr().is_multiple_of(align_of::<f32>()) {
                let expected = format!("weights in the program at a multiple of {} bytes", align_of::<f32>());
                let hint = "embed the file in an aligned static";
                return Err(ModelError::new(
                    Kind::Misaligned,
                    self,
                    expected,
                    format!("{:p}", bytes.as_ptr()),
                    hint,
                ));
            }
            return Ok(WeightBytes::Embedded(bytes));
        }
        let handle = File::open(&self.path).map_err(|error| config::io(&self.path, &error))?;
        MappedFile::open(handle).map(WeightBytes::File).map_err(|error| config::io(&self.path, &error))
    }

    fn find(&self, files: EmbeddedFiles) -> Result<&'static [u8], ModelError> {
        let found = files.iter().find(|(path, _)| Path::new(path) == self.relative);
        found
            .map(|(_, bytes)| *bytes)
            .ok_or_else(|| config::io(&self.path, &std::io::Error::from(std::io::ErrorKind::NotFound)))
    }
}

impl WeightBytes {
    pub fn read_ahead(&self) {
        if let Self::File(file) = self {
            file.read_ahead();
        }
    }

    /// The bytes are those that were opened.
    pub fn intact(&self) -> bool {
        match self {
            Self::File(file) => file.intact(),
            Self::Embedded(_) => true,
        }
    }
}

impl Deref for WeightBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}
