//! Files of a model that change under a running server.

mod http_client;
mod run_inferd;
mod running_server;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use http_client::{check_error, embed, get};
use run_inferd::tiny_bert;
use running_server::Running;

const TEXT: &str = "{\"input\":\"fox\"}";

/// A server with a copy of the model, and the weight file of the copy.
fn server() -> (Running, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m");
    assert!(Command::new("cp").arg("-r").arg(tiny_bert()).arg(&copy).status().unwrap().success());
    let server = Running::start(&["--model", copy.to_str().unwrap()]);
    (server, copy.join("model.safetensors"), folder)
}

fn writer(file: &PathBuf) -> File {
    File::options().write(true).open(file).unwrap()
}

#[test]
fn weights_with_new_times_and_the_same_bytes_are_served_on() {
    let (server, file, _folder) = server();
    let before = embed(server.address, TEXT);
    assert_eq!(before.status, 200);
    for seconds in [1_000_000_000, 2_000_000_000, 1_500_000_000] {
        writer(&file).set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        assert_eq!(get(server.address, "/readyz").status, 200);
        let after = embed(server.address, TEXT);
        assert_eq!((after.status, &after.json()["data"]), (200, &before.json()["data"]));
    }
}

#[test]
fn overwritten_weights_give_no_vector_and_no_readiness_also_with_their_old_time() {
    let (server, file, _folder) = server();
    let modified = file.metadata().unwrap().modified().unwrap();
    let writer = writer(&file);
    let end = file.metadata().unwrap().len();
    writer.write_all_at(&1.5_f32.to_le_bytes(), end - 4).unwrap();
    writer.set_modified(modified).unwrap();
    check_error(&embed(server.address, TEXT), 503, "model_changed");
    check_error(&get(server.address, "/readyz"), 503, "model_changed");
}

#[test]
fn readiness_ends_after_an_overwrite_without_a_request() {
    let (server, file, _folder) = server();
    writer(&file).write_all_at(&[9; 16], 4096).unwrap();
    let started = Instant::now();
    while get(server.address, "/readyz").status == 200 {
        assert!(started.elapsed() < Duration::from_secs(20), "still ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    check_error(&get(server.address, "/readyz"), 503, "model_changed");
}
