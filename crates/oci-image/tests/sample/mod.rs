//! The image that the tests build, change and damage, and its parts.
#![allow(dead_code, reason = "each test program uses a part of this module")]

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use oci_image::{ImageFile, ImageSpec, OciImage, account_files};
use serde_json::Value;

pub const PROGRAM: &[u8] = b"not a program, but bytes that stand for one\n";

pub fn spec() -> ImageSpec {
    let mut files = vec![ImageFile::from_bytes("/inferd", 0o555, PROGRAM)];
    files.extend(account_files("65532:65532", "nonroot").unwrap());
    ImageSpec {
        files,
        entrypoint: vec!["/inferd".into()],
        cmd: vec!["--help".into()],
        env: vec!["RUST_BACKTRACE=1".into()],
        user: "65532:65532".into(),
        workdir: "/".into(),
        labels: BTreeMap::from([
            ("org.opencontainers.image.version".into(), "0.1.0".into()),
            ("org.example.private".into(), "only in the config".into()),
        ]),
        exposed_ports: vec!["8080/tcp".into()],
        architecture: "amd64".into(),
        created_unix_seconds: 1_735_689_600,
        reference: "inferd:0.1.0".into(),
    }
}

pub fn docker_tar(spec: &ImageSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    OciImage::build(spec).unwrap().write_docker_tar(&mut bytes).unwrap();
    bytes
}

pub fn oci_tar(spec: &ImageSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    OciImage::build(spec).unwrap().write_oci_tar(&mut bytes).unwrap();
    bytes
}

/// Regular files of a tar by name.
pub fn untar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry.header().entry_type().is_file() {
            files.insert(name, content);
        }
    }
    files
}

/// The blob with the digest in a JSON field.
pub fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &Value) -> &'a [u8] {
    &files[&format!("blobs/sha256/{}", digest.as_str().unwrap().trim_start_matches("sha256:"))]
}

pub fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub fn unpacked_layer(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let index = parse(&files["index.json"]);
    let manifest = parse(blob(files, &index["manifests"][0]["digest"]));
    let mut layer = Vec::new();
    GzDecoder::new(blob(files, &manifest["layers"][0]["digest"])).read_to_end(&mut layer).unwrap();
    layer
}
