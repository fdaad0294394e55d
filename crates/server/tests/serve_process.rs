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
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
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
    let bytes = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (estimate, measured) =
        (bytes("inferd_memory_estimate_bytes{kind=\"anonymous\"}"), bytes("inferd_memory_loaded_bytes"));
    // Ten in a hundred for a model of some size; this one is so small that fixed parts decide.
    let allowed = (0.1 * measured).max(2.0 * 1024.0 * 1024.0);
    assert!((estimate - measured).abs() < allowed, "estimate {estimate}, measured {measured}");
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

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Running::start(&["--model", &tiny(), "--batch-tokens", "8192"]);
    let address = server.address;
    let text = "the quick brown fox jumps ".repeat(100);
    let body = format!("{{\"input\":{:?}}}", vec![text; 900]);
    let asking = std::thread::spawn(move || {
        let mut stream = http_client::connect(address);
        http_client::send(&mut stream, "POST", "/v1/embeddings", http_client::JSON, body.as_bytes());
        http_client::receive(&mut stream).map(|answer| answer.status)
    });
    let started = Instant::now();
    while !get(address, "/metrics").text().contains("inferd_requests_held 1") {
        assert!(started.elapsed() < Duration::from_secs(20), "the request is not inside");
    }
    server.signal("-TERM");
    server.wait_for(" draining ");
    let second = Instant::now();
    server.signal("-TERM");
    let line = server.wait_for(" stopped ");
    assert!(line.contains("a second signal (SIGTERM)"), "{line}");
    assert_eq!(server.exit_code(), Some(2));
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    // Cut off, not answered.
    assert_eq!(asking.join().unwrap(), None);
}

#[test]
fn options_come_from_flag_then_environment_then_file_then_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inferd.toml");
    let text =
        "queue = 1\nqueue_bytes = \"2 MiB\"\nbody_max = \"3 MiB\"\nlazy_weights = true\nmodel = [\"a=/m\"]\n";
    std::fs::write(&file, text).unwrap();
    let ran = run(inferd()
        .args(["serve", "--print-config", "--queue", "9", "--config"])
        .arg(&file)
        .env("INFERD_QUEUE", "8")
        .env("INFERD_QUEUE_BYTES", "7 MiB"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = |name: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let path = file.display();
    assert_eq!(line("queue"), "queue = 9 # --queue");
    assert_eq!(line("queue_bytes"), "queue_bytes = \"7 MiB\" # INFERD_QUEUE_BYTES");
    assert_eq!(line("body_max"), format!("body_max = \"3 MiB\" # {path}"));
    assert_eq!(line("lazy_weights"), format!("lazy_weights = true # {path}"));
    assert_eq!(line("model"), format!("model = [\"a=/m\"] # {path}"));
    assert_eq!(line("drain_timeout"), "drain_timeout = \"30 s\" # default");
    // What is printed says the same when it is read.
    let second = folder.path().join("printed.toml");
    std::fs::write(&second, &ran.stdout).unwrap();
    let again =
        run(inferd().args(["serve", "--print-config", "--lazy-weights=false", "--config"]).arg(&second));
    assert!(
        again.stdout.contains("queue = 9") && again.stdout.contains("lazy_weights = false"),
        "{}",
        again.stdout
    );
}

#[test]
fn a_wrong_file_is_refused_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inferd.toml");
    for (text, words) in [
        (
            "queu = 1\nbatch-tokens = 2\n",
            "`batch-tokens`; did you mean `batch_tokens`?; there is no option `queu`; did you mean `queue`?",
        ),
        ("[server]\nqueue = 1\n", "there is no option `server`"),
        ("queue = 1.5\n", "`queue` must be text, a number"),
        ("queue = 0\n", "expected a whole number above 0"),
        ("queue = \n", "inferd.toml: TOML parse error at line 1"),
        ("config = \"x\"\n", "there is no option `config`"),
        ("queue = 1\nqueue = 2\n", "duplicate key"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = run(inferd().args(["serve", "--model", &tiny(), "--config"]).arg(&file));
        assert_eq!(ran.code, Some(2), "{text}");
        assert!(ran.stderr.contains(words) && ran.stderr.contains("hint: "), "{text}: {}", ran.stderr);
    }
    let ran = run(inferd().args(["serve", "--config", "/does/not/exist.toml"]));
    assert!(ran.code == Some(2) && ran.stderr.contains("cannot read the configuration"), "{}", ran.stderr);
    let ran = run(inferd().args(["serve"]));
    assert!(ran.code == Some(2) && ran.stderr.contains("no model is named"), "{}", ran.stderr);
}

#[test]
fn the_start_says_what_was_decided_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let (file, keys, socket) =
        (folder.path().join("inferd.toml"), folder.path().join("keys"), folder.path().join("s.sock"));
    std::fs::write(&keys, "team 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let text = format!(
        "api_keys = {:?}\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]\nqueue = 7\n",
        keys.display().to_string(),
        socket.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = inferd();
    command
        .args(["serve", "--threads", "2", "--model", &tiny(), "--config"])
        .arg(&file)
        .env("INFERD_QEUE", "5");
    let server = Running::of(command);
    for words in [
        "config why=\"there is no variable `INFERD_QEUE`; did you mean `INFERD_QUEUE`?\"",
        "threads=2 threads_from=--threads stack=\"8 MiB\"",
        "blas_from=\"the CPU\" allocator=",
        "memory check=\"needs ",
        "limits queue=7 ",
        "access who=\"holders of a key\" keys=1 metrics=open",
        "keys_readable why=\"every user of this machine may read",
        "model name=tiny ",
        "listening url=unix:",
    ] {
        assert!(server.start.contains(words), "`{words}` is missing in:\n{}", server.start);
    }
    let at = format!("unix:{}", socket.display());
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(0));
    // A second server on the same socket is told so, and takes nothing away.
    let second = run(inferd().args(["serve", "--model", &tiny(), "--listen", &at, "--threads", "2"]));
    assert!(
        second.code == Some(2) && second.stderr.contains("a server listens there already"),
        "{}",
        second.stderr
    );
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(0));
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(!socket.exists());
    assert_eq!(run(inferd().args(["healthcheck", "--address", &at])).code, Some(2));
}
