//! Lines of text as an image: the target writes the tar files and the manifest, so that every input reaches the merge of the
//! layers and the rules on images. The first line is the configuration; each other line is an entry of the current layer:
//! `f PATH`, `e PATH` (an ELF file), `d PATH`, `l PATH TARGET`; an empty line starts the next layer.
#![no_main]

use std::collections::HashSet;

use elf_gate::containers::{Content, WalkLimits, walk};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::check_images;

const LIMITS: WalkLimits = WalkLimits {
    depth_max: 6,
    entries_max: 4_000,
    decompressed_bytes_max: 8 << 20,
    member_bytes_max: 1 << 20,
};
const LAYERS_MAX: usize = 8;

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let config = lines.next().unwrap_or_default();
    let mut layers = vec![Vec::new()];
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (kind, path, target) = (words.next(), words.next().unwrap_or_default(), words.next());
        let layer = layers.last_mut().expect("never empty");
        match kind {
            Some("f") => entry(layer, path, b'0', "", b"text"),
            Some("e") => entry(layer, path, b'0', "", b"\x7fELF\x02\x01\x01"),
            Some("d") => entry(layer, path, b'5', "", b""),
            Some("l") => entry(layer, path, b'2', target.unwrap_or_default(), b""),
            _ if line.is_empty() && layers.len() < LAYERS_MAX => layers.push(Vec::new()),
            _ => {}
        }
    }
    let mut image = Vec::new();
    let mut names = Vec::new();
    for (index, mut layer) in layers.into_iter().enumerate() {
        layer.extend([0; 1024]);
        let name = format!("blobs/sha256/{index}");
        entry(&mut image, &name, b'0', "", &layer);
        names.push(format!("\"{name}\""));
    }
    entry(&mut image, "blobs/sha256/c", b'0', "", config.as_bytes());
    let manifest = format!("[{{\"Config\": \"blobs/sha256/c\", \"Layers\": [{}]}}]", names.join(", "));
    entry(&mut image, "manifest.json", b'0', "", manifest.as_bytes());
    image.extend([0; 1024]);

    let mut members = HashSet::new();
    let walked = walk("in", &image, &LIMITS, &mut |name, content| {
        if matches!(content, Content::Elf(_)) {
            members.insert(name.to_string());
        }
    });
    for hidden in &walked.hidden {
        assert!(members.contains(&hidden.name), "{} is hidden and was never found", hidden.name);
    }
    check_images(&walked.images, &members);
});

/// Appends an entry in the format of GNU tar, with records for long names.
fn entry(tar: &mut Vec<u8>, path: &str, kind: u8, target: &str, content: &[u8]) {
    for (text, kind) in [(path, b'L'), (target, b'K')] {
        if text.len() > 100 {
            record(tar, "././@LongLink", kind, "", &[text.as_bytes(), b"\0"].concat());
        }
    }
    record(tar, path, kind, target, content);
}

fn record(tar: &mut Vec<u8>, path: &str, kind: u8, target: &str, content: &[u8]) {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path.as_bytes()[..path.len().min(100)]);
    put(100, b"0000755\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &target.as_bytes()[..target.len().min(100)]);
    put(257, b"ustar  \0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
