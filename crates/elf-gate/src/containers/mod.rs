//! ELF files inside of archives: static libraries member by member, tar files, images with their layers, packages.
//!
//! Bytes in, `(name, what it is)` out. One member is in memory at a time; nothing is written to disk. What a format
//! promises about itself (sizes, counts, names) is never believed: the work is bounded by [`Limits`], and what was not
//! looked at because of them is reported as [`Found::Unreadable`], which no caller may take for a pass.
//!
//! Every ELF file of every layer of an image is found, since each of them is shipped; which of them no container sees is
//! said at the end.

mod ar;
mod format;
mod layers;
mod metered;
mod tar_stream;
mod zstd;

use std::cell::Cell;
use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

pub use format::Format;
pub use layers::Hidden;

use layers::Layers;
use metered::Metered;
use zstd::ZstdReader;

/// How much work one input may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers within containers; an image with packages in its layers needs six.
    pub depth_max: u32,
    /// Entries of all containers of one input, whatever they are.
    pub entries_max: u64,
    /// Bytes that decompression may give, all layers of one input together.
    pub decompressed_bytes_max: u64,
    /// The largest member that is taken into memory.
    pub member_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            depth_max: 8,
            entries_max: 1_000_000,
            decompressed_bytes_max: 4 << 30,
            member_bytes_max: 1 << 30,
        }
    }
}

/// What stands under a name.
#[derive(Debug)]
pub enum Found<'a> {
    /// Starts as an ELF file does; whether it is a sound one is not known yet.
    Elf(&'a [u8]),
    /// Neither an ELF file nor a container.
    Other,
    /// Compressed by a method that is not read here. An ELF file may be in it.
    Unsupported(Format),
    /// What is in it, or in the rest of it, cannot be told.
    Unreadable { error: String, hint: &'static str },
}

/// Calls `visit` with the name and the contents of everything that is found. A member is named after its container:
/// `a.tar.gz!bin/tool`, `libx.a(member.o)`. Gives back which of them are hidden by upper layers, when it was an image.
pub fn walk(
    name: &str,
    bytes: &[u8],
    limits: &Limits,
    visit: &mut dyn FnMut(&str, Found<'_>),
) -> Vec<Hidden> {
    let decompressed_left = &Cell::new(limits.decompressed_bytes_max);
    let layers = Layers::default();
    let mut walk = Walk { limits, entries_left: limits.entries_max, decompressed_left, layers, visit };
    walk.bytes(name, bytes, 0);
    walk.layers.hidden()
}

struct Walk<'w> {
    limits: &'w Limits,
    entries_left: u64,
    /// Shared with the readers that are open.
    decompressed_left: &'w Cell<u64>,
    layers: Layers,
    visit: &'w mut dyn FnMut(&str, Found<'_>),
}

/// Whether the rest of a container is worth reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

const DEPTH_HINT: &str = "unpack the outer archives and judge what is in them";
const SIZE_HINT: &str = "this looks like a decompression bomb; if it is none, unpack it and judge the files";
const DAMAGED_HINT: &str = "build or download it again and compare its digest with SHA256SUMS";

impl Walk<'_> {
    fn found(&mut self, name: &str, found: Found<'_>) {
        if matches!(found, Found::Elf(_)) {
            self.layers.elf_file(name);
        }
        (self.visit)(name, found);
    }

    fn unreadable(&mut self, name: &str, error: impl Into<String>, hint: &'static str) {
        self.found(name, Found::Unreadable { error: error.into(), hint });
    }

    /// Counts an entry of some container.
    fn enter(&mut self, container: &str) -> Flow {
        match self.entries_left.checked_sub(1) {
            Some(left) => {
                self.entries_left = left;
                Flow::Continue
            }
            None => {
                let error = format!("more than {} entries", self.limits.entries_max);
                self.unreadable(container, error, DEPTH_HINT);
                Flow::Stop
            }
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8], depth: u32) {
        match Format::of(bytes) {
            Format::Elf => self.found(name, Found::Elf(bytes)),
            Format::Ar => self.ar(name, bytes, depth),
            Format::Other => self.found(name, Found::Other),
            _ => self.stream(name, &mut Cursor::new(bytes), depth),
        }
    }

    fn stream(&mut self, name: &str, reader: &mut dyn Read, depth: u32) {
        let mut head = Vec::with_capacity(format::HEAD_BYTES);
        if let Err(error) = Read::take(&mut *reader, format::HEAD_BYTES as u64).read_to_end(&mut head) {
            return self.unreadable(name, error.to_string(), metered::hint(&error));
        }
        let format = Format::of(&head);
        let is_container = !matches!(format, Format::Elf | Format::Other);
        if is_container && depth >= self.limits.depth_max {
            let error = format!("containers are nested more than {} deep", self.limits.depth_max);
            return self.unreadable(name, error, DEPTH_HINT);
        }
        let mut whole = Cursor::new(head).chain(reader);
        match format {
            Format::Other => self.found(name, Found::Other),
            Format::Elf | Format::Ar => self.member_in_memory(name, &mut whole, depth),
            Format::Tar => self.tar(name, &mut whole, depth + 1),
            Format::Gzip => self.decompressed(name, MultiGzDecoder::new(whole), depth + 1),
            Format::Xz => {
                // `xz -9` asks for a dictionary of 64 MiB, and for tables beside it.
                const MEMORY_KIB_MAX: u32 = 80 << 10;
                self.decompressed(name, XzReader::new_mem_limit(whole, true, MEMORY_KIB_MAX), depth + 1);
            }
            Format::Zstd => self.decompressed(name, ZstdReader::new(whole), depth + 1),
            // A layer that nobody can look into is no pass; an odd file in a tar is.
            Format::Bzip2 if depth > 0 && name.contains("!blobs/") => {
                let error = format!("a layer compressed by {format}, which is not read here");
                self.unreadable(name, error, "write the image with layers of gzip or zstd, or unpack it");
            }
            Format::Bzip2 => self.found(name, Found::Unsupported(format)),
        }
    }

    fn decompressed(&mut self, name: &str, reader: impl Read, depth: u32) {
        self.stream(name, &mut Metered::new(reader, self.decompressed_left), depth);
    }

    fn member_in_memory(&mut self, name: &str, reader: &mut dyn Read, depth: u32) {
        let max = self.limits.member_bytes_max;
        let mut bytes = Vec::new();
        match Read::take(reader, max.saturating_add(1)).read_to_end(&mut bytes) {
            Err(error) => self.unreadable(name, error.to_string(), metered::hint(&error)),
            Ok(_) if bytes.len() as u64 > max => {
                self.unreadable(name, format!("larger than {max} bytes"), SIZE_HINT);
            }
            Ok(_) => self.bytes(name, &bytes, depth),
        }
    }
}
