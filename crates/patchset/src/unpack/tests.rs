//! Tarballs that are built here, also hostile ones.

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
        tar.append(&with_name(header(EntryType::Regular, text.len() as u64), name), text.as_bytes()).unwrap();
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
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The folder with the unpacked files, or the diagnostic.
fn unpack_bytes(bytes: &[u8]) -> std::result::Result<tempfile::TempDir, Diagnostic> {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tarball = source.path().join("source.tar");
    fs::write(&tarball, bytes).unwrap();
    unpack(&tarball, dest.path()).map(|()| dest).map_err(|error| diag::collect(&error).remove(0))
}

#[test]
fn drops_the_first_component_of_each_path() {
    let dest = unpack_bytes(&gzip(&file("tiny-1.0/sub/a.c", "a"))).unwrap();
    assert_eq!(fs::read_to_string(dest.path().join("sub/a.c")).unwrap(), "a");
}

#[test]
fn reads_xz_and_rejects_a_damaged_stream() {
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
fn rejects_a_changed_or_missing_byte() {
    let good = gzip(&file("top/a.c", &"text ".repeat(1000)));
    let mut changed = good.clone();
    let checksum = changed.len() - 8;
    changed[checksum] ^= 1;
    assert!(unpack_bytes(&changed).unwrap_err().fields().hint.is_some());
    assert!(unpack_bytes(&good[..good.len() / 2]).is_err());
}

#[test]
fn rejects_hostile_entries() {
    let refused = [
        ("parent", file("top/../../a.c", "")),
        ("absolute", file("/top/a.c", "")),
        ("symlink up", link(EntryType::Symlink, "top/link", "../../etc")),
        ("symlink absolute", link(EntryType::Symlink, "top/link", "/etc/passwd")),
        ("hard link up", link(EntryType::Link, "top/link", "../etc")),
        ("device", link(EntryType::Char, "top/null", "")),
        ("nothing", tar_of(|_| {})),
    ]
    .map(|(what, tar)| {
        let refused = unpack_bytes(&gzip(&tar)).expect_err(what);
        format!("{what}: {}\n", refused.fields().found.clone().unwrap())
    });
    insta::assert_snapshot!(refused.concat(), @"
    parent: `top/../../a.c` is an absolute path or leads out of the tree
    absolute: `/top/a.c` is an absolute path or leads out of the tree
    symlink up: `top/link` is a link out of the tree, to `../../etc`
    symlink absolute: `top/link` is a link out of the tree, to `/etc/passwd`
    hard link up: `top/link` is a link out of the tree, to `../etc`
    device: `top/null` is neither file, folder nor link but Char
    nothing: it holds no file
    ");
}

#[test]
fn creates_no_link() {
    let dest = unpack_bytes(&gzip(&link(EntryType::Symlink, "top/sub/link", "../good.c"))).unwrap();
    assert!(dest.path().join("good.c").exists());
    assert!(fs::symlink_metadata(dest.path().join("sub/link")).is_err());
}

#[test]
fn rejects_a_second_entry_of_one_name() {
    let tar = tar_of(|tar| {
        for text in [&b"a"[..], b"b"] {
            tar.append(&header_of_good_file(), text).unwrap();
        }
    });
    assert!(unpack_bytes(&gzip(&tar)).is_err());
}

#[test]
fn rejects_more_than_the_maximum_size() {
    let dest = tempfile::tempdir().unwrap();
    let message =
        format!("{:#}", unpack_tar(&file("top/a.c", &"x".repeat(9000))[..], dest.path(), 4096).unwrap_err());
    insta::assert_snapshot!(message, @"unpacking `top/a.c`: holds more than 4096 bytes");
}

#[test]
fn rejects_a_page_of_text() {
    let refused = unpack_bytes(b"<html>not found</html>").unwrap_err().file("TARBALL");
    insta::assert_snapshot!(diag::render::human(&[refused], diag::render::Style::default()));
}
