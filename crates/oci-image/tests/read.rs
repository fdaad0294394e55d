//! A complete archive is read as it was built; a damaged or foreign one is rejected for the right reason.

mod sample;

use std::fs;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use oci_image::{IMAGE_ARCHIVE, LoadableImage, OciImage};
use sample::{docker_tar, oci_tar, spec};
use tempfile::TempDir;

struct Archive {
    folder: TempDir,
}

impl Archive {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("inferd.docker.tar")
    }

    fn read(&self, bytes: &[u8]) -> Result<LoadableImage, Diagnostic> {
        fs::write(self.path(), bytes).unwrap();
        LoadableImage::read(&self.path())
    }
}

/// The reason of the rejection.
#[track_caller]
fn rejection(bytes: &[u8]) -> String {
    let archive = Archive::new();
    let problem = archive.read(bytes).unwrap_err();
    assert_eq!(problem.code(), &IMAGE_ARCHIVE);
    let fields = problem.fields();
    assert_eq!(fields.subject.file.as_ref(), Some(&archive.path()));
    fields.found.clone().unwrap()
}

/// The reasons of several rejections, one per line. The digests of the sample are constant.
fn rejections<'a>(archives: impl IntoIterator<Item = &'a [u8]>) -> String {
    archives.into_iter().map(|bytes| rejection(bytes) + "\n").collect()
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
fn reads_an_archive_as_it_was_built() {
    let built = OciImage::build(&spec()).unwrap();
    let read = Archive::new().read(&docker_tar(&spec())).unwrap();
    assert_eq!(read.reference, "inferd:0.1.0");
    assert_eq!(read.manifest_digest, built.manifest_digest());
    assert_eq!(read.image_id, built.image_id());
    assert_eq!(read.architecture, "amd64");
    assert_eq!(read.user, "65532:65532");
    assert_eq!(read.entrypoint, ["/inferd"]);
    assert_eq!(&read.file_digests, built.file_digests());
}

#[test]
fn rejects_an_oci_archive() {
    insta::assert_snapshot!(rejection(&oci_tar(&spec())), @"it has no `manifest.json`: this is an OCI archive; expected the docker archive of the same image");
}

/// Padding between entries is not content.
#[test]
fn detects_a_flipped_byte_anywhere_in_the_blobs() {
    let good = docker_tar(&spec());
    let archive = Archive::new();
    let mut content = Vec::new();
    for entry in tar::Archive::new(good.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let start = entry.raw_file_position() as usize;
        // No digest covers the index. Its fields are checked, its annotations are not.
        if entry.path().unwrap().starts_with("blobs") {
            content.extend(start..start + entry.size() as usize);
        }
    }
    assert!(content.len() > 1000);
    for at in content {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(archive.read(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn rejects_a_truncated_archive() {
    let good = docker_tar(&spec());
    // Two blocks of zeros end a tar; the content is complete without them.
    let end = good.len() - 1024;
    let archive = Archive::new();
    for length in (0..end).step_by(97) {
        assert!(archive.read(&good[..length]).is_err(), "truncated at {length}");
    }
    insta::assert_snapshot!(rejections([&good[..end - 700], b"", b"a text file",]));
}

#[test]
fn names_the_missing_file() {
    let built = OciImage::build(&spec()).unwrap();
    let good = docker_tar(&spec());
    let reasons = [
        ("INDEX", "index.json".into()),
        ("MANIFEST", blob_path(built.manifest_digest())),
        ("CONFIG", blob_path(built.image_id())),
        ("LAYER", blob_path(built.layer_digest())),
    ]
    .map(|(label, name)| {
        rejection(&with(&good, &name, None)).replace(name.trim_start_matches("blobs/sha256/"), label)
    });
    insta::assert_snapshot!(reasons.join("\n"), @"
    it has no `INDEX`
    blob sha256:MANIFEST is listed and missing
    blob sha256:CONFIG is listed and missing
    blob sha256:LAYER is listed and missing
    ");
}

#[test]
fn rejects_lists_of_contents_that_disagree() {
    let good = docker_tar(&spec());
    let mut other = spec();
    other.created_unix_seconds += 1;
    let foreign = text_of(&docker_tar(&other), "manifest.json");
    let archives = [
        with(&good, "manifest.json", Some(foreign.as_bytes())),
        with(&good, "manifest.json", Some(b"[]")),
        with(&good, "index.json", Some(b"{\"schemaVersion\":2,\"manifests\":[]}")),
        with(&good, "index.json", Some(b"{")),
    ];
    insta::assert_snapshot!(rejections(archives.iter().map(Vec::as_slice)));
}

#[test]
fn rejects_a_wrong_size_in_a_descriptor() {
    let good = docker_tar(&spec());
    let index = text_of(&good, "index.json");
    let size = index.split("\"size\":").nth(1).unwrap().split(',').next().unwrap();
    let wrong = index.replace(&format!("\"size\":{size}"), "\"size\":7");
    let reason = rejection(&with(&good, "index.json", Some(wrong.as_bytes())));
    assert!(reason.ends_with(&format!(": {size} bytes; its descriptor has 7")), "{reason}");
}

#[test]
fn rejects_a_name_that_is_listed_twice() {
    let good = docker_tar(&spec());
    let mut doubled = good[..good.len() - 1024].to_vec();
    doubled.extend_from_slice(&good);
    insta::assert_snapshot!(rejection(&doubled), @"it has `oci-layout` twice");
}

#[test]
fn rejects_a_missing_archive_and_a_folder() {
    let archive = Archive::new();
    let found = |path: &Path| LoadableImage::read(path).unwrap_err().fields().found.clone().unwrap();
    insta::assert_snapshot!(found(&archive.path()), @"it cannot be opened: No such file or directory (os error 2)");
    insta::assert_snapshot!(found(archive.folder.path()), @"it is not a regular file");
}

/// The archive with one more entry before its end.
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

/// Tar readers disagree on these names: an engine must not load a file that was not checked.
#[test]
fn rejects_other_spellings_of_a_name() {
    let good = docker_tar(&spec());
    let mut archives: Vec<_> = ["./index.json", "blobs/../index.json", "/index.json", "blobs//x", "x y"]
        .map(|name| with_entry(&good, name, tar::EntryType::Regular, b"{}"))
        .into();
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        archives.push(with_entry(&good, "other.json", kind, b""));
    }
    let mut many = good;
    for number in 0..70 {
        many = with_entry(&many, &format!("file{number}"), tar::EntryType::Regular, b"");
    }
    archives.push(many);
    insta::assert_snapshot!(rejections(archives.iter().map(Vec::as_slice)));
}

/// An image with valid digests and the layer of another program.
fn with_layer(layer: &[u8]) -> Vec<u8> {
    let good = docker_tar(&spec());
    let built = OciImage::build(&spec()).unwrap();
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
fn rejects_a_layer_with_two_readings() {
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let one = with_entry(&empty, "inferd", tar::EntryType::Regular, b"proved");
    // The forgery must be valid but for its layer.
    let read = Archive::new().read(&with_layer(&one)).unwrap();
    assert_eq!(read.file_digests["/inferd"], digest(b"proved"));

    let layers = [
        with_entry(&one, "inferd", tar::EntryType::Regular, b"other"),
        with_entry(&one, "./inferd", tar::EntryType::Regular, b"other"),
        with_entry(&one, "other", tar::EntryType::Symlink, b""),
        with_entry(&one, ".wh.inferd", tar::EntryType::Regular, b""),
        b"not a tar".to_vec(),
    ];
    let archives = layers.map(|layer| with_layer(&layer));
    insta::assert_snapshot!(rejections(archives.iter().map(Vec::as_slice)));
}
