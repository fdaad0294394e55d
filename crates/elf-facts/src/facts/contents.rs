//! Contents of sections: producers in `.comment`, and the dependency list of `cargo auditable`. Both readers agree on the
//! position of each section.

use std::io::Read;

use serde::Serialize;

use crate::bytes::slice;
use crate::elf::types::Section;

/// `.dep-v0`: zlib-compressed JSON, written by `cargo auditable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditableDependencies {
    /// Size of the section.
    pub compressed_bytes: u64,
    /// Number of packages in the list, or why the list cannot be read.
    pub packages: Result<usize, String>,
}

fn data<'a>(bytes: &'a [u8], sections: &[Section], name: &str) -> Option<&'a [u8]> {
    let section = sections.iter().find(|section| section.name == name && section.has_contents())?;
    slice(bytes, section.offset, section.size_bytes)
}

/// The distinct lines of `.comment`: the compilers and linkers that wrote parts of the file.
pub(super) fn producers(bytes: &[u8], sections: &[Section]) -> Vec<String> {
    const KEPT: usize = 64;
    const LINE_BYTES_MAX: usize = 200;
    let mut producers: Vec<String> = Vec::new();
    let lines = data(bytes, sections, ".comment").unwrap_or_default().split(|&byte| byte == 0);
    for line in lines.filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]).into_owned();
        if !producers.contains(&line) {
            producers.push(line);
        }
        if producers.len() == KEPT {
            break;
        }
    }
    producers
}

pub(super) fn auditable(bytes: &[u8], sections: &[Section]) -> Option<AuditableDependencies> {
    let data = data(bytes, sections, ".dep-v0")?;
    Some(AuditableDependencies { compressed_bytes: data.len() as u64, packages: packages(data) })
}

fn packages(compressed: &[u8]) -> Result<usize, String> {
    // The list of a large workspace has about 100 KiB; the bound stops a decompression bomb.
    const UNPACKED_BYTES_MAX: u64 = 8 << 20;
    let mut json = Vec::new();
    let reader = flate2::read::ZlibDecoder::new(compressed);
    reader
        .take(UNPACKED_BYTES_MAX + 1)
        .read_to_end(&mut json)
        .map_err(|error| format!("it does not decompress: {error}"))?;
    if json.len() as u64 > UNPACKED_BYTES_MAX {
        return Err(format!("it decompresses to more than {UNPACKED_BYTES_MAX} bytes"));
    }
    let list: serde_json::Value =
        serde_json::from_slice(&json).map_err(|error| format!("not JSON: {error}"))?;
    let packages = list.get("packages").and_then(|packages| packages.as_array());
    packages.map(Vec::len).ok_or_else(|| "JSON without `packages`".into())
}
