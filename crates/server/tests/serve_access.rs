//! API keys and unix sockets.

mod fake_model;
mod http_client;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake_model::{Fake, address, loader, options, wait_until};
use http_client::{JSON, Response, check_error, get, request};
use inferd::serve::{DrainOutcome, Listen, Server};

const TEAM: &str = "0123456789abcdef-team";
const OTHER: &str = "0123456789abcdef-other";
const EMBED: &[u8] = b"{\"input\":\"a\"}";

fn with_keys(file: &Path, protect_metrics: bool, model: &Arc<Fake>) -> Server {
    let mut options = options();
    options.api_keys = Some(file.into());
    options.protect_metrics = protect_metrics;
    options.admission.requests_max = 4;
    Server::open_with(options, loader(model)).unwrap()
}

fn embed_as(at: SocketAddr, authorization: &str) -> Response {
    request(at, "POST", "/v1/embeddings", &format!("{JSON}authorization: {authorization}\r\n"), EMBED)
}

#[test]
fn requests_without_a_valid_key_get_401_except_health_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("team {TEAM}\n")).unwrap();
    let server = with_keys(&file, false, &Arc::default());
    let at = address(&server);
    let none = request(at, "POST", "/v1/embeddings", JSON, EMBED);
    check_error(&none, 401, "missing_api_key");
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"inferd\""));
    for wrong in [
        "Bearer wrong",
        "Bearer 0123456789abcdef-tea",
        "Bearer 0123456789abcdef-teams",
        "Bearer ",
        "Basic 0123456789abcdef-team",
        TEAM,
    ] {
        check_error(&embed_as(at, wrong), 401, "invalid_api_key");
    }
    for right in [format!("Bearer {TEAM}"), format!("bearer  {TEAM}")] {
        assert_eq!(embed_as(at, &right).status, 200, "{right}");
    }
    for path in ["/v1/models", "/v1/models/m", "/openapi.json", "/v1/nothing"] {
        check_error(&get(at, path), 401, "missing_api_key");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        assert_eq!(get(at, path).status, 200, "{path}");
    }
    let closed = with_keys(&file, true, &Arc::default());
    for path in ["/metrics", "/"] {
        check_error(&get(address(&closed), path), 401, "missing_api_key");
        let key = format!("authorization: Bearer {TEAM}\r\n");
        assert_eq!(request(address(&closed), "GET", path, &key, b"").status, 200);
    }
}

#[test]
fn a_reload_revokes_keys_and_an_invalid_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("{TEAM}\n")).unwrap();
    let server = with_keys(&file, false, &Arc::default());
    let at = address(&server);
    std::fs::write(&file, format!("{OTHER}\n")).unwrap();
    assert_eq!(embed_as(at, &format!("Bearer {TEAM}")).status, 200);
    server.reload().unwrap();
    check_error(&embed_as(at, &format!("Bearer {TEAM}")), 401, "invalid_api_key");
    std::fs::write(&file, "# none\n").unwrap();
    let error = server.reload().unwrap_err();
    assert_eq!(error.fields().message, "the file of API keys holds no key");
    assert_eq!(embed_as(at, &format!("Bearer {OTHER}")).status, 200);
}

#[test]
fn rejects_an_empty_file_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "").unwrap();
    let mut options = options();
    options.api_keys = Some(file);
    let error = Server::open_with(options, loader(&Arc::default())).err().unwrap();
    assert_eq!((error.code().id, error.fields().hint.is_some()), ("invalid-api-keys", true));
}

#[test]
fn permits_are_shared_by_key_not_by_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("team {TEAM}\nother {OTHER}\n")).unwrap();
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = with_keys(&file, false, &model);
    let at = address(&server);
    let embed = move |key: &str| embed_as(at, &format!("Bearer {key}"));
    std::thread::scope(|scope| {
        // One key can hold three of four permits; another key of the same address gets the fourth.
        let held: Vec<_> = (0..3).map(|_| scope.spawn(move || embed(TEAM).status)).collect();
        wait_until("three requests are in flight", || server.inflight_requests() == 3);
        check_error(&embed(TEAM), 429, "queue_full");
        let other = scope.spawn(move || embed(OTHER).status);
        wait_until("four requests are in flight", || server.inflight_requests() == 4);
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().chain([other]).for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
}

#[test]
fn a_unix_socket_serves_beside_tcp_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inferd.sock");
    let mut options = options();
    options.listen.push(Listen::Unix(path.clone()));
    let server = Server::open_with(options, loader(&Arc::default())).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(get(address(&server), "/readyz").status, 200);
    assert_eq!(server.drain(Duration::from_secs(5)), DrainOutcome::Complete);
    assert!(!path.exists());
}

#[test]
fn binds_all_addresses_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inferd.sock");
    let mut options = options();
    options.listen = vec![Listen::Unix(path.clone()), Listen::Unix(folder.path().join("no/such/folder"))];
    let error = Server::open_with(options, loader(&Arc::default())).err().unwrap();
    assert_eq!(error.code().id, "listen-failed");
    assert!(!path.exists());
}
