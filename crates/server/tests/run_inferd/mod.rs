//! Runs the executable as a process.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn inferd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_inferd"))
}

/// A finished process.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run(command: &mut Command) -> Finished {
    command.stdin(Stdio::null()).output().unwrap().into()
}

pub fn run_with_stdin(command: &mut Command, stdin: &[u8]) -> Finished {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A separate thread: with both pipes full, each side would wait for the other. A child that ends early is not an error.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let ran = child.wait_with_output().unwrap().into();
    feeder.join().unwrap();
    ran
}

impl Finished {
    /// stderr with each of the paths replaced by its placeholder, for snapshots.
    pub fn stderr_with(&self, replacements: &[(&str, &str)]) -> String {
        replacements
            .iter()
            .fold(self.stderr.clone(), |text, (path, placeholder)| text.replace(path, placeholder))
    }
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

pub fn tiny_bert() -> PathBuf {
    fixtures().join("models/tiny-bert")
}
