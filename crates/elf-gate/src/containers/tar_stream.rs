//! Tar files, entry by entry. Headers are read raw: the convenient reader takes long names into memory at whatever
//! size they claim, and a name of 4 GiB of zeros compresses to nothing.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::{DAMAGED_HINT, Flow, SIZE_HINT, Walk, metered};

const TRAILING_HINT: &str = "make the archive again; `tar -t --ignore-zeros` shows what else may be in it";
/// The longest path that Linux takes is 4 KiB; PAX headers may hold other attributes, too.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;

impl Walk<'_> {
    pub(super) fn tar(&mut self, name: &str, reader: &mut dyn Read, depth: u32) {
        let mut archive = Archive::new(&mut *reader);
        let entries = match archive.entries() {
            Ok(entries) => entries.raw(true),
            Err(error) => return self.unreadable(name, format!("tar: {error}"), DAMAGED_HINT),
        };
        self.layers.enter_tar(name);
        // What headers before an entry say about it.
        let mut long_name: Option<String> = None;
        let mut problem: Option<&str> = None;
        for entry in entries {
            if self.enter(name) == Flow::Stop {
                return;
            }
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    return self.unreadable(name, format!("tar: {error}"), metered::hint(&error));
                }
            };
            let kind = entry.header().entry_type();
            match kind {
                EntryType::GNULongName | EntryType::XHeader => match attributes(&mut entry) {
                    Ok(bytes) if kind == EntryType::GNULongName => {
                        long_name = Some(until_nul(&bytes));
                    }
                    Ok(bytes) => (long_name, problem) = pax(&bytes, long_name),
                    Err(error) => return self.unreadable(name, error, SIZE_HINT),
                },
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let path = long_name.take();
                    let entry_path =
                        path.unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
                    self.layers.entry(name, &entry_path, false);
                    let path = &entry_path;
                    let path = format!("{name}!{}", path.trim_start_matches("./"));
                    let problem = problem.take().or((kind == EntryType::GNUSparse).then_some("is sparse"));
                    match problem {
                        Some(problem) => {
                            let error = format!("the entry {problem}, which is not read here");
                            self.unreadable(&path, error, "unpack the archive and judge the file");
                        }
                        None if self.layers.may_be_document(name, entry.size()) => {
                            let mut bytes = Vec::new();
                            match entry.read_to_end(&mut bytes) {
                                Ok(_) => {
                                    self.layers.document(&entry_path, &bytes);
                                    self.bytes(&path, &bytes, depth);
                                }
                                Err(error) => {
                                    self.unreadable(&path, error.to_string(), metered::hint(&error));
                                }
                            }
                        }
                        None => self.stream(&path, &mut entry, depth),
                    }
                }
                // Links name files that are found anyway; the rest has no contents.
                _ => {
                    if kind != EntryType::GNULongLink && kind != EntryType::XGlobalHeader {
                        let path = long_name.take();
                        let path =
                            path.unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
                        self.layers.entry(name, &path, kind == EntryType::Directory);
                        problem = None;
                    }
                }
            }
        }
        if let Err((error, hint)) = rest(reader) {
            self.unreadable(name, error, hint);
        }
    }
}

/// To the very end: the sums of compressed streams stand there, and what follows the end mark of a tar would be seen by
/// some readers (`tar --ignore-zeros`) and not by others.
fn rest(reader: &mut dyn Read) -> Result<(), (String, &'static str)> {
    let mut buffer = [0; 16 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|&byte| byte == 0) => {}
            Ok(_) => return Err(("tar: bytes follow its end mark".into(), TRAILING_HINT)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((format!("tar: {error}"), metered::hint(&error))),
        }
    }
}

fn attributes(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    Read::take(entry, ATTRIBUTES_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("tar: {error}"))?;
    match bytes.len() as u64 {
        size if size > ATTRIBUTES_BYTES_MAX => {
            Err(format!("tar: attributes of more than {ATTRIBUTES_BYTES_MAX} bytes"))
        }
        _ => Ok(bytes),
    }
}

/// A name, and why the contents cannot be taken as they stand.
fn pax(bytes: &[u8], name: Option<String>) -> (Option<String>, Option<&'static str>) {
    let (mut name, mut problem) = (name, None);
    for extension in PaxExtensions::new(bytes) {
        let Ok(extension) = extension else {
            return (name, Some("has damaged attributes"));
        };
        match extension.key_bytes() {
            b"path" => name = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned()),
            b"size" => problem = Some("has its size in an attribute"),
            key if key.starts_with(b"GNU.sparse.") => problem = Some("is sparse"),
            _ => {}
        }
    }
    (name, problem)
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
