//! The server under test: a process of this machine, or a container with its image.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use diag::Diagnostic;

use crate::metrics::Sample;
use crate::{SERVER_NOT_STARTED, peak};

const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Kept lines of the log; error messages quote them.
const LOG_LINES_MAX: usize = 40;
/// Kept warnings, which would not be among the first lines.
const WARNINGS_MAX: usize = 200;
/// The server's own report of a panic, and that of the standard library.
const PANIC_MARKS: [&str; 2] = ["error[internal-error]", "panicked at"];

/// The level of a warning in a log that is text.
const WARNING_MARK: &str = " WARN ";

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    panics: Arc<Mutex<Vec<String>>>,
    warnings: Arc<Mutex<Vec<String>>>,
    /// Kept open and not read.
    _unread: Arc<Mutex<Option<BufReader<ChildStderr>>>>,
    container: Option<String>,
}

impl Server {
    /// Starts `inferd serve` on a free port of loopback, with an empty environment.
    pub fn start(binary: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, None)
    }

    /// The same with a limit of open file descriptors.
    pub fn start_with_descriptors(binary: &Path, limit: u32, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        command.env_clear().arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\"")).arg(binary);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, None)
    }

    /// The same; its log is not read after the line with its address.
    pub fn start_with_unread_log(binary: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn_with(command, None, false)
    }

    /// `command` runs a container in the foreground, in the network of the host; its client forwards the log.
    pub fn start_container(mut command: Command, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        // The engine's client reports no port, so a free one is chosen here.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())?.port();
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]).args(arguments);
        Self::spawn(command, Some(name.to_string()))
    }

    fn spawn(command: Command, container: Option<String>) -> anyhow::Result<Self> {
        Self::spawn_with(command, container, true)
    }

    fn spawn_with(mut command: Command, container: Option<String>, reads_log: bool) -> anyhow::Result<Self> {
        let quoted = process::quote(&command);
        let not_started = |found: String| {
            Diagnostic::new(&SERVER_NOT_STARTED, "the server did not start")
                .expected("a line `listening url=…` in its log")
                .found(found)
                .hint(format!("to run it by hand:\n{quoted}"))
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| not_started(error.to_string()))?;
        // The process of a container is not a child of this one; its memory is known from its metrics.
        if container.is_none() {
            peak::follow(child.id());
        }
        let lines = child.stderr.take().context("the log of the server is not a pipe")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        let panics = Arc::new(Mutex::new(Vec::new()));
        let kept_panics = Arc::clone(&panics);
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let kept_warnings = Arc::clone(&warnings);
        let unread = Arc::new(Mutex::new(None));
        let kept_unread = Arc::clone(&unread);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(lines);
            while let Some(Ok(line)) = lines.by_ref().lines().next() {
                if let Some(address) = listening_address(&line) {
                    let _ = sender.send(address);
                    if !reads_log {
                        *kept_unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines);
                        return;
                    }
                }
                if PANIC_MARKS.iter().any(|mark| line.contains(mark)) {
                    let mut panics = kept_panics.lock().unwrap_or_else(PoisonError::into_inner);
                    if panics.len() < LOG_LINES_MAX {
                        panics.push(line.clone());
                    }
                }
                if line.contains(WARNING_MARK) {
                    let mut warnings = kept_warnings.lock().unwrap_or_else(PoisonError::into_inner);
                    if warnings.len() < WARNINGS_MAX {
                        warnings.push(line.clone());
                    }
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < LOG_LINES_MAX {
                    kept.push(line);
                }
            }
        });
        // Made before the address is known, so that a server that does not listen is killed.
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            panics,
            warnings,
            _unread: unread,
            container,
        };
        match receiver.recv_timeout(START_TIMEOUT).ok().and_then(|address| address.parse().ok()) {
            Some(address) => server.address = address,
            None => return Err(not_started(server.log()).into()),
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All addresses, in the order of its arguments `--listen`.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.log();
        let urls = log.lines().filter_map(|line| line.split_once("listening url=http://"));
        urls.filter_map(|(_, address)| address.trim().parse().ok()).collect()
    }

    /// The ID of its process; for a container that of its first process, as this machine sees it.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let Some(container) = &self.container else { return Ok(self.child.id()) };
        let mut inspect = Command::new("docker");
        let output = inspect.args(["inspect", "--format", "{{.State.Pid}}", container]).output();
        let output = output.context("inspecting the container")?;
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse();
        pid.with_context(|| format!("`{}` printed no process ID", process::quote(&inspect)))
    }

    /// The first lines of its log.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Lines of its log that report a panic.
    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first warnings of its log, as text.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its metrics at this moment.
    pub fn sample(&self) -> anyhow::Result<Sample> {
        Sample::read(self.address)
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let mut command = match &self.container {
            Some(container) => {
                let mut command = Command::new("docker");
                command.args(["kill", "--signal", signal, container]);
                command
            }
            None => {
                let mut command = Command::new("kill");
                command.args([&format!("-{signal}"), &self.child.id().to_string()]);
                command
            }
        };
        let status = command.stdout(Stdio::null()).status().with_context(|| format!("sending {signal}"))?;
        anyhow::ensure!(status.success(), "`{}` failed", process::quote(&command));
        Ok(())
    }

    /// The exit code, or `None` while it runs.
    pub fn exit_code(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(shell_code))
    }

    /// Exit code and elapsed time, or `None` when it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<(i32, Duration)>> {
        let started = Instant::now();
        while started.elapsed() < timeout {
            if let Some(code) = self.exit_code()? {
                return Ok(Some((code, started.elapsed())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

/// The address in the line that reports it, as text or as JSON.
fn listening_address(line: &str) -> Option<String> {
    let url = line.split_once("listening url=http://").or_else(|| {
        line.contains("\"message\":\"listening\"").then(|| line.split_once("\"url\":\"http://")).flatten()
    });
    url.map(|(_, address)| address.trim().split('"').next().unwrap_or_default().to_string())
}

/// 128 + signal when a signal ended the process, as shells report it.
fn shell_code(status: ExitStatus) -> i32 {
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
