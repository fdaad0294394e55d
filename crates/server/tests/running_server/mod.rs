//! `inferd serve` as a process that listens.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run_inferd::inferd;

pub struct Running {
    pub child: Child,
    log: BufReader<ChildStderr>,
    pub address: SocketAddr,
    /// The log up to the line of the first TCP listener.
    pub start: String,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        let mut command = inferd();
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--threads", "2"]).args(args);
        Self::of(command)
    }

    pub fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut start = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended before it listened:\n{start}");
            start += &line;
            if let Some((_, address)) = line.trim().split_once("listening url=http://") {
                break address.parse().unwrap();
            }
        };
        Self { child, log, address, start }
    }

    /// The log up to the line of the listener without times, and with a placeholder for each value that differs between
    /// machines or runs.
    pub fn start_log(&self, replacements: &[(&str, &str)]) -> String {
        const VOLATILE: &[&str] = &[
            "version",
            "commit",
            "pid",
            "blas",
            "kernels",
            "compute",
            "allocator",
            "dir",
            "load_ms",
            "memory check",
            "anonymous_mib",
            "weights_mib",
            "max_mib",
            "max_source",
            "stack_bytes",
        ];
        let address = self.address.to_string();
        let replacements = [replacements, &[(&*address, "ADDRESS")]].concat();
        let mut text = String::new();
        for line in self.start.lines() {
            let line = line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_start());
            let mut line =
                replacements.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
            for key in VOLATILE {
                line = without_value(&line, key);
            }
            text += &line;
            text.push('\n');
        }
        text
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Reads the log up to a line with this text.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        let started = Instant::now();
        while !line.contains(text) {
            assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: `{text}`");
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended before `{text}`");
        }
        line
    }

    pub fn exit_code(mut self) -> Option<i32> {
        let started = Instant::now();
        // Reads the rest of the log, which could fill its pipe.
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

/// `key=…` in place of `key=VALUE` and `key="VALUE"`.
fn without_value(line: &str, key: &str) -> String {
    let pattern = format!(" {key}=");
    let Some((before, after)) = line.split_once(&pattern) else { return line.to_owned() };
    let end = match after.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map_or(after.len(), |end| end + 2),
        None => after.find(' ').unwrap_or(after.len()),
    };
    format!("{before}{pattern}…{}", &after[end..])
}
