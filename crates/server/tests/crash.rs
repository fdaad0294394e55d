//! Crashes of the program: the report, and the end of the process.
//!
//! `selftest` covers each kind of crash, here and in the packed file. These tests have what needs another program.

mod http_client;
mod run_inferd;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_client::{embed, get};
use run_inferd::{inferd, run, tiny_bert};

const TIME_MAX: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_inferd");

fn crash(case: &str) -> String {
    run(inferd().args(["selftest", "--child", case])).stderr
}

/// The addresses of the backtrace, as documented in docs/server.md.
fn addresses(report: &str) -> Vec<&str> {
    let lines = report.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.starts_with("0x")).filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn the_documented_command_resolves_the_backtrace() {
    for (case, function) in [
        ("crash-segv", "::segv"),
        ("crash-fpe", "::divide_by_zero"),
        ("crash-trap", "::trap"),
        ("crash-jump", "::jump_to_no_code"),
        ("crash-overflow", "::recurse"),
        ("crash-overflow-blas", "blas_thread_server"),
        ("crash-allocation", "::exhaust"),
    ] {
        let report = crash(case);
        let frames = run(Command::new("addr2line").args(["-Cfipe", PROGRAM]).args(addresses(&report)));
        assert!(frames.stdout.contains(function), "{case}:\n{report}\n{}", frames.stdout);
        assert!(frames.stdout.contains("crash_child.rs:"), "{case}:\n{}", frames.stdout);
    }
}

#[test]
fn the_report_has_the_build_id_of_the_file() {
    let notes = run(Command::new("readelf").args(["-n", PROGRAM])).stdout;
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    let report = crash("crash-abort");
    assert!(report.contains(&format!("build-id {id}\n")), "{report}");
}

struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: std::net::SocketAddr,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::start_with("UNUSED", "", args)
    }

    fn start_with(variable: &str, value: &str, args: &[&str]) -> Self {
        let mut command = inferd();
        command.env(variable, value);
        command.args(["serve", "--listen", "127.0.0.1:0", "--threads", "2", "--model"]);
        let mut child = command.arg(tiny_bert()).args(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended before it listened");
            if let Some((_, address)) = line.trim().split_once("listening url=http://") {
                break address.parse().unwrap();
            }
        };
        Self { child, log, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGBUS passes the handler that guards the mapped weights.
#[test]
fn a_server_that_gets_a_fatal_signal_reports_its_sender_and_ends_by_it() {
    for (name, number) in [("SEGV", 11), ("BUS", 7), ("ILL", 4), ("FPE", 8), ("ABRT", 6)] {
        let mut server = Server::start(&[]);
        assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
        let id = server.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        let mut log = String::new();
        server.log.read_to_string(&mut log).unwrap();
        assert_eq!(server.child.wait().unwrap().signal(), Some(number), "{log}");
        for text in [
            &format!("error[crash]: SIG{name}: signal, in thread `"),
            "  sent by:   process ",
            "  backtrace:\n    0x",
        ] {
            assert!(log.contains(text), "{name}: `{text}` is missing in:\n{log}");
        }
    }
}

#[test]
fn an_unread_stderr_does_not_keep_a_crashed_process() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: fcntl on an open descriptor; the flags are those of a new pipe, and O_NONBLOCK.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_WRONLY | libc::O_NONBLOCK) };
    while writer.write(&[b'x'; 4096]).is_ok() {}
    // SAFETY: the same, without O_NONBLOCK.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_WRONLY) };
    for case in ["crash-segv", "crash-allocation"] {
        let stderr = writer.try_clone().unwrap();
        let mut child = inferd().args(["selftest", "--child", case]).stderr(stderr).spawn().unwrap();
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > TIME_MAX {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let expected = if case == "crash-segv" { libc::SIGSEGV } else { libc::SIGABRT };
        assert_eq!(status.signal(), Some(expected), "{case}");
    }
}

fn limit_address_space(id: u32, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` outlives the call; the previous limit is not requested.
    let status =
        unsafe { libc::prlimit(id as libc::pid_t, libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(status, 0);
}

/// The limit is below the present size: the kernel grants nothing more. The body is larger than what the allocator holds,
/// which the variable keeps small.
#[test]
fn a_server_without_memory_answers_503_and_recovers() {
    let limits = ["--max-body-bytes", "1 GiB", "--max-inflight-bytes", "2 GiB", "--body-timeout", "60 s"];
    let mut server = Server::start_with("MIMALLOC_ARENA_RESERVE", "16MiB", &limits);
    let small = "{\"input\":\"fox\"}";
    assert_eq!(embed(server.address, small).status, 200);
    let id = server.child.id();
    limit_address_space(id, 1 << 20);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let length = 256 << 20;
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    write!(stream, "{head}content-length: {length}\r\n\r\n").unwrap();
    let block = vec![b' '; 1 << 20];
    for _ in 0..length / block.len() {
        if stream.write_all(&block).is_err() {
            break;
        }
    }
    let mut line = String::new();
    // The server may close the connection before the client has read the response.
    let _ = BufReader::new(stream).read_line(&mut line);
    assert!(line.is_empty() || line.contains(" 503 "), "{line}");
    assert_eq!(get(server.address, "/healthz").status, 200);
    limit_address_space(id, libc::RLIM_INFINITY);
    assert_eq!(embed(server.address, small).status, 200);
    let mut log = String::new();
    server.child.kill().unwrap();
    server.log.read_to_string(&mut log).unwrap();
    assert!(log.contains("status=503"), "{log}");
}
