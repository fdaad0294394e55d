//! The server that is loaded: the shipped file as a process of this machine, or its image in the container engine.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use diag::Diagnostic;

use super::client::Client;

const START_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Of the log, for error messages.
const LOG_LINES_MAX: usize = 40;

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    container: Option<String>,
}

/// Numbers of one moment, from `/metrics`.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub resident: f64,
    pub threads: f64,
    pub held: f64,
}

impl Server {
    pub fn start(binary: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, None)
    }

    /// With at most so many open files.
    pub fn start_with_files(binary: &Path, files: u32, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        command.env_clear().arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(binary);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, None)
    }

    /// `command` runs a container in the foreground, in the network of this machine; its client passes on the log.
    pub fn start_container(mut command: Command, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        // A port of the system's choice cannot be read from inside before the server has it, but a free one can be found.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())?.port();
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]).args(arguments);
        Self::spawn(command, Some(name.to_string()))
    }

    fn spawn(mut command: Command, container: Option<String>) -> anyhow::Result<Self> {
        let quoted = process::quote(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {quoted}"))?;
        let lines = child.stderr.take().context("the log of the server is not a pipe")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening url=http://") {
                    let _ = sender.send(address.trim().to_string());
                }
                let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if kept.len() < LOG_LINES_MAX {
                    kept.push(line);
                }
            }
        });
        let address = receiver.recv_timeout(START_MAX).ok().and_then(|address| address.parse().ok());
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, container };
        match address {
            Some(address) => server.address = address,
            None => {
                return Err(Diagnostic::new(&release::GENERAL, "the server does not listen")
                    .expected("a line `listening url=…` in its log")
                    .found(server.log())
                    .hint(format!("to run it by hand:\n{quoted}"))
                    .into());
            }
        }
        Ok(server)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n")
    }

    pub fn sample(&self) -> anyhow::Result<Sample> {
        sample(self.address)
    }

    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let mut command = match &self.container {
            Some(name_of_container) => {
                let mut command = Command::new("docker");
                command.args(["kill", "--signal", name, name_of_container]);
                command
            }
            None => {
                let mut command = Command::new("kill");
                command.args([&format!("-{name}"), &self.child.id().to_string()]);
                command
            }
        };
        let status = command.stdout(Stdio::null()).status().with_context(|| format!("sending {name}"))?;
        anyhow::ensure!(status.success(), "could not send {name} to the server");
        Ok(())
    }

    /// `None` while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(exit_code))
    }

    /// Exit code and time, or `None` when it does not end.
    pub fn wait(&mut self, time_max: Duration) -> anyhow::Result<Option<(i32, Duration)>> {
        let started = Instant::now();
        while started.elapsed() < time_max {
            if let Some(code) = self.ended()? {
                return Ok(Some((code, started.elapsed())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

/// As a shell would say it.
fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(name) = &self.container {
            let mut remove = Command::new("docker");
            let _ = remove.args(["rm", "--force", name]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn sample(address: SocketAddr) -> anyhow::Result<Sample> {
    let answer = Client::new(address, ANSWER_MAX).get("/metrics");
    let answer = answer.map_err(|missed| anyhow::anyhow!("/metrics does not answer: {missed:?}"))?;
    let page = String::from_utf8_lossy(&answer.body).into_owned();
    let number = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<f64>().ok())
            .with_context(|| format!("/metrics does not show `{name}`"))
    };
    Ok(Sample {
        resident: number("inferd_memory_resident_bytes")?,
        threads: number("inferd_threads")?,
        held: number("inferd_requests_held")?,
    })
}
