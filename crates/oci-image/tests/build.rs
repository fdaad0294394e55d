//! What an image consists of, that it is the same every time, and that a wrong spec is refused with words that help.

mod sample;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use flate2::read::GzDecoder;
use oci_image::{Content, Image, ImageFile, ImageSpec, account_files};
use sample::{PROGRAM, docker_tar, oci_tar, spec};
use serde_json::{Value, json};

/// Regular files of a tar by name.
fn untar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
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

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &Value) -> &'a [u8] {
    &files[&format!("blobs/sha256/{}", digest.as_str().unwrap().trim_start_matches("sha256:"))]
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn unpacked_layer(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let index = parse(&files["index.json"]);
    let manifest = parse(blob(files, &index["manifests"][0]["digest"]));
    let mut layer = Vec::new();
    GzDecoder::new(blob(files, &manifest["layers"][0]["digest"])).read_to_end(&mut layer).unwrap();
    layer
}

fn error_of(change: impl FnOnce(&mut ImageSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    format!("{:#}", Image::build(&spec).err().expect("the spec must be refused"))
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut ImageSpec), words: &[&str]) {
    let error = error_of(change);
    for word in words {
        assert!(error.contains(word), "`{word}` is not in:\n{error}");
    }
    assert!(!error.contains("problems"), "one defect was reported as several:\n{error}");
}

// ---- the same input gives the same bytes

#[test]
fn the_same_spec_gives_the_same_bytes() {
    assert_eq!(docker_tar(&spec()), docker_tar(&spec()));
    assert_eq!(oci_tar(&spec()), oci_tar(&spec()));
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let mut turned = spec();
    turned.files.reverse();
    assert_eq!(docker_tar(&spec()), docker_tar(&turned));
}

/// As root the owner is changed, too; without privileges the time and mode must do.
#[test]
fn owner_time_and_mode_of_a_source_file_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (name, mode, seconds, owner) in [("first", 0o600, 1, 1234), ("second", 0o755, 1_700_000_000, 0)] {
        let source = folder.path().join(name);
        fs::write(&source, PROGRAM).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(mode)).unwrap();
        File::options()
            .append(true)
            .open(&source)
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
        if let Err(error) = std::os::unix::fs::chown(&source, Some(owner), Some(owner)) {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
        let mut spec = spec();
        spec.files[0] = ImageFile::from_source("/inferd", 0o555, source);
        images.push(docker_tar(&spec));
    }
    assert_eq!(images[0], images[1]);
    assert_eq!(
        images[0],
        docker_tar(&spec()),
        "a source file and the same bytes from memory are the same image"
    );
}

#[test]
fn another_content_or_mode_gives_another_layer() {
    let image = Image::build(&spec()).unwrap();
    let mut changed = spec();
    changed.files[0].mode = 0o755;
    assert_ne!(image.layer_diff_id(), Image::build(&changed).unwrap().layer_diff_id());
    changed.files[0] = ImageFile::from_bytes("/inferd", 0o555, "other");
    assert_ne!(image.layer_diff_id(), Image::build(&changed).unwrap().layer_diff_id());
}

#[test]
fn the_date_changes_the_image_and_not_its_layer() {
    let (first, second) = (
        Image::build(&spec()).unwrap(),
        Image::build(&ImageSpec { created_unix_seconds: 0, ..spec() }).unwrap(),
    );
    assert_ne!(first.image_id(), second.image_id());
    assert_ne!(first.manifest_digest(), second.manifest_digest());
    assert_eq!(first.layer_digest(), second.layer_digest());
}

/// An update of the compressor or the tar writer that changes our bytes must be a decision: published digests would no
/// longer be reproducible from the same sources. If this fails after such an update and nothing else changed, say
/// so in the changelog and put the new digests here.
#[test]
fn the_bytes_of_a_known_image_have_not_drifted() {
    let mut spec = spec();
    spec.files[0] = ImageFile::from_bytes("/inferd", 0o555, compressible(300_000));
    let image = Image::build(&spec).unwrap();
    assert_eq!(
        image.layer_diff_id(),
        "sha256:f1b7143a4584a933044ea0083dc088caaa026c41df1d0631b6fefac35f8b58a6",
        "the tar writer has changed"
    );
    assert_eq!(
        image.layer_digest(),
        "sha256:c46cb857395046c8e3346420a0e022e28c6fb30e31255df16da368a009e5ed43",
        "the compressor has changed"
    );
    assert_eq!(
        image.image_id(),
        "sha256:f74be1c1efb0b0cd56caf8621dbe538079dc198a920068c16cc2e9b2f737b1a5",
        "the config has changed"
    );
    assert_eq!(
        image.manifest_digest(),
        "sha256:d7c776860f052779626ef79e4fa4a26295016af64b0bcad132faa976e0bb3671",
        "the manifest has changed"
    );
}

