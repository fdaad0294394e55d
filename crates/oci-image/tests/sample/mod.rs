//! The image that the tests build, change and damage.

use std::collections::BTreeMap;

use oci_image::{Image, ImageFile, ImageSpec, account_files};

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
    Image::build(spec).unwrap().write_docker_tar(&mut bytes).unwrap();
    bytes
}

pub fn oci_tar(spec: &ImageSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    Image::build(spec).unwrap().write_oci_tar(&mut bytes).unwrap();
    bytes
}
