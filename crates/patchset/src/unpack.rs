//! Source tarballs (`.tar.xz`, `.tar.gz`) into a folder, without trust in what they hold.
//!
//! An archive comes from the network, and [`super::manifest`] verifies files only after they are unpacked. So here: no path
//! leaves the folder, no link is ever made, and size and count are bounded. The format is told by the first bytes, not
//! by the name. Modes, owners and times are dropped, except for the right to execute.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use tar::{Archive, EntryType};

/// OpenBLAS with its LAPACK is 120 MB; more than this is not a source tarball.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: usize = 200_000;
/// `xz -9` needs 65 MiB to unpack.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;

const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks `tarball` into the existing folder `dest`, less the first component of each path.
pub fn unpack(tarball: &Path, dest: &Path) -> Result<()> {
    let at = || format!("unpacking `{}`", tarball.display());
    let mut file = File::open(tarball).with_context(at)?;
    let mut magic = Vec::new();
    file.by_ref().take(XZ_MAGIC.len() as u64).read_to_end(&mut magic).with_context(at)?;
    file.rewind().with_context(at)?;
    let packed = BufReader::new(file);
    if magic == XZ_MAGIC {
        unpack_tar(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB_MAX), dest, UNPACKED_BYTES_MAX)
            .with_context(at)
    } else if magic.starts_with(&GZIP_MAGIC) {
        unpack_tar(MultiGzDecoder::new(packed), dest, UNPACKED_BYTES_MAX).with_context(at)
    } else {
        bail!(
            "`{}` is neither .tar.xz nor .tar.gz: it starts with {magic:02x?}\n\
             hint: a download that failed often leaves a page of text; look at the file, then remove it and fetch again",
            tarball.display()
        );
    }
}

fn unpack_tar(tar: impl Read, dest: &Path, bytes_max: u64) -> Result<()> {
    let mut archive = Archive::new(Bounded { inner: tar, left: bytes_max, max: bytes_max });
    let mut files = 0;
    for (index, entry) in archive.entries()?.enumerate() {
        ensure!(index < ENTRIES_MAX, "more than {ENTRIES_MAX} entries");
        let mut entry = entry.context("damaged or cut short\nhint: remove the file and fetch it again")?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue; // git archive writes its commit there
        }
        let path = entry.path().context("path of an entry")?.into_owned();
        let Some(relative) = strip_first_component(&path)? else { continue };
        let target = dest.join(&relative);
        match kind {
            EntryType::Directory => make_folder(&target)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if let Some(folder) = target.parent() {
                    make_folder(folder)?;
                }
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                // create_new: a second entry of the same name must not change what the first one wrote
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(if executable { 0o755 } else { 0o644 })
                    .open(&target)
                    .with_context(|| format!("making `{}`", target.display()))?;
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
                // Harmless, and still not made: nothing that is built is a link, and a listed file that is one is
                // then reported as missing.
            }
            other => bail!("`{}` is neither file, folder nor link but {other:?}", path.display()),
        }
    }
    ensure!(files > 0, "no file in it");
    // to the end, so that the checksum of the compressed stream is compared
    io::copy(&mut archive.into_inner(), &mut io::sink())
        .context("damaged after the last file\nhint: remove the file and fetch it again")?;
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making folder `{}`", path.display()))
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

/// Whether `base/link` is below the top folder of the archive, read as text: nothing is looked up on disk.
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

