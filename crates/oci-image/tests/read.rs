//! An archive is read back as it was built, and a damaged or foreign one is refused for the right reason.

mod sample;

use std::fs;
use std::path::{Path, PathBuf};

use oci_image::{Image, LoadableImage};
use sample::{docker_tar, oci_tar, spec};
use tempfile::TempDir;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("inferd.docker.tar");
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[track_caller]
fn refuses(bytes: &[u8], words: &[&str]) {
    let place = Place::new();
    let error = format!("{:#}", LoadableImage::read(&place.file(bytes)).unwrap_err());
    for word in words.iter().chain(&["inferd.docker.tar"]) {
        assert!(error.contains(word), "`{word}` is not in:\n{error}");
    }
}

/// The archive with one file replaced, or left out.
fn with(bytes: &[u8], changed: &str, content: Option<&[u8]>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        if entry.path().unwrap() != Path::new(changed) {
            archive.append(&header, &mut entry).unwrap();
        } else if let Some(content) = content {
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, content).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

fn text_of(bytes: &[u8], name: &str) -> String {
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new(name) {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            return text;
        }
    }
    panic!("no {name}");
}

fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

#[test]
fn an_archive_is_read_back_as_it_was_built() {
    let place = Place::new();
    let built = Image::build(&spec()).unwrap();
    let read = LoadableImage::read(&place.file(&docker_tar(&spec()))).unwrap();
    assert_eq!(read.reference, "inferd:0.1.0");
    assert_eq!(read.manifest_digest, built.manifest_digest());
    assert_eq!(read.image_id, built.image_id());
    assert_eq!(read.architecture, "amd64");
    assert_eq!(read.user, "65532:65532");
    assert_eq!(read.entrypoint, ["/inferd"]);
    assert_eq!(&read.file_digests, built.file_digests());
}

#[test]
fn an_oci_archive_is_not_taken_for_a_docker_archive() {
    refuses(&oci_tar(&spec()), &["no `manifest.json`", "OCI archive"]);
}

/// A byte that is flipped anywhere in the content of the archive is noticed. Padding between entries is not content.
#[test]
fn no_flipped_byte_goes_unnoticed() {
    let good = docker_tar(&spec());
    let place = Place::new();
    let mut content = Vec::new();
    for entry in tar::Archive::new(good.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let start = entry.raw_file_position() as usize;
        // The index is the root of the chain: nothing names its digest. Its fields are checked, its annotations are not.
        if entry.path().unwrap().starts_with("blobs") {
            content.extend(start..start + entry.size() as usize);
        }
    }
    assert!(content.len() > 1000);
    for at in content {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(LoadableImage::read(&place.file(&bad)).is_err(), "byte {at}");
    }
}

/// Wherever the archive is cut inside what matters, reading fails and says so.
#[test]
fn a_cut_archive_is_refused() {
    let good = docker_tar(&spec());
    // Two blocks of zeros end a tar; without them everything is still there.
    let end = good.len() - 1024;
    let place = Place::new();
    for length in (0..end).step_by(97) {
        assert!(LoadableImage::read(&place.file(&good[..length])).is_err(), "cut at {length}");
    }
    refuses(&good[..end - 700], &[]);
    refuses(b"", &["oci-layout"]);
    refuses(b"this is a text file and not a tar, whatever its name says", &[]);
}

#[test]
fn what_is_missing_is_named() {
    let built = Image::build(&spec()).unwrap();
    let good = docker_tar(&spec());
    for name in [
        "index.json".into(),
        blob_path(built.manifest_digest()),
        blob_path(built.image_id()),
        blob_path(built.layer_digest()),
    ] {
        let digest = name.trim_start_matches("blobs/sha256/").to_owned();
        refuses(&with(&good, &name, None), &[&digest]);
    }
}

#[test]
fn two_lists_that_disagree_are_refused() {
    let good = docker_tar(&spec());
    let mut other = spec();
    other.created_unix_seconds += 1;
    let foreign = text_of(&docker_tar(&other), "manifest.json");
    refuses(&with(&good, "manifest.json", Some(foreign.as_bytes())), &["different images"]);
    refuses(&with(&good, "manifest.json", Some(b"[]")), &["0 images"]);
    refuses(&with(&good, "index.json", Some(b"{\"schemaVersion\":2,\"manifests\":[]}")), &["0 images"]);
    refuses(&with(&good, "index.json", Some(b"{")), &["`index.json`"]);
}

#[test]
fn a_wrong_size_in_a_descriptor_is_refused() {
    let good = docker_tar(&spec());
    let index = text_of(&good, "index.json");
    let size = index.split("\"size\":").nth(1).unwrap().split(',').next().unwrap();
    let wrong = index.replace(&format!("\"size\":{size}"), "\"size\":7");
    refuses(&with(&good, "index.json", Some(wrong.as_bytes())), &[&format!("{size} bytes"), "says 7"]);
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let good = docker_tar(&spec());
    let mut doubled = good[..good.len() - 1024].to_vec();
    doubled.extend_from_slice(&good);
    refuses(&doubled, &["stands twice"]);
}