/// Bytes with short and long matches, so that the compressor has choices to make.
fn compressible(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 4 + (state >> 24) as usize % 60;
        let distance = 1 + (state >> 8) as usize % 20_000;
        match bytes.len().checked_sub(distance) {
            Some(start) if state & 0x40 != 0 => {
                bytes.extend_from_within(start..(start + length).min(bytes.len()))
            }
            _ => bytes.extend_from_slice(&state.to_le_bytes()),
        }
    }
    bytes.truncate(count);
    bytes
}

// ---- what the specification asks for

#[test]
fn every_blob_has_its_digest_as_its_name_and_its_size_in_its_descriptor() {
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
fn the_documents_have_the_fields_that_the_oci_schemas_require() {
    let image = Image::build(&spec()).unwrap();
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

/// Optional fields that are empty are absent: `null` is not allowed for some of them and engines differ on the rest.
#[test]
fn no_document_has_a_null() {
    let bare =
        ImageSpec { cmd: vec![], env: vec![], labels: BTreeMap::new(), exposed_ports: vec![], ..spec() };
    for (name, bytes) in untar(&docker_tar(&bare)) {
        if bytes.starts_with(b"{") || bytes.starts_with(b"[") {
            assert!(!String::from_utf8(bytes).unwrap().contains("null"), "{name}");
        }
    }
}

#[test]
fn the_docker_archive_is_the_oci_archive_and_manifest_json() {
    let image = Image::build(&spec()).unwrap();
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
fn the_gzip_header_has_no_name_and_no_time() {
    let files = untar(&oci_tar(&spec()));
    let index = parse(&files["index.json"]);
    let manifest = parse(blob(&files, &index["manifests"][0]["digest"]));
    let header = &blob(&files, &manifest["layers"][0]["digest"])[..10];
    assert_eq!(header[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
}

#[test]
fn the_layer_is_sorted_owned_by_root_and_from_1970() {
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
fn the_digests_of_the_packed_files_are_reported() {
    use sha2::{Digest as _, Sha256};
    let hex: String = Sha256::digest(PROGRAM).iter().map(|byte| format!("{byte:02x}")).collect();
    let image = Image::build(&spec()).unwrap();
    assert_eq!(image.file_digests()["/inferd"], format!("sha256:{hex}"));
    assert_eq!(image.file_digests().len(), 3);
}

// ---- the layout as a folder

#[test]
fn a_layout_folder_holds_what_the_tar_holds() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("image.oci");
    Image::build(&spec()).unwrap().write_oci_layout(&place).unwrap();
    for (name, bytes) in untar(&oci_tar(&spec())) {
        assert_eq!(fs::read(place.join(name)).unwrap(), bytes);
    }
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "no staging folder is left");
}

#[test]
fn a_layout_does_not_replace_what_is_there() {
    let parent = tempfile::tempdir().unwrap();
    let error = Image::build(&spec()).unwrap().write_oci_layout(parent.path()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    let missing = parent.path().join("no/such/folder");
    let error = format!("{:#}", Image::build(&spec()).unwrap().write_oci_layout(&missing).unwrap_err());
    assert!(error.contains("no/such") && error.contains("staging"), "{error}");
}

// ---- wrong specs

#[test]
fn a_missing_source_file_is_refused_by_name() {
    let source = Path::new("/no/such/folder/inferd");
    refuses(
        |spec| spec.files[0].content = Content::Source(source.into()),
        &["`/inferd`", "`/no/such/folder/inferd`", "No such file", "hint: ls -l"],
    );
}

#[test]
fn a_source_that_is_not_a_regular_file_is_refused() {
    refuses(|spec| spec.files[0].content = Content::Source("/".into()), &["regular file", "a folder"]);
    refuses(|spec| spec.files[0].content = Content::Source("/dev/null".into()), &["regular file", "special"]);
}

#[test]
fn paths_that_leave_the_image_or_hide_in_it_are_refused() {
    for (path, words) in [
        ("/../inferd", "component `..`"),
        ("/bin/../inferd", "component `..`"),
        ("/./inferd", "component `.`"),
        ("//inferd", "component ``"),
        ("/bin/", "component ``"),
        ("inferd", "absolute"),
        ("", "absolute"),
        ("/", "root of the image"),
        ("/etc/.wh.passwd", "whiteout"),
        ("/a b", "printable"),
        ("/ä", "printable"),
        ("/a\nb", "printable"),
    ] {
        refuses(
            |spec| spec.files.push(ImageFile::from_bytes(path, 0o444, "")),
            &[&format!("file `{path}`"), words],
        );
    }
    let long = format!("/{}", "a".repeat(100));
    refuses(
        |spec| spec.files.push(ImageFile::from_bytes(&long, 0o444, "")),
        &["100 bytes long", "at most 99"],
    );
}

#[test]
fn the_longest_path_that_is_accepted_fits_into_a_plain_header() {
    let mut spec = spec();
    let longest = "a".repeat(99);
    spec.files.push(ImageFile::folder(&format!("/{longest}"), 0o755));
    let layer = unpacked_layer(&untar(&oci_tar(&spec)));
    let mut archive = tar::Archive::new(layer.as_slice());
    let names = archive.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned());
    assert!(names.into_iter().any(|name| name == format!("{longest}/").as_bytes()));
}

#[test]
fn a_path_listed_twice_is_refused() {
    refuses(
        |spec| spec.files.push(ImageFile::from_bytes("/inferd", 0o555, "other")),
        &["`/inferd`", "twice"],
    );
}

#[test]
fn a_file_where_a_folder_is_needed_is_refused() {
    refuses(
        |spec| spec.files.push(ImageFile::from_bytes("/inferd/model", 0o444, "")),
        &["`/inferd`", "is a file", "below it"],
    );
}

#[test]
fn a_mode_with_a_file_type_is_refused() {
    refuses(|spec| spec.files[0].mode = 0o100_555, &["0o100555", "hint: 0o555"]);
}

#[test]
fn an_image_without_files_is_refused() {
    let error = error_of(|spec| spec.files.clear());
    assert!(error.contains("no files"), "{error}");
}

#[test]
fn entrypoints_that_cannot_start_are_refused() {
    refuses(|spec| spec.entrypoint.clear(), &["entrypoint is empty", "hint"]);
    refuses(|spec| spec.entrypoint[0] = "inferd".into(), &["`inferd`", "no such file", "/inferd"]);
    refuses(|spec| spec.entrypoint[0] = "/etc".into(), &["is a folder"]);
    refuses(|spec| spec.files[0].mode = 0o500, &["0o500", "65532", "hint: 0o555"]);
    refuses(|spec| spec.files[0].mode = 0o444, &["0o444"]);
    refuses(|spec| spec.entrypoint.push("a\0b".into()), &["NUL"]);
}

#[test]
fn architectures_are_named_as_images_name_them() {
    refuses(|spec| spec.architecture = "x86_64".into(), &["`x86_64`", "amd64"]);
    refuses(|spec| spec.architecture = "aarch64".into(), &["`aarch64`", "arm64"]);
    refuses(|spec| spec.architecture = "riscv64".into(), &["`riscv64`", "expected amd64 or arm64"]);
}

/// The running test program is a real ELF file of this machine.
#[test]
fn a_program_for_another_machine_is_refused() {
    let program = std::env::current_exe().unwrap();
    let (own, other) = if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    let mut spec = spec();
    spec.files[0].content = Content::Source(program);
    spec.architecture = own.into();
    Image::build(&spec).unwrap();
    spec.architecture = other.into();
    let error = Image::build(&spec).err().unwrap().to_string();
    assert!(error.contains(&format!("ELF file for {own}")) && error.contains(other), "{error}");
}

#[test]
fn users_are_numbers_and_never_root() {
    for user in ["nonroot", "65532", "65532:nonroot", "", "+1:+1", ":", "-1:-1", "4294967296:1"] {
        refuses(|spec| spec.user = user.into(), &["UID:GID"]);
    }
    for user in ["0:0", "0:65532", "65532:0", "00:1"] {
        refuses(|spec| spec.user = user.into(), &["root", "hint: 65532:65532"]);
    }
    assert!(account_files("nonroot", "nonroot").is_err());
    assert!(account_files("65532:65532", "a:b").is_err());
}

#[test]
fn other_settings_that_engines_would_trip_over_are_refused() {
    refuses(|spec| spec.workdir = "/data".into(), &["`/data`", "read-only"]);
    refuses(|spec| spec.env.push("NO_VALUE".into()), &["`NO_VALUE`", "KEY=VALUE"]);
    refuses(|spec| spec.env.push("=x".into()), &["KEY=VALUE"]);
    refuses(|spec| spec.env.push("RUST_BACKTRACE=0".into()), &["`RUST_BACKTRACE`", "twice"]);
    refuses(|spec| drop(spec.labels.insert(String::new(), "x".into())), &["empty key"]);
    for port in ["8080", "0/tcp", "65536/tcp", "8080/http", "http"] {
        refuses(|spec| spec.exposed_ports.push(port.into()), &["NUMBER/PROTOCOL", "hint"]);
    }
    refuses(|spec| spec.exposed_ports.push("8080/tcp".into()), &["twice"]);
    refuses(|spec| spec.reference = "Inferd".into(), &["`Inferd`", "hint: for example inferd:0.1.0"]);
    refuses(|spec| spec.created_unix_seconds = 1_735_689_600_000, &["year 9999", "milliseconds"]);
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = error_of(|spec| {
        spec.user = "root".into();
        spec.architecture = "x86_64".into();
        spec.entrypoint.clear();
        spec.files.push(ImageFile::from_bytes("/../x", 0o444, ""));
    });
    assert!(error.contains("4 problems"), "{error}");
    for word in ["user", "architecture", "entrypoint", "`/../x`"] {
        assert!(error.contains(word), "{error}");
    }
}
