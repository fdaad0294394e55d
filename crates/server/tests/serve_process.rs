//! `inferd serve` and `inferd healthcheck` as processes: the order of a start, signals, the log, the real model.

mod http_client;
mod run_inferd;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use http_client::{embed, embed_within, get};
use run_inferd::{inferd, run, tiny_bert};
use serde_json::Value;

struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    /// What was logged before it listened.
    start: String,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = inferd();
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--threads", "2"]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut start = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "ended before it listened:\n{start}");
            start += &line;
            if let Some((_, address)) = line.trim().split_once("listening url=http://") {
                break address.parse().unwrap();
            }
        };
        Self { child, log, address, start }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Until a line of the log has these words.
    fn wait_for(&mut self, words: &str) -> String {
        let mut line = String::new();
        let started = Instant::now();
        while !line.contains(words) {
            assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: `{words}`");
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended before `{words}`");
        }
        line
    }

    fn exit_code(mut self) -> Option<i32> {
        let started = Instant::now();
        // The log must be read, or it would fill its pipe.
        let mut rest = String::new();
        let _ = std::io::Read::read_to_string(&mut self.log, &mut rest);
        let code = self.child.wait().unwrap().code();
        assert!(started.elapsed() < Duration::from_secs(20));
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tiny() -> String {
    format!("tiny={}", tiny_bert().display())
}

#[test]
fn serves_the_vectors_of_the_embed_command_and_drains_at_sigterm() {
    let server = Running::start(&["--model", &tiny()]);
    for words in ["info memory check=", "blas=", "stack=\"8 MiB\"", "threads=2", "loaded=true"] {
        assert!(server.start.contains(words), "`{words}` is missing in:\n{}", server.start);
    }
    let served = embed(server.address, "{\"model\":\"tiny\",\"input\":[\"the fox\",\"dog\"]}").json();
    let printed = run(inferd().arg("embed").arg("--model").arg(tiny_bert()).args(["--", "the fox", "dog"]));
    for (line, vector) in printed.stdout.lines().zip(served["data"].as_array().unwrap()) {
        let line: Value = serde_json::from_str(line).unwrap();
        let pairs = line["embedding"].as_array().unwrap().iter().zip(vector["embedding"].as_array().unwrap());
        for (a, b) in pairs {
            assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5);
        }
    }
    let page = get(server.address, "/metrics").text();
    for name in [
        "inferd_requests_total{route=\"/v1/embeddings\",status=\"200\"} 1",
        "inferd_memory_estimate_bytes{kind=\"anonymous\"}",
        "inferd_memory_loaded_bytes",
        "inferd_blas_threads",
        "inferd_load_seconds",
    ] {
        assert!(page.contains(name), "`{name}` is missing in:\n{page}");
    }
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_reload_loses_no_request_and_a_failed_one_keeps_the_old_model() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m");
    assert!(Command::new("cp").arg("-r").arg(tiny_bert()).arg(&copy).status().unwrap().success());
    let mut server = Running::start(&["--model", copy.to_str().unwrap()]);
    let address = server.address;
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while Instant::now() < until {
                        assert_eq!(embed(address, "{\"input\":\"fox\"}").status, 200);
                        std::thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            server.signal("-HUP");
            server.wait_for(" reloaded ");
        }
        std::fs::rename(copy.join("config.json"), copy.join("gone")).unwrap();
        server.signal("-HUP");
        let line = server.wait_for(" reload_failed ");
        assert!(line.contains("config.json"), "{line}");
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(embed(address, "{\"input\":\"fox\"}").status, 200);
    assert!(get(address, "/metrics").text().contains("inferd_reloads_total{outcome=\"ok\"} 3"));
}

#[test]
fn what_does_not_fit_is_refused_in_one_line_before_the_listener_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let started = Instant::now();
    // The port is taken: had the server got as far as binding, it would say so instead.
    let ran =
        run(inferd().args(["serve", "--model", &tiny(), "--listen", &listen, "--queue-bytes", "900000 GiB"]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: not enough memory: needs "), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(started.elapsed() < Duration::from_secs(5));

    let args =
        ["serve", "--model", &tiny(), "--listen", &listen, "--queue-bytes", "900000 GiB", "--no-memcheck"];
    let ran = run(inferd().args(args));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("cannot listen on"), "{}", ran.stderr);
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_start_but_not_a_lazy_one() {
    let ran = run(inferd().args([
        "serve",
        "--model",
        "/does/not/exist",
        "--listen",
        "127.0.0.1:0",
        "--no-memcheck",
    ]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("/does/not/exist"), "{}", ran.stderr);

    let server = Running::start(&["--model", &tiny(), "--lazy-weights"]);
    assert!(server.start.contains("not checked, because of `--lazy-weights`"), "{}", server.start);
    assert!(get(server.address, "/metrics").text().contains("inferd_model_loaded{model=\"tiny\"} 0"));
    assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
    assert!(get(server.address, "/metrics").text().contains("inferd_model_loaded{model=\"tiny\"} 1"));
}

#[test]
fn the_deadline_stops_work_in_the_real_engine() {
    let server = Running::start(&["--model", &tiny(), "--batch-tokens", "8192"]);
    let text = "the quick brown fox jumps ".repeat(40);
    let body = format!("{{\"input\":{:?}}}", vec![text; 900]);
    assert_eq!(embed_within(server.address, 1, &body).status, 504);
    let started = Instant::now();
    while !get(server.address, "/metrics").text().contains("inferd_requests_held 0") {
        assert!(started.elapsed() < Duration::from_secs(5), "the permit is still held");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn healthcheck_tells_ready_from_not_ready_from_not_there() {
    let server = Running::start(&["--model", &tiny()]);
    let address = server.address.to_string();
    assert_eq!(run(inferd().args(["healthcheck", "--address", &address])).code, Some(0));
    assert_eq!(
        run(inferd().args(["healthcheck", "--address", &address, "--path", "/healthz"])).code,
        Some(0)
    );
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    let ran = run(inferd().args(["healthcheck", "--address", &address]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_json_log_is_json_in_every_line() {
    let mut command = inferd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    for line in log.lines().take(5) {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(line["time"].is_string() && line["event"].is_string());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