#[test]
fn a_missing_archive_and_a_folder_are_refused() {
    let place = Place::new();
    let error = format!("{:#}", LoadableImage::read(&place.folder.path().join("none.tar")).unwrap_err());
    assert!(error.contains("none.tar") && error.contains("No such file"), "{error}");
    let error = format!("{:#}", LoadableImage::read(place.folder.path()).unwrap_err());
    assert!(error.contains("expected a file"), "{error}");
}

/// The archive with entries added before its end.
fn with_entry(bytes: &[u8], name: &str, kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut added = tar::Builder::new(bytes[..bytes.len() - 1024].to_vec());
    added.append(&header, content).unwrap();
    added.into_inner().unwrap()
}

/// Names that one reader takes for a file that another does not see: the engine must not load what was not checked.
#[test]
fn second_names_for_a_file_are_refused() {
    let good = docker_tar(&spec());
    for name in ["./index.json", "blobs/../index.json", "/index.json", "blobs//x", "x y"] {
        refuses(&with_entry(&good, name, tar::EntryType::Regular, b"{}"), &["has an entry", name]);
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        refuses(&with_entry(&good, "other.json", kind, b""), &["`other.json` is neither"]);
    }
    let mut many = good;
    for number in 0..70 {
        many = with_entry(&many, &format!("file{number}"), tar::EntryType::Regular, b"");
    }
    refuses(&many, &["more than 64 files"]);
}

/// An image whose digests all hold and whose layer was written by somebody else.
fn with_layer(layer: &[u8]) -> Vec<u8> {
    let good = docker_tar(&spec());
    let built = Image::build(&spec()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, layer).unwrap();
    let gzip = gzip.finish().unwrap();
    let renamed = |bytes: Vec<u8>, old: &str, new: &str| String::from_utf8(bytes).unwrap().replace(old, new);
    let text = |digest: &str| text_of(&good, &blob_path(digest)).into_bytes();
    let resized = |text: String, digest: &str, size: usize| {
        let (before, after) = text.split_once(&format!("{digest}\",\"size\":")).unwrap();
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}{digest}\",\"size\":{size}{rest}")
    };
    let config = renamed(text(built.image_id()), built.layer_diff_id(), &digest(layer));
    let manifest = renamed(text(built.manifest_digest()), built.layer_digest(), &digest(&gzip));
    let manifest = manifest.replace(built.image_id(), &digest(config.as_bytes()));
    let manifest = resized(manifest, &digest(&gzip), gzip.len());
    let index = text_of(&good, "index.json").replace(built.manifest_digest(), &digest(manifest.as_bytes()));
    let index = resized(index, &digest(manifest.as_bytes()), manifest.len());
    let list = text_of(&good, "manifest.json")
        .replace(&blob_path(built.image_id()), &blob_path(&digest(config.as_bytes())))
        .replace(&blob_path(built.layer_digest()), &blob_path(&digest(&gzip)));
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice()),
        ("index.json".into(), index.as_bytes()),
        ("manifest.json".into(), list.as_bytes()),
        (blob_path(&digest(config.as_bytes())), config.as_bytes()),
        (blob_path(&digest(manifest.as_bytes())), manifest.as_bytes()),
        (blob_path(&digest(&gzip)), gzip.as_slice()),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[test]
fn a_layer_that_could_be_read_in_two_ways_is_refused() {
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let one = with_entry(&empty, "inferd", tar::EntryType::Regular, b"proved");
    // First that the forgery is good enough to be refused for the layer only.
    let place = Place::new();
    let read = LoadableImage::read(&place.file(&with_layer(&one))).unwrap();
    assert_eq!(read.file_digests["/inferd"], digest(b"proved"));

    let twice = with_entry(&one, "inferd", tar::EntryType::Regular, b"other");
    refuses(&with_layer(&twice), &["`/inferd` stands twice in the layer"]);
    let aside = with_entry(&one, "./inferd", tar::EntryType::Regular, b"other");
    refuses(&with_layer(&aside), &["the layer is not one of ours", "./inferd"]);
    let link = with_entry(&one, "other", tar::EntryType::Symlink, b"");
    refuses(&with_layer(&link), &["`/other` in the layer is neither"]);
    let whiteout = with_entry(&one, ".wh.inferd", tar::EntryType::Regular, b"");
    refuses(&with_layer(&whiteout), &["whiteout"]);
    refuses(&with_layer(b"not a tar"), &["the layer"]);
}
