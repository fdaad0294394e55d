//! Entries of tar files. Headers are read raw: the high-level reader loads long names of any declared size into memory, and a
//! name of 4 GiB of zeros compresses to a few bytes.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use diag::Diagnostic;

use crate::codes;
use crate::containers::entry::EntryKind;
use crate::containers::limited_reader;
use crate::containers::sink::{Sink, problem};

/// Paths of Linux have at most 4 KiB; PAX headers may hold other attributes as well.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;

/// Hands each regular file to the sink, and the names of all entries to the layers of the image.
pub(super) fn read(sink: &mut dyn Sink, name: &str, reader: &mut dyn Read, depth: u32) {
    let mut archive = Archive::new(&mut *reader);
    let entries = match archive.entries() {
        Ok(entries) => entries.raw(true),
        Err(error) => return sink.unreadable(name, damaged(&error)),
    };
    sink.layers().enter_tar(name);
    // Attributes from headers that precede an entry.
    let mut attributes = Attributes::default();
    for entry in entries {
        if sink.enter(name).is_break() {
            return;
        }
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => return sink.unreadable(name, damaged(&error)),
        };
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader => {
                match attribute_bytes(&mut entry) {
                    Ok(bytes) if kind == EntryType::GNULongName => attributes.path = Some(until_nul(&bytes)),
                    Ok(bytes) if kind == EntryType::GNULongLink => attributes.link = Some(until_nul(&bytes)),
                    Ok(bytes) => attributes.add_pax(&bytes),
                    Err(diagnostic) => return sink.unreadable(name, diagnostic),
                }
            }
            EntryType::XGlobalHeader => {}
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let path = attributes.take_path(&entry);
                attributes.link = None;
                sink.layers().entry(name, &path, EntryKind::File);
                let obstacle = attributes.obstacle.take();
                let obstacle = obstacle.or((kind == EntryType::GNUSparse).then_some("is sparse"));
                file(sink, name, &path, &mut entry, obstacle, depth);
            }
            // Links refer to files that are reported anyway; other entries have no contents.
            _ => {
                let path = attributes.take_path(&entry);
                let target = attributes.link.take();
                let kind = match kind {
                    EntryType::Directory => EntryKind::Folder,
                    EntryType::Symlink => {
                        let target = target.or_else(|| Some(lossy(&entry.header().link_name_bytes()?)));
                        EntryKind::Link(target.unwrap_or_default())
                    }
                    _ => EntryKind::File,
                };
                sink.layers().entry(name, &path, kind);
                attributes.obstacle = None;
            }
        }
    }
    if let Err(diagnostic) = require_end(reader) {
        sink.unreadable(name, diagnostic);
    }
}

/// A regular file. `obstacle` says why its contents differ from the stored bytes.
fn file(
    sink: &mut dyn Sink,
    tar: &str,
    path: &str,
    entry: &mut Entry<'_, impl Read>,
    obstacle: Option<&str>,
    depth: u32,
) {
    let name = format!("{tar}!{}", path.trim_start_matches("./"));
    if let Some(obstacle) = obstacle {
        let unsupported = problem(&codes::UNSUPPORTED_FORMAT, format!("the entry {obstacle}"));
        return sink.unreadable(&name, unsupported);
    }
    if !sink.layers().may_be_document(tar, entry.size()) {
        return sink.stream(&name, entry, depth);
    }
    let mut bytes = Vec::new();
    match entry.read_to_end(&mut bytes) {
        Ok(_) => {
            sink.layers().document(path, &bytes);
            sink.bytes(&name, &bytes, depth);
        }
        Err(error) => sink.unreadable(&name, limited_reader::problem(&error, error.to_string())),
    }
}

fn damaged(error: &io::Error) -> Diagnostic {
    limited_reader::problem(error, format!("tar: {error}"))
}

/// Reads to the end of the stream. The checksums of compressed streams are there, and some readers (`tar --ignore-zeros`)
/// read entries after the end mark while others ignore them.
fn require_end(reader: &mut dyn Read) -> Result<(), Diagnostic> {
    let mut buffer = [0; 16 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|&byte| byte == 0) => {}
            Ok(_) => {
                return Err(problem(&codes::CONTAINER_DAMAGED, "tar: bytes follow its end mark")
                    .hint("create the archive again; `tar -t --ignore-zeros` lists the additional entries"));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(&error)),
        }
    }
}

fn attribute_bytes(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::new();
    Read::take(entry, ATTRIBUTES_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
    match bytes.len() as u64 {
        size if size > ATTRIBUTES_BYTES_MAX => {
            let message = format!("tar: attributes of more than {ATTRIBUTES_BYTES_MAX} bytes");
            Err(problem(&codes::DECOMPRESSED_LIMIT, message))
        }
        _ => Ok(bytes),
    }
}

/// What extension headers state about the next entry.
#[derive(Default)]
struct Attributes {
    path: Option<String>,
    /// Target of a link.
    link: Option<String>,
    /// Why the stored bytes are not the contents.
    obstacle: Option<&'static str>,
}

impl Attributes {
    fn add_pax(&mut self, bytes: &[u8]) {
        self.obstacle = None;
        for extension in PaxExtensions::new(bytes) {
            let Ok(extension) = extension else {
                self.obstacle = Some("has damaged attributes");
                return;
            };
            match extension.key_bytes() {
                b"path" => self.path = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned()),
                b"linkpath" => self.link = Some(lossy(extension.value_bytes())),
                b"size" => self.obstacle = Some("has its size in an attribute"),
                key if key.starts_with(b"GNU.sparse.") => self.obstacle = Some("is sparse"),
                _ => {}
            }
        }
    }

    /// The path of `entry`, which consumes the path of the extension header.
    fn take_path(&mut self, entry: &Entry<'_, impl Read>) -> String {
        self.path.take().unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
