//! Access to the files of a model: in a folder, or embedded in the program.
//!
//! Embedded files let the self-test of a released binary open a model in an image that contains nothing but the binary.
//! Both sources pass the same checks; only this module distinguishes them.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use crate::error::{ModelError, ModelErrorKind};
use crate::sigbus_guard::MappedFile;

/// The files of one model inside the program: path within the model folder, and content. The weights are used in place, so
/// their content must start on a 4-byte boundary, which opening the model checks.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// The files of one model.
#[derive(Clone, Copy)]
pub(crate) struct ModelFiles<'a> {
    dir: &'a Path,
    embedded: Option<EmbeddedFiles>,
}

/// One file, whether it exists or not. Dereferences to the path that error messages show.
pub(crate) struct ModelFile {
    path: PathBuf,
    embedded: Option<EmbeddedFiles>,
    /// Within the model folder.
    relative: PathBuf,
}

/// The content of a weight file, without a copy.
pub(crate) enum WeightBytes {
    Mapped(MappedFile),
    Embedded(&'static [u8]),
}

impl<'a> ModelFiles<'a> {
    /// The files of an existing folder.
    pub fn in_folder(dir: &'a Path) -> Result<Self, ModelError> {
        if !dir.is_dir() {
            let found = if dir.exists() { "not a folder" } else { "no such folder" };
            let hint = format!("ls -l {}", dir.display());
            return Err(ModelError::new(ModelErrorKind::MissingFile, dir, "a model folder", found, hint));
        }
        Ok(Self { dir, embedded: None })
    }

    /// Files inside the program; `name` replaces the path of the folder in messages.
    pub fn embedded(name: &'a str, files: EmbeddedFiles) -> Self {
        Self { dir: Path::new(name), embedded: Some(files) }
    }

    pub fn file(&self, relative: impl AsRef<Path>) -> ModelFile {
        let relative = relative.as_ref();
        ModelFile { path: self.dir.join(relative), embedded: self.embedded, relative: relative.to_owned() }
    }

    /// The last component of the canonical path of the folder.
    pub fn name(&self) -> String {
        let canonical = if self.embedded.is_none() { self.dir.canonicalize().ok() } else { None };
        let name = canonical.as_deref().and_then(Path::file_name);
        name.map_or_else(|| self.dir.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

impl Deref for ModelFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl ModelFile {
    pub fn read(&self) -> Result<Cow<'static, [u8]>, ModelError> {
        match self.embedded {
            Some(files) => self.find(files).map(Cow::Borrowed),
            None => std::fs::read(&self.path).map(Cow::Owned).map_err(|error| self.io_error(&error)),
        }
    }

    /// The length in bytes, without reading the file.
    pub fn len(&self) -> Result<u64, ModelError> {
        match self.embedded {
            Some(files) => self.find(files).map(|bytes| bytes.len() as u64),
            None => {
                std::fs::metadata(&self.path).map(|file| file.len()).map_err(|error| self.io_error(&error))
            }
        }
    }

    /// Maps a file, or borrows embedded bytes after a check of their alignment.
    pub fn map(&self) -> Result<WeightBytes, ModelError> {
        let Some(files) = self.embedded else {
            let file = File::open(&self.path).map_err(|error| self.io_error(&error))?;
            return MappedFile::open(file).map(WeightBytes::Mapped).map_err(|error| self.io_error(&error));
        };
        let bytes = self.find(files)?;
        if !bytes.as_ptr().addr().is_multiple_of(align_of::<f32>()) {
            let expected = format!("embedded weights at a multiple of {} bytes", align_of::<f32>());
            let (found, hint) = (format!("{:p}", bytes.as_ptr()), "embed the file in an aligned static");
            return Err(ModelError::new(ModelErrorKind::Misaligned, self, expected, found, hint));
        }
        Ok(WeightBytes::Embedded(bytes))
    }

    fn find(&self, files: EmbeddedFiles) -> Result<&'static [u8], ModelError> {
        let found = files.iter().find(|(path, _)| Path::new(path) == self.relative);
        found.map(|(_, bytes)| *bytes).ok_or_else(|| self.io_error(&io::ErrorKind::NotFound.into()))
    }

    fn io_error(&self, error: &io::Error) -> ModelError {
        ModelError::io(&self.path, error)
    }
}

impl WeightBytes {
    pub fn read_ahead(&self) {
        if let Self::Mapped(file) = self {
            file.read_ahead();
        }
    }

    /// Drops the pages of a range from memory, unless they are part of the program.
    pub fn release_pages(&self, bytes: Range<usize>) {
        if let Self::Mapped(file) = self {
            file.release_pages(bytes);
        }
    }

    /// Whether the content is still that of the opened file. Reads a file whose times changed.
    pub fn is_intact(&self) -> bool {
        match self {
            Self::Mapped(file) => file.is_intact(),
            Self::Embedded(_) => true,
        }
    }

    /// The same without reading the file, so the answer can be late.
    pub fn seems_intact(&self) -> bool {
        match self {
            Self::Mapped(file) => file.seems_intact(),
            Self::Embedded(_) => true,
        }
    }

    /// Starts to read the content, for comparisons when the times of the file change.
    pub fn remember_content(&self) {
        if let Self::Mapped(file) = self {
            file.remember_content();
        }
    }
}

impl Deref for WeightBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}
