//! ELF files inside of archives, and archives that nobody should send.

use std::io::Write;
use std::time::{Duration, Instant};

use elf_gate::containers::{Found, Limits, walk};
use flate2::{Compression, write::GzEncoder};

use crate::bytes::fixture;

/// Each thing that was found, in one line.
fn found(bytes: &[u8], limits: &Limits) -> Vec<String> {
    let mut lines = Vec::new();
    walk("in", bytes, limits, &mut |name, found| {
        lines.push(match found {
            Found::Elf(bytes) => format!("{name} elf {}", bytes.len()),
            Found::Other => format!("{name} other"),
            Found::Unsupported(format) => format!("{name} {format}"),
            Found::Unreadable { error, .. } => format!("{name} unreadable: {error}"),
        });
    });
    lines
}

#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    assert_eq!(found(bytes, &Limits::default()), expected);
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As GNU ar writes it: long names in a table of their own.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = Vec::new();
    let mut body = Vec::new();
    for (name, bytes) in members {
        let short = match name.len() {
            0..=15 => format!("{name}/"),
            _ => {
                let at = names.len();
                names.extend_from_slice(format!("{name}/\n").as_bytes());
                format!("/{at}")
            }
        };
        body.extend_from_slice(
            format!("{short:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, bytes.len()).as_bytes(),
        );
        body.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            body.push(b'\n');
        }
    }
    let mut out = b"!<arch>\n".to_vec();
    if !names.is_empty() {
        out.extend_from_slice(format!("{:<48}{:<10}`\n", "//", names.len()).as_bytes());
        if names.len() % 2 == 1 {
            names.push(b'\n');
        }
        out.extend_from_slice(&names);
    }
    out.extend_from_slice(&body);
    out
}

#[test]
fn plain_files() {
    check(&fixture("stripped"), &[&format!("in elf {}", fixture("stripped").len())]);
    check(b"", &["in other"]);
    check(b"text", &["in other"]);
    check(&[0; 1024], &["in other"]);
    check(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &["in zstd"]);
}

#[test]
fn static_libraries_member_by_member() {
    let object = fixture("object.o");
    let size = object.len();
    let library = ar(&[("a.o", &object), ("a_name_longer_than_fifteen.o", &object), ("notes", b"odd")]);
    check(
        &library,
        &[
            &format!("in(a.o) elf {size}"),
            &format!("in(a_name_longer_than_fifteen.o) elf {size}"),
            "in(notes) other",
        ],
    );
    check(b"!<arch>\n", &[]);
    check(b"!<thin>\n", &["in unreadable: a thin archive: its members lie in other files"]);
    let cut = &library[..library.len() - 10];
    assert!(found(cut, &Limits::default()).iter().any(|line| line.contains("unreadable: ar archive")));
}

#[test]
fn tars_and_images_with_nested_layers() {
    let program = fixture("packed-nrv2b");
    let size = program.len();
    let long = format!("{}/program", "folder/".repeat(30).trim_end_matches('/'));
    let layer = tar(&[("usr/bin/program", &program), (&long, &program), ("etc/passwd", b"root")]);
    let image = tar(&[
        ("blobs/sha256/aa", &gzip(&layer)),
        ("blobs/sha256/bb", &layer),
        ("index.json", b"{}"),
        ("blobs/sha256/cc", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0]),
    ]);
    let expected: Vec<String> = [
        format!("!blobs/sha256/aa!usr/bin/program elf {size}"),
        format!("!blobs/sha256/aa!{long} elf {size}"),
        "!blobs/sha256/aa!etc/passwd other".into(),
        format!("!blobs/sha256/bb!usr/bin/program elf {size}"),
        format!("!blobs/sha256/bb!{long} elf {size}"),
        "!blobs/sha256/bb!etc/passwd other".into(),
        "!index.json other".into(),
        "!blobs/sha256/cc unreadable: a layer compressed by zstd, which is not read here".into(),
    ]
    .iter()
    .map(|line| format!("in{line}"))
    .collect();
    assert_eq!(found(&image, &Limits::default()), expected);
    assert_eq!(found(&gzip(&image), &Limits::default()), expected);
}

#[test]
fn a_damaged_archive_is_never_a_pass() {
    let program = fixture("stripped");
    let whole = gzip(&tar(&[("a", &program), ("b", &program)]));
    for cut in [whole.len() / 2, whole.len() - 20] {
        let lines = found(&whole[..cut], &Limits::default());
        assert!(lines.iter().any(|line| line.contains("unreadable")), "{lines:?}");
    }
    let mut plain = tar(&[("a", &program), ("b", &program)]);
    let second = 512 + program.len().next_multiple_of(512);
    plain[second + 20] ^= 1;
    let lines = found(&plain, &Limits::default());
    assert!(lines.last().unwrap().contains("unreadable: tar"), "{lines:?}");
}

#[test]
fn sparse_members_are_not_taken_for_what_they_are_not() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", "1".as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    builder.append_data(&mut header, "s", &b"\x7fELF"[..]).unwrap();
    let lines = found(&builder.into_inner().unwrap(), &Limits::default());
    assert_eq!(lines, ["in!s unreadable: the entry is sparse, which is not read here"]);
}

#[test]
fn bombs_cost_bounded_time() {
    let start = Instant::now();
    let limits = Limits { decompressed_bytes_max: 64 << 20, member_bytes_max: 1 << 20, ..Limits::default() };
    // An ELF file of 1 GiB of zeros that the header promises, from one MiB of gzip.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    bomb.write_all(b"\x7fELF").unwrap();
    for _ in 0..256 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let lines = found(&bomb, &limits);
    assert_eq!(lines[0], "in!bomb unreadable: larger than 1048576 bytes");
    assert!(lines[1].contains("more decompressed bytes than allowed"), "{lines:?}");
    // The same bytes as a name.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let mut name = GzEncoder::new(Vec::new(), Compression::fast());
    name.write_all(header.as_bytes()).unwrap();
    for _ in 0..100 {
        name.write_all(&[b'a'; 1 << 20]).unwrap();
    }
    let lines = found(&name.finish().unwrap(), &limits);
    assert_eq!(lines, ["in unreadable: tar: attributes of more than 1048576 bytes"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn depth_and_count_are_bounded() {
    let mut nested = fixture("stripped");
    for _ in 0..20 {
        nested = gzip(&nested);
    }
    assert_eq!(found(&nested, &Limits::default()), ["in unreadable: containers are nested more than 8 deep"]);
    let mut nested = fixture("stripped");
    for _ in 0..20 {
        nested = ar(&[("a", &nested)]);
    }
    let lines = found(&nested, &Limits::default());
    assert!(lines[0].ends_with("unreadable: containers are nested more than 8 deep"), "{lines:?}");
    let many: Vec<(&str, &[u8])> = (0..100).map(|_| ("x", &b""[..])).collect();
    let lines = found(&tar(&many), &Limits { entries_max: 50, ..Limits::default() });
    assert_eq!(lines.len(), 51);
    assert_eq!(lines[50], "in unreadable: more than 50 entries");
}
