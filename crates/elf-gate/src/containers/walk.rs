//! The walk: detects the format of each stream and hands it to its reader.

use std::cell::Cell;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use diag::Diagnostic;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::codes;
use crate::containers::content::{Content, WalkLimits};
use crate::containers::format::{self, Format};
use crate::containers::image::MergedImage;
use crate::containers::layers::{HiddenFile, Layers};
use crate::containers::limited_reader::{self, LimitedReader};
use crate::containers::sink::{Sink, problem};
use crate::containers::zstd::ZstdReader;
use crate::containers::{ar, tar_stream};

/// Calls `visit` with the name and content of each file. The name of a member starts with that of its container:
/// `a.tar.gz!bin/tool`, `libx.a(member.o)`. Returns what is known of images after their last entry.
pub fn walk(
    name: &str,
    bytes: &[u8],
    limits: &WalkLimits,
    visit: &mut dyn FnMut(&str, Content<'_>),
) -> Walked {
    let decompressed_left = &Cell::new(limits.decompressed_bytes_max);
    let layers = Layers::default();
    let mut walk = Walk { limits, entries_left: limits.entries_max, decompressed_left, layers, visit };
    walk.bytes(name, bytes, 0);
    Walked { hidden: walk.layers.hidden(), images: walk.layers.images() }
}

/// The images of an input.
#[derive(Debug, Default)]
pub struct Walked {
    /// Files that upper layers hide.
    pub hidden: Vec<HiddenFile>,
    /// Images with their merged layers.
    pub images: Vec<MergedImage>,
}

struct Walk<'w> {
    limits: &'w WalkLimits,
    entries_left: u64,
    /// Shared with all open readers.
    decompressed_left: &'w Cell<u64>,
    layers: Layers,
    visit: &'w mut dyn FnMut(&str, Content<'_>),
}

impl Sink for Walk<'_> {
    fn enter(&mut self, container: &str) -> ControlFlow<()> {
        match self.entries_left.checked_sub(1) {
            Some(left) => {
                self.entries_left = left;
                ControlFlow::Continue(())
            }
            None => {
                let message = format!("more than {} entries", self.limits.entries_max);
                self.unreadable(container, problem(&codes::CONTAINER_LIMIT, message));
                ControlFlow::Break(())
            }
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8], depth: u32) {
        match Format::of(bytes) {
            Format::Elf => self.report(name, Content::Elf(bytes)),
            Format::Ar if depth >= self.limits.depth_max => self.too_deep(name),
            Format::Ar => ar::read(self, name, bytes, depth),
            Format::Other => self.report(name, Content::Other),
            _ => self.stream(name, &mut Cursor::new(bytes), depth),
        }
    }

    fn stream(&mut self, name: &str, reader: &mut dyn Read, depth: u32) {
        let mut head = Vec::with_capacity(format::HEAD_BYTES);
        if let Err(error) = Read::take(&mut *reader, format::HEAD_BYTES as u64).read_to_end(&mut head) {
            return self.unreadable(name, limited_reader::problem(&error, error.to_string()));
        }
        let format = Format::of(&head);
        let is_container = !matches!(format, Format::Elf | Format::Other);
        if is_container && depth >= self.limits.depth_max {
            return self.too_deep(name);
        }
        let mut whole = Cursor::new(head).chain(reader);
        match format {
            Format::Other => self.report(name, Content::Other),
            Format::Elf | Format::Ar => self.member_in_memory(name, &mut whole, depth),
            Format::Tar => tar_stream::read(self, name, &mut whole, depth + 1),
            Format::Gzip => self.decompressed(name, MultiGzDecoder::new(whole), depth + 1),
            Format::Xz => {
                // `xz -9` needs a dictionary of 64 MiB and additional tables.
                const MEMORY_KIB_MAX: u32 = 80 << 10;
                self.decompressed(name, XzReader::new_mem_limit(whole, true, MEMORY_KIB_MAX), depth + 1);
            }
            Format::Zstd => self.decompressed(name, ZstdReader::new(whole), depth + 1),
            // A layer of an image that cannot be read is an error; a file of another format in a tar is not.
            Format::Bzip2 if depth > 0 && name.contains("!blobs/") => {
                let message = format!("the layer is compressed by {format}");
                self.unreadable(name, problem(&codes::UNSUPPORTED_FORMAT, message));
            }
            Format::Bzip2 => self.report(name, Content::Unsupported(format)),
        }
    }

    fn unreadable(&mut self, name: &str, diagnostic: Diagnostic) {
        self.report(name, Content::Unreadable(diagnostic));
    }

    fn layers(&mut self) -> &mut Layers {
        &mut self.layers
    }
}

impl Walk<'_> {
    fn report(&mut self, name: &str, content: Content<'_>) {
        if matches!(content, Content::Elf(_)) {
            self.layers.elf_file(name);
        }
        (self.visit)(name, content);
    }

    fn too_deep(&mut self, name: &str) {
        let message = format!("containers are nested more than {} deep", self.limits.depth_max);
        self.unreadable(name, problem(&codes::CONTAINER_LIMIT, message));
    }

    fn decompressed(&mut self, name: &str, reader: impl Read, depth: u32) {
        self.stream(name, &mut LimitedReader::new(reader, self.decompressed_left), depth);
    }

    fn member_in_memory(&mut self, name: &str, reader: &mut dyn Read, depth: u32) {
        let max = self.limits.member_bytes_max;
        let mut bytes = Vec::new();
        match Read::take(reader, max.saturating_add(1)).read_to_end(&mut bytes) {
            Err(error) => self.unreadable(name, limited_reader::problem(&error, error.to_string())),
            Ok(_) if bytes.len() as u64 > max => {
                self.unreadable(
                    name,
                    problem(&codes::DECOMPRESSED_LIMIT, format!("larger than {max} bytes")),
                );
            }
            Ok(_) => self.bytes(name, &bytes, depth),
        }
    }
}
