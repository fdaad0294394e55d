//! Unpacks untrusted source tarballs (`.tar.xz`, `.tar.gz`).
//!
//! A tarball comes from the network, and [`crate::file_list`] verifies files only after they are unpacked. So no path leaves
//! the folder, no link is created, and size and count are bounded. The first bytes decide the format, not the name. Modes,
//! owners and times are dropped, except for the right to execute.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use diag::Diagnostic;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use tar::{Archive, EntryType};

use crate::codes::SOURCE_ARCHIVE;

/// OpenBLAS with its LAPACK is 120 MB; more than this is not a source tarball.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: usize = 200_000;
/// `xz -9` needs 65 MiB to unpack.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;

const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks `tarball` into the existing folder `dest`, without the first component of each path.
pub fn unpack(tarball: &Path, dest: &Path) -> Result<()> {
    let reading = || format!("reading `{}`", tarball.display());
    let mut file = File::open(tarball).with_context(reading)?;
    let mut magic = Vec::new();
    file.by_ref().take(XZ_MAGIC.len() as u64).read_to_end(&mut magic).with_context(reading)?;
    file.rewind().with_context(reading)?;
    let packed = BufReader::new(file);
    let unpacked = if magic == XZ_MAGIC {
        unpack_tar(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB_MAX), dest, UNPACKED_BYTES_MAX)
    } else if magic.starts_with(&GZIP_MAGIC) {
        unpack_tar(MultiGzDecoder::new(packed), dest, UNPACKED_BYTES_MAX)
    } else {
        return Err(Diagnostic::new(&SOURCE_ARCHIVE, "a file is neither .tar.xz nor .tar.gz")
            .file(tarball)
            .found(format!("a file that starts with {magic:02x?}"))
            .hint("a failed download often leaves a page of text; look at the file, then remove it and fetch again")
            .into());
    };
    // The decompressor's own text ("dist overflow") does not name the remedy.
    unpacked.map_err(|error| {
        Diagnostic::new(&SOURCE_ARCHIVE, "a source tarball cannot be unpacked")
            .file(tarball)
            .expected("a complete tarball")
            .found(format!("{error:#}"))
            .hint("it is damaged or truncated: remove it (in the cache: its whole folder) and run this again")
            .into()
    })
}

fn unpack_tar(tar: impl Read, dest: &Path, bytes_max: u64) -> Result<()> {
    let mut archive = Archive::new(Bounded { inner: tar, left: bytes_max, max: bytes_max });
    let mut files = 0;
    for (index, entry) in archive.entries()?.enumerate() {
        ensure!(index < ENTRIES_MAX, "more than {ENTRIES_MAX} entries");
        let mut entry = entry.context("damaged or truncated")?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue; // git archive writes its commit there
        }
        let path = entry.path().context("path of an entry")?.into_owned();
        let Some(relative) = strip_first_component(&path)? else { continue };
        let target = dest.join(&relative);
        match kind {
            EntryType::Directory => create_folder(&target)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if let Some(folder) = target.parent() {
                    create_folder(folder)?;
                }
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                // create_new: a second entry of the same name must not change what the first one wrote
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(if executable { 0o755 } else { 0o644 })
                    .open(&target)
                    .with_context(|| format!("creating `{}`", target.display()))?;
                io::copy(&mut entry, &mut file).with_context(|| format!("unpacking `{}`", path.display()))?;
                files += 1;
            }
            EntryType::Symlink | EntryType::Link => {
                let link = entry.link_name().context("target of a link")?.unwrap_or_default().into_owned();
                // a hard link counts from the top of the archive, a symbolic one from its own folder
                let base = if kind == EntryType::Link {
                    Path::new("")
                } else {
                    path.parent().unwrap_or(Path::new(""))
                };
                ensure!(
                    stays_inside(base, &link),
                    "`{}` is a link out of the tree, to `{}`",
                    path.display(),
                    link.display()
                );
                // Links are not created: no built file is a link, and a listed file that is one is then reported as
                // missing.
            }
            other => bail!("`{}` is neither file, folder nor link but {other:?}", path.display()),
        }
    }
    ensure!(files > 0, "it holds no file");
    // read to the end, so that the checksum of the compressed stream is compared
    io::copy(&mut archive.into_inner(), &mut io::sink())
        .context("damaged after the last file")?;
    Ok(())
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating folder `{}`", path.display()))
}

/// `a/b/c` -> `b/c`; nothing for the top folder itself.
fn strip_first_component(path: &Path) -> Result<Option<PathBuf>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => bail!("`{}` is an absolute path or leads out of the tree", path.display()),
        }
    }
    Ok((parts.len() > 1).then(|| parts[1..].iter().collect()))
}

/// Whether `base/link` is below the top folder of the archive. Purely textual; the file system is not read.
fn stays_inside(base: &Path, link: &Path) -> bool {
    let mut depth = base.components().filter(|part| matches!(part, Component::Normal(_))).count();
    for part in link.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 1 => depth -= 1,
            _ => return false,
        }
    }
    true
}

/// A reader that fails after `max` bytes. Ending instead would look like a short archive.
struct Bounded<R> {
    inner: R,
    left: u64,
    max: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("holds more than {} bytes", self.max))),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
