//! Runs the built binary as a user would.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn inferd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_inferd"))
}

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).output().unwrap().into()
}

pub fn run_with_stdin(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A thread of its own: with both pipes full, each side would wait for the other. A child that ended early is no error here.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let ran = child.wait_with_output().unwrap().into();
    feeder.join().unwrap();
    ran
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

pub fn tiny_bert() -> PathBuf {
    fixtures().join("models/tiny-bert")
}
