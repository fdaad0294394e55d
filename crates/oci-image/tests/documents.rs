//! What an image consists of: documents, layer and files of the archives.

mod sample;

use std::collections::BTreeMap;

use oci_image::{ImageFile, ImageSpec, OciImage};
use sample::{PROGRAM, blob, docker_tar, oci_tar, parse, spec, unpacked_layer, untar};
use serde_json::json;

#[test]
fn blobs_have_their_digest_as_name_and_their_size_in_the_descriptor() {
    use sha2::{Digest as _, Sha256};
    let files = untar(&docker_tar(&spec()));
    let blobs: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("blobs/sha256/")).collect();
    assert_eq!(blobs.len(), 3);
    for (name, bytes) in blobs {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*name, format!("blobs/sha256/{hex}"));
    }
    let index = parse(&files["index.json"]);
    let manifest = parse(blob(&files, &index["manifests"][0]["digest"]));
    for descriptor in [&index["manifests"][0], &manifest["config"], &manifest["layers"][0]] {
        assert_eq!(descriptor["size"], blob(&files, &descriptor["digest"]).len());
    }
}

#[test]
fn documents_have_the_fields_that_the_oci_schemas_require() {
    let image = OciImage::build(&spec()).unwrap();
    let files = untar(&oci_tar(&spec()));
    assert_eq!(parse(&files["oci-layout"]), json!({ "imageLayoutVersion": "1.0.0" }));

    let index = parse(&files["index.json"]);
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let listed = &index["manifests"][0];
    assert_eq!(listed["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(listed["digest"], image.manifest_digest());
    assert_eq!(listed["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    assert_eq!(
        listed["annotations"],
        json!({
            "org.opencontainers.image.ref.name": "0.1.0",
            "io.containerd.image.name": "docker.io/library/inferd:0.1.0",
        })
    );

    let manifest = parse(blob(&files, &listed["digest"]));
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(manifest["mediaType"], listed["mediaType"]);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(manifest["config"]["digest"], image.image_id());
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(manifest["annotations"], json!({ "org.opencontainers.image.version": "0.1.0" }));

    let config = parse(blob(&files, &manifest["config"]["digest"]));
    assert_eq!(
        config,
        json!({
            "created": "2025-01-01T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": "65532:65532",
                "ExposedPorts": { "8080/tcp": {} },
                "Env": ["RUST_BACKTRACE=1"],
                "Entrypoint": ["/inferd"],
                "Cmd": ["--help"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.version": "0.1.0",
                    "org.example.private": "only in the config",
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [image.layer_diff_id()] },
            "history": [{ "created": "2025-01-01T00:00:00Z", "created_by": "oci-image" }],
        })
    );
}

/// Empty optional fields are absent: `null` is not allowed for some of them, and engines differ on the others.
#[test]
fn documents_have_no_null() {
    let bare =
        ImageSpec { cmd: vec![], env: vec![], labels: BTreeMap::new(), exposed_ports: vec![], ..spec() };
    for (name, bytes) in untar(&docker_tar(&bare)) {
        if bytes.starts_with(b"{") || bytes.starts_with(b"[") {
            assert!(!String::from_utf8(bytes).unwrap().contains("null"), "{name}");
        }
    }
}

#[test]
fn the_docker_archive_adds_only_manifest_json_to_the_oci_archive() {
    let image = OciImage::build(&spec()).unwrap();
    let mut docker = untar(&docker_tar(&spec()));
    let list = parse(&docker.remove("manifest.json").unwrap());
    let oci = untar(&oci_tar(&spec()));
    assert_eq!(docker, oci);
    assert_eq!(list[0]["RepoTags"], json!(["inferd:0.1.0"]));
    assert_eq!(list[0]["Config"], format!("blobs/sha256/{}", image.image_id().trim_start_matches("sha256:")));
    assert_eq!(
        list[0]["Layers"],
        json!([format!("blobs/sha256/{}", image.layer_digest().trim_start_matches("sha256:"))])
    );
}

#[test]
fn the_gzip_header_has_neither_name_nor_time() {
    let files = untar(&oci_tar(&spec()));
    let index = parse(&files["index.json"]);
    let manifest = parse(blob(&files, &index["manifests"][0]["digest"]));
    let header = &blob(&files, &manifest["layers"][0]["digest"])[..10];
    assert_eq!(header[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
}

#[test]
fn layer_entries_are_sorted_owned_by_root_and_dated_1970() {
    let mut spec = spec();
    spec.files.push(ImageFile::folder("/var/empty", 0o700));
    let layer = unpacked_layer(&untar(&oci_tar(&spec)));
    let mut entries = Vec::new();
    for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        assert_eq!(&header.as_ustar().expect("a plain ustar header").magic, b"ustar\0");
        entries.push((String::from_utf8(entry.path_bytes().into_owned()).unwrap(), header.mode().unwrap()));
    }
    let entries: Vec<_> = entries.iter().map(|(name, mode)| (name.as_str(), *mode)).collect();
    assert_eq!(
        entries,
        [
            ("etc/", 0o755),
            ("etc/group", 0o444),
            ("etc/passwd", 0o444),
            ("inferd", 0o555),
            ("var/", 0o755),
            ("var/empty/", 0o700),
        ]
    );
}

#[test]
fn reports_the_digests_of_the_files() {
    use sha2::{Digest as _, Sha256};
    let hex: String = Sha256::digest(PROGRAM).iter().map(|byte| format!("{byte:02x}")).collect();
    let image = OciImage::build(&spec()).unwrap();
    assert_eq!(image.file_digests()["/inferd"], format!("sha256:{hex}"));
    assert_eq!(image.file_digests().len(), 3);
}
