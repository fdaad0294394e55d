//! The command line of a container with the limits that the image must work under.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A container to run.
pub struct Container {
    /// What runs in it; a part of its name.
    pub task: &'static str,
    pub name: String,
    pub timeout: Duration,
    mount: Vec<String>,
    image: String,
    arguments: Vec<&'static str>,
}

/// What a container returned.
pub struct Exit {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
    /// The command that ran it, for a shell.
    pub command: String,
}

impl Container {
    /// `image` is an ID. The name finds the container when its client is gone.
    pub fn new(task: &'static str, image: &str, timeout: Duration, arguments: &[&'static str]) -> Self {
        Self {
            task,
            name: format!("muslin-{task}-{}", std::process::id()),
            timeout,
            mount: Vec::new(),
            image: image.into(),
            arguments: arguments.to_vec(),
        }
    }

    /// Mounts `folder` read-only as `/model`.
    pub fn mount(mut self, folder: &Path) -> Self {
        // The option's value is one line of CSV; a quote in a path is doubled.
        let source = format!("source={}", folder.display()).replace('"', "\"\"");
        self.mount = vec!["--mount".into(), format!("type=bind,\"{source}\",target=/model,readonly")];
        self
    }

    /// `docker run`, in the foreground.
    pub fn command(&self) -> Command {
        let mut command = docker(&["run", "--rm", "--name", &self.name, "--pull=never"]);
        command.args(["--memory", "8g", "--read-only", "--network", "none"]);
        command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        command.args(&self.mount).arg(&self.image).args(&self.arguments);
        command
    }
}

/// The engine's command line.
pub fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments);
    command
}
