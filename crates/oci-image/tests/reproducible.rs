//! The same specification gives the same bytes, and what changes which digest.

mod sample;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, UNIX_EPOCH};

use oci_image::{ImageFile, ImageSpec, OciImage};
use sample::{PROGRAM, docker_tar, oci_tar, spec};

#[test]
fn the_same_spec_gives_the_same_bytes() {
    assert_eq!(docker_tar(&spec()), docker_tar(&spec()));
    assert_eq!(oci_tar(&spec()), oci_tar(&spec()));
}

#[test]
fn the_order_of_files_does_not_change_the_bytes() {
    let mut reversed = spec();
    reversed.files.reverse();
    assert_eq!(docker_tar(&spec()), docker_tar(&reversed));
}

/// Changes the owner too if the test runs as root.
#[test]
fn owner_time_and_mode_of_a_source_file_do_not_change_the_bytes() {
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
fn content_and_mode_change_the_layer() {
    let image = OciImage::build(&spec()).unwrap();
    let mut changed = spec();
    changed.files[0].mode = 0o755;
    assert_ne!(image.layer_diff_id(), OciImage::build(&changed).unwrap().layer_diff_id());
    changed.files[0] = ImageFile::from_bytes("/inferd", 0o555, "other");
    assert_ne!(image.layer_diff_id(), OciImage::build(&changed).unwrap().layer_diff_id());
}

#[test]
fn the_date_changes_the_image_and_keeps_the_layer() {
    let (first, second) = (
        OciImage::build(&spec()).unwrap(),
        OciImage::build(&ImageSpec { created_unix_seconds: 0, ..spec() }).unwrap(),
    );
    assert_ne!(first.image_id(), second.image_id());
    assert_ne!(first.manifest_digest(), second.manifest_digest());
    assert_eq!(first.layer_digest(), second.layer_digest());
}

/// Published digests must stay reproducible from the same sources, so an update of the compressor or the tar writer that
/// changes the bytes is a decision. If this test fails after such an update and nothing else has changed, record it in the
/// changelog and replace the digests here.
#[test]
fn the_digests_of_a_known_image_are_constant() {
    let mut spec = spec();
    spec.files[0] = ImageFile::from_bytes("/inferd", 0o555, compressible(300_000));
    let image = OciImage::build(&spec).unwrap();
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

/// Bytes with short and long matches, so that the choices of the compressor matter.
fn compressible(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 4 + (state >> 24) as usize % 60;
        let distance = 1 + (state >> 8) as usize % 20_000;
        match bytes.len().checked_sub(distance) {
            Some(start) if state & 0x40 != 0 => {
                bytes.extend_from_within(start..(start + length).min(bytes.len()));
            }
            _ => bytes.extend_from_slice(&state.to_le_bytes()),
        }
    }
    bytes.truncate(count);
    bytes
}
