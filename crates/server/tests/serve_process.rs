//! `inferd serve` and `inferd healthcheck` as processes: order of the start, options, signals, log, the real model.

mod http_client;
mod run_inferd;
mod running_server;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_client::{embed, embed_within, get};
use run_inferd::{inferd, run, tiny_bert};
use running_server::Running;
use serde_json::Value;

fn tiny() -> String {
    format!("tiny={}", tiny_bert().display())
}

#[test]
fn serves_the_vectors_of_the_embed_command_and_drains_at_sigterm() {
    let server = Running::start(&["--model", &tiny()]);
    insta::assert_snapshot!(server.start_log(&[]), @r#"
    INFO model_loaded name=tiny load_ms=…
    INFO start version=… commit=… pid=… config=none
    INFO compute threads=2 threads_source=--threads stack_bytes=… kernels=… kernels_source="CPU detection" blas=… allocator=… batch_tokens=512 batch_delay_ms=0
    INFO memory check=… anonymous_mib=… weights_mib=… max_mib=… max_source=…
    INFO limits max_inflight=256 max_inflight_bytes=67108864 max_body_bytes=8388608 max_inputs=2048 max_request_tokens=262144 max_connections=1024 queue_timeout=disabled request_timeout="60000 ms" token_ids=refused
    INFO access authentication=none reason="no `--api-keys`"
    INFO model name=tiny compute=… dir=… loaded=true
    INFO listening url=http://ADDRESS
    "#);
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
        "inferd_model_load_duration_seconds{model=\"tiny\"}",
    ] {
        assert!(page.contains(name), "`{name}` is missing in:\n{page}");
    }
    let bytes = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (estimate, measured) =
        (bytes("inferd_memory_estimate_bytes{kind=\"anonymous\"}"), bytes("inferd_memory_loaded_bytes"));
    // 10 %; the fixed parts dominate in a model of this size.
    let allowed = (0.1 * measured).max(2.0 * 1024.0 * 1024.0);
    assert!((estimate - measured).abs() < allowed, "estimate {estimate}, measured {measured}");
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_reload_loses_no_request_and_a_failed_reload_keeps_the_old_model() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m");
    assert!(Command::new("cp").arg("-r").arg(tiny_bert()).arg(&copy).status().unwrap().success());
    let mut server = Running::start(&["--model", copy.to_str().unwrap()]);
    let address = server.address;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Ends the clients also after a failed assertion.
        let stop_clients = StopOnDrop(&stop);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
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
        drop(stop_clients);
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(embed(address, "{\"input\":\"fox\"}").status, 200);
    assert!(get(address, "/metrics").text().contains("inferd_reloads_total{outcome=\"ok\"} 3"));
}

#[test]
fn insufficient_memory_ends_the_start_before_the_listener_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let started = Instant::now();
    // The port is taken: a server that binds first would report that instead.
    let args = ["serve", "--model", &tiny(), "--listen", &listen, "--max-inflight-bytes", "900000 GiB"];
    let ran = run(inferd().args(args));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("error[insufficient-memory]: not enough memory for the models\n  expected: "),
        "{}",
        ran.stderr
    );
    assert!(started.elapsed() < Duration::from_secs(5));

    let ran = run(inferd().args(args).arg("--no-memory-check"));
    assert_eq!(ran.code, Some(2));
    let stderr = ran.stderr_with(&[(&listen, "ADDRESS")]);
    assert!(stderr.contains("error[listen-failed]: cannot listen on ADDRESS\n  because:  "), "{stderr}");
}