/// A reader that fails, rather than ends, when more than `max` bytes come out: an end would look like a short archive.
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
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(size);
        header
    }

    /// Written into the raw name field: the builder itself refuses the paths that a hostile archive holds.
    fn with_name(mut header: Header, name: &str) -> Header {
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        header
    }

    fn tar_of(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().unwrap()
    }

    fn file(name: &str, text: &str) -> Vec<u8> {
        tar_of(|tar| {
            tar.append(&with_name(header(EntryType::Regular, text.len() as u64), name), text.as_bytes())
                .unwrap();
        })
    }

    fn link(kind: EntryType, name: &str, target: &str) -> Vec<u8> {
        tar_of(|tar| {
            let mut header = header(kind, 0);
            header.set_link_name_literal(target).unwrap();
            tar.append(&with_name(header, name), io::empty()).unwrap();
            let text = header_of_good_file();
            tar.append(&text, &b"a"[..]).unwrap();
        })
    }

    fn header_of_good_file() -> Header {
        with_name(header(EntryType::Regular, 1), "top/good.c")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The folder that was unpacked into, or the whole chain of errors.
    fn unpack_bytes(bytes: &[u8]) -> std::result::Result<tempfile::TempDir, String> {
        let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tarball = source.path().join("source.tar");
        fs::write(&tarball, bytes).unwrap();
        unpack(&tarball, dest.path()).map(|()| dest).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_first_component_is_dropped() {
        let dest = unpack_bytes(&gzip(&file("tiny-1.0/sub/a.c", "a"))).unwrap();
        assert_eq!(fs::read_to_string(dest.path().join("sub/a.c")).unwrap(), "a");
    }

    #[test]
    fn xz_is_read() {
        let xz = &xz(&file("top/a.c", "a"))[..];
        let dest = unpack_bytes(xz).unwrap();
        assert_eq!(fs::read_to_string(dest.path().join("a.c")).unwrap(), "a");
        let mut changed = xz.to_vec();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(unpack_bytes(&changed).is_err());
        assert!(unpack_bytes(&xz[..xz.len() - 20]).is_err());
    }

    #[test]
    fn a_changed_or_missing_byte_is_noticed() {
        let good = gzip(&file("top/a.c", &"text ".repeat(1000)));
        let mut changed = good.clone();
        let checksum = changed.len() - 8;
        changed[checksum] ^= 1;
        assert!(unpack_bytes(&changed).unwrap_err().contains("hint:"));
        assert!(unpack_bytes(&good[..good.len() / 2]).is_err());
    }

    #[test]
    fn hostile_entries_are_refused() {
        for (what, tar, expected) in [
            ("parent", file("top/../../a.c", ""), "leads out of the tree"),
            ("absolute", file("/top/a.c", ""), "leads out of the tree"),
            ("symlink up", link(EntryType::Symlink, "top/link", "../../etc"), "link out of the tree"),
            ("symlink absolute", link(EntryType::Symlink, "top/link", "/etc/passwd"), "link out of the tree"),
            ("hard link up", link(EntryType::Link, "top/link", "../etc"), "link out of the tree"),
            ("device", link(EntryType::Char, "top/null", ""), "neither file"),
            ("nothing", tar_of(|_| {}), "no file in it"),
        ] {
            let message = unpack_bytes(&gzip(&tar)).expect_err(what);
            assert!(message.contains(expected), "{what}: {message}");
        }
    }

    #[test]
    fn a_link_inside_the_tree_is_not_made() {
        let dest = unpack_bytes(&gzip(&link(EntryType::Symlink, "top/sub/link", "../good.c"))).unwrap();
        assert!(dest.path().join("good.c").exists());
        assert!(fs::symlink_metadata(dest.path().join("sub/link")).is_err());
    }

    #[test]
    fn an_entry_cannot_replace_an_earlier_one() {
        let tar = tar_of(|tar| {
            for text in [&b"a"[..], b"b"] {
                tar.append(&header_of_good_file(), text).unwrap();
            }
        });
        assert!(unpack_bytes(&gzip(&tar)).is_err());
    }

    #[test]
    fn size_is_bounded() {
        let dest = tempfile::tempdir().unwrap();
        let message = format!(
            "{:#}",
            unpack_tar(&file("top/a.c", &"x".repeat(9000))[..], dest.path(), 4096).unwrap_err()
        );
        assert!(message.contains("more than 4096 bytes"), "{message}");
    }

    #[test]
    fn a_page_of_text_is_not_an_archive() {
        let message = unpack_bytes(b"<html>not found</html>").unwrap_err();
        assert!(message.contains("neither .tar.xz nor .tar.gz") && message.contains("hint:"), "{message}");
    }
}