#[test]
fn a_refusal_for_memory_names_values_that_are_enough() {
    let args =
        ["serve", "--model", &tiny(), "--listen", "127.0.0.1:0", "--memory-max", "80 MiB", "--threads", "2"];
    let ran = run(inferd().args(args).args(["--memory-headroom", "32 MiB"]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("MiB free of 80 MiB (--memory-max)\n"), "{}", ran.stderr);
    let remedy = |start: &str| {
        let line = ran.stderr.lines().find_map(|line| line.trim().strip_prefix(start));
        line.and_then(|rest| rest.split('"').next())
            .unwrap_or_else(|| panic!("{start}: {}", ran.stderr))
            .to_owned()
    };
    // Each value is enough: the server gets to the next problem, a listener that does not exist.
    let max = remedy("`--memory-max \"");
    let request_bytes = remedy("`--max-inflight-bytes \"");
    let headroom = remedy("`--memory-headroom \"");
    for (option, value) in
        [("--memory-max", &max), ("--max-inflight-bytes", &request_bytes), ("--memory-headroom", &headroom)]
    {
        let mut options = vec![("--memory-max", "80 MiB"), ("--memory-headroom", "32 MiB")];
        options.retain(|(name, _)| *name != option);
        options.push((option, value));
        let mut command = inferd();
        command.args([
            "serve",
            "--model",
            &tiny(),
            "--threads",
            "2",
            "--listen",
            "unix:/does/not/exist/socket",
        ]);
        let ran = run(command.args(options.into_iter().flat_map(|(name, value)| [name, value])));
        assert!(ran.stderr.contains("error[listen-failed]"), "{option} {value}: {}", ran.stderr);
    }
}

#[test]
fn above_the_memory_bound_requests_get_503_and_the_server_lives() {
    let server = Running::start(&["--model", &tiny(), "--no-memory-check", "--memory-max", "1 MiB"]);
    assert!(server.start.contains("max_mib=1 max_source=--memory-max"), "{}", server.start);
    for _ in 0..3 {
        let response = embed(server.address, "{\"input\":\"fox\"}");
        assert_eq!((response.status, response.error_code().as_str()), (503, "memory_max_reached"));
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    let metrics = get(server.address, "/metrics").text();
    for line in [
        "inferd_memory_max_bytes 1048576",
        "inferd_memory_max_rejections_total 3",
        "inferd_memory_max_info{source=\"--memory-max\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
    for name in [
        "inferd_allocator_reserved_bytes",
        "inferd_allocator_committed_bytes",
        "inferd_allocator_pages",
        "inferd_allocator_purged_bytes_total",
        "process_memory_mappings",
    ] {
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{name} in:\n{metrics}");
    }
}

/// A share of a limit is a share of the total and not of what is available now.
#[test]
fn the_start_and_the_metrics_name_the_limit_that_the_bound_is_a_share_of() {
    let server = Running::start(&["--model", &tiny()]);
    let (_, rest) = server.start.split_once(" max_source=\"").unwrap();
    let (source, _) = rest.split_once('"').unwrap();
    let is_of_limit = source.ends_with("(MemTotal in /proc/meminfo)")
        || ["/memory.max)", "/memory.high)", "/memory.limit_in_bytes)", "/memory.stat)"]
            .iter()
            .any(|file| source.ends_with(file));
    assert!(source.contains(" % of ") && is_of_limit, "{source}");
    let line = format!("inferd_memory_max_info{{source=\"{source}\"}} 1");
    let metrics = get(server.address, "/metrics").text();
    assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
}

#[test]
fn a_lazy_load_without_enough_memory_is_a_503_and_not_the_end_of_the_server() {
    let mut server =
        Running::start(&["--model", &tiny(), "--lazy-weights", "--memory-headroom", "900000 GiB"]);
    for _ in 0..2 {
        let response = embed(server.address, "{\"input\":\"fox\"}");
        assert_eq!((response.status, response.error_code().as_str()), (503, "insufficient_memory"));
        assert!(response.header("retry-after").is_some());
    }
    let line = server.wait_for("model_does_not_fit");
    assert!(line.contains("model=tiny") && line.contains("921600000 MiB headroom"), "{line}");
    assert_eq!(get(server.address, "/healthz").status, 200);
}

#[test]
fn an_error_of_a_server_with_a_json_log_is_one_line_of_json() {
    let args = ["serve", "--model", "/does/not/exist", "--log-format", "json"];
    let ran = run(inferd().args(args));
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(document["diagnostics"][0]["code"], "model-file-missing");
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_start_unless_weights_are_lazy() {
    let ran = run(inferd().args([
        "serve",
        "--model",
        "/does/not/exist",
        "--listen",
        "127.0.0.1:0",
        "--no-memory-check",
    ]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("/does/not/exist"), "{}", ran.stderr);

    let server = Running::start(&["--model", &tiny(), "--lazy-weights"]);
    assert!(
        server.start.contains("check=\"at the first request of each model: `--lazy-weights`\""),
        "{}",
        server.start
    );
    assert!(get(server.address, "/metrics").text().contains("inferd_model_loaded{model=\"tiny\"} 0"));
    assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
    assert!(get(server.address, "/metrics").text().contains("inferd_model_loaded{model=\"tiny\"} 1"));
}

#[test]
fn the_deadline_cancels_work_in_the_real_engine() {
    let mut server = Running::start(&["--model", &tiny(), "--batch-tokens", "8192"]);
    let text = "the quick brown fox jumps ".repeat(40);
    let body = format!("{{\"input\":{:?}}}", vec![text; 900]);
    let response = embed_within(server.address, 20, &body);
    assert_eq!((response.status, response.json()["error"]["type"].as_str()), (504, Some("timeout_error")));
    let line = server.wait_for(" request ");
    let of_log = |name: &str| {
        line.split_once(name).map(|(_, rest)| rest.split_once(' ').map_or(rest, |(word, _)| word))
    };
    assert!(line.contains(" WARN ") && line.contains("status=504"), "{line}");
    assert!(of_log(" ms=").unwrap().parse::<f64>().unwrap() >= 20.0, "{line}");
    assert!(["queue", "compute"].contains(&of_log(" phase=").unwrap().trim()), "{line}");
    let started = Instant::now();
    while !get(server.address, "/metrics").text().contains("inferd_inflight_requests 0") {
        assert!(started.elapsed() < Duration::from_secs(5), "the permit is still held");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn healthcheck_exits_with_0_when_ready_and_2_without_a_server() {
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
fn every_line_of_a_json_log_is_an_object() {
    let mut command = inferd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    for line in log.lines().take(5) {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(line["timestamp"].is_string() && line["message"].is_string());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Running::start(&["--model", &tiny(), "--batch-tokens", "8192"]);
    let address = server.address;
    let text = "the quick brown fox jumps ".repeat(100);
    let body = format!("{{\"input\":{:?}}}", vec![text; 900]);
    let client = std::thread::spawn(move || {
        let mut stream = http_client::connect(address);
        http_client::send(&mut stream, "POST", "/v1/embeddings", http_client::JSON, body.as_bytes());
        http_client::receive(&mut stream).map(|response| response.status)
    });
    let started = Instant::now();
    while !get(address, "/metrics").text().contains("inferd_inflight_requests 1") {
        assert!(started.elapsed() < Duration::from_secs(20), "the request is not in flight");
    }
    server.signal("-TERM");
    server.wait_for(" draining ");
    let second = Instant::now();
    server.signal("-TERM");
    let line = server.wait_for(" stopped ");
    assert!(line.contains("outcome=\"a second signal\" signal=SIGTERM"), "{line}");
    assert_eq!(server.exit_code(), Some(2));
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    // The request was aborted without a response.
    assert_eq!(client.join().unwrap(), None);
}

#[test]
fn the_start_logs_each_decision_and_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let (file, keys, socket) =
        (folder.path().join("inferd.toml"), folder.path().join("keys"), folder.path().join("s.sock"));
    std::fs::write(&keys, "team 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let text = format!(
        "api_keys = {:?}\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]\nmax_inflight = 7\n",
        keys.display().to_string(),
        socket.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = inferd();
    command
        .args(["serve", "--threads", "2", "--model", &tiny(), "--config"])
        .arg(&file)
        .env("INFERD_MAX_INFLITE", "5");
    let server = Running::of(command);
    let folder_text = folder.path().display().to_string();
    insta::assert_snapshot!(server.start_log(&[(&folder_text, "FOLDER")]), @r#"
    INFO model_loaded name=tiny load_ms=…
    INFO start version=… commit=… pid=… config=FOLDER/inferd.toml
    WARN config reason="there is no variable `INFERD_MAX_INFLITE`; did you mean `INFERD_MAX_INFLIGHT`?"
    INFO compute threads=2 threads_source=--threads stack_bytes=… kernels=… kernels_source="CPU detection" blas=… allocator=… batch_tokens=512 batch_delay_ms=0
    INFO memory check=… anonymous_mib=… weights_mib=… max_mib=… max_source=…
    INFO limits max_inflight=7 max_inflight_bytes=67108864 max_body_bytes=8388608 max_inputs=2048 max_request_tokens=262144 max_connections=1024 queue_timeout=disabled request_timeout="60000 ms" token_ids=refused
    INFO access authentication=api-key keys=1 metrics=open
    WARN api_keys_readable reason="every user of this machine can read FOLDER/keys (mode 644); run `chmod o= FOLDER/keys`"
    INFO model name=tiny compute=… dir=… loaded=true
    INFO listening url=unix:FOLDER/s.sock
    INFO listening url=http://ADDRESS
    "#);
    let at = format!("unix:{}", socket.display());
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(0));
    // A second server on the same socket fails and does not remove it.
    let second = run(inferd().args(["serve", "--model", &tiny(), "--listen", &at, "--threads", "2"]));
    assert!(
        second.code == Some(2) && second.stderr.contains("because:  another server listens on the socket"),
        "{}",
        second.stderr
    );
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(0));
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(!socket.exists());
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(2));
}
