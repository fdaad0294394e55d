//! The container engine, through its command line: every call has a time-out, and every failure quotes the call.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use diag::Diagnostic;
use process::{Output, Runner, Task, quote};

use super::archive::DistImage;
use super::left_behind::LeftBehind;

/// For calls that only ask. An engine that starts on demand (socket activation) needs some seconds.
const ANSWER: Duration = Duration::from_secs(20);
const LOAD: Duration = Duration::from_secs(300);

/// `docker run`'s own code for "the engine could not do it", as opposed to the program's exit code.
const ENGINE_FAILED: i32 = 125;

pub struct Engine {
    runner: Runner,
    pub version: String,
}

/// A container to be, with the limits that the image must live with.
pub struct Container {
    pub what: &'static str,
    name: String,
    timeout: Duration,
    mount: Vec<String>,
    image: String,
    arguments: Vec<&'static str>,
}

/// A container that has ended by itself.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
    pub command: String,
}

impl Container {
    /// `image` is an ID. The name makes the container findable when its client is gone.
    pub fn new(what: &'static str, image: &str, timeout: Duration, arguments: &[&'static str]) -> Self {
        Self {
            what,
            name: format!("muslin-{what}-{}", std::process::id()),
            timeout,
            mount: Vec::new(),
            image: image.into(),
            arguments: arguments.to_vec(),
        }
    }

    /// Shows the container `folder` as `/model`, read-only.
    pub fn mount(mut self, folder: &Path) -> Self {
        // The option's value is one line of CSV, so a path with a comma or a quote needs quoting of its own.
        let source = format!("source={}", folder.display()).replace('"', "\"\"");
        self.mount = vec!["--mount".into(), format!("type=bind,\"{source}\",target=/model,readonly")];
        self
    }

    fn command(&self) -> Command {
        let mut command = docker(&["run", "--rm", "--name", &self.name, "--pull=never"]);
        command.args(["--memory", "8g", "--read-only", "--network", "none"]);
        command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        command.args(&self.mount).arg(&self.image).args(&self.arguments);
        command
    }
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments);
    command
}

impl Engine {
    /// Asks the server, not the client: a client without a server also has a version.
    pub fn find(runner: Runner, image: &DistImage) -> anyhow::Result<Self> {
        let command = docker(&["version", "--format", "{{.Server.Version}}"]);
        let quoted = quote(&command);
        let found = match runner.output(Task::new("ask the container engine", command).timeout(ANSWER)) {
            Ok(finished) if finished.status.success() && !finished.stdout_text().is_empty() => {
                return Ok(Self { version: finished.stdout_text(), runner });
            }
            Ok(finished) => format!("exit code {}\n{}", finished.shell_code(), stderr_text(&finished)),
            Err(error) if diag::has_code(&error, &process::INTERRUPTED) => return Err(error),
            Err(error) => format!("{error:#}"),
        };
        let (path, reference) = (image.path.display(), &image.archive.reference);
        Err(Diagnostic::new(&release::GENERAL, "no container engine answers; the image was not tried")
            .expected(format!("a version from\n{quoted}"))
            .found(found)
            .hint(format!(
                "start an engine (sudo systemctl start docker) or join its group (sudo usermod -aG docker $USER), or\n\
                 load the image by hand where an engine runs:\n\
                 docker load --input '{path}'\n\
                 docker run --rm --memory 8g --read-only --network none {reference} selftest --json"
            ))
            .into())
    }

    /// What the engine calls the image behind a reference; `None` when there is none.
    pub fn image_id(&self, reference: &str) -> anyhow::Result<Option<String>> {
        let command = docker(&["image", "inspect", "--format", "{{.Id}}", reference]);
        let quoted = quote(&command);
        let finished = self.runner.output(Task::new("look for an image", command).timeout(ANSWER))?;
        let stderr = stderr_text(&finished);
        match finished.status.success() {
            true => Ok(Some(finished.stdout_text())),
            false if stderr.to_lowercase().contains("no such image") => Ok(None),
            false => {
                Err(Diagnostic::new(&release::GENERAL, format!("could not look for the image {reference}"))
                    .expected("the image's ID, or that there is none")
                    .found(stderr)
                    .hint(format!("to run it by hand:\n{quoted}"))
                    .into())
            }
        }
    }

    pub fn load(&self, image: &DistImage) -> anyhow::Result<()> {
        let mut command = docker(&["load", "--quiet", "--input"]);
        command.arg(&image.path);
        self.runner.run(Task::new("load the image", command).timeout(LOAD)).map(drop)
    }

    pub fn tag(&self, id: &str, tag: &str) -> anyhow::Result<()> {
        self.runner.run(Task::new("tag the image", docker(&["tag", id, tag])).timeout(ANSWER)).map(drop)
    }

    /// Runs a container to its end. If it does not come to one (time-out, Ctrl-C), the container is removed by its name:
    /// ending the client alone would leave it running.
    pub fn run(&self, container: &Container, left: &mut LeftBehind) -> anyhow::Result<Ended> {
        let command = container.command();
        let quoted = quote(&command);
        let job =
            Task::new(format!("run `{}` in a container", container.what), command).timeout(container.timeout);
        let finished = match self.runner.output(job) {
            Ok(finished) => finished,
            Err(error) => {
                left.containers.push(remove_by_force(&container.name));
                return Err(error);
            }
        };
        let ended = Ended {
            code: finished.shell_code(),
            stderr: stderr_text(&finished),
            stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
            elapsed: finished.elapsed,
            command: quoted,
        };
        if ended.code == ENGINE_FAILED {
            left.containers.push(remove_by_force(&container.name));
            return Err(Diagnostic::new(
                &release::GENERAL,
                format!("the engine could not run `{}`", container.what),
            )
            .expected("a container with 8 GiB, a read-only root and no network")
            .found(ended.stderr)
            .hint(format!("to run it by hand:\n{}", ended.command))
            .into());
        }
        // Some kernels cannot limit memory; the engine then says so and goes on without the limit.
        if ended.stderr.contains("Limitation discarded") {
            return Err(Diagnostic::new(&release::GENERAL, format!("`{}` ran without a memory limit, which is not what was to be tried", container.what))
                .expected("an engine that keeps --memory 8g")
                .found(ended.stderr)
                .hint("enable the memory controller of cgroups (kernel parameter cgroup_enable=memory) and start again")
                .into());
        }
        Ok(ended)
    }
}

/// Says in one line what became of the container. Uses a runner of its own: after Ctrl-C the first one starts nothing.
fn remove_by_force(name: &str) -> String {
    let by_hand = format!("container {name} may still be there; to remove it: docker rm --force {name}");
    let Ok(runner) = Runner::new(crate::progress::events(false)) else { return by_hand };
    let job = Task::new("remove a container", docker(&["rm", "--force", name])).timeout(ANSWER);
    match runner.output(job) {
        // Engines differ in the exit code for a container that does not exist, not in the words.
        Ok(finished) if stderr_text(&finished).contains("No such container") => {
            format!("container {name}: none")
        }
        Ok(finished) if finished.status.success() => format!("container {name} was killed and removed"),
        _ => by_hand,
    }
}

fn stderr_text(finished: &Output) -> String {
    String::from_utf8_lossy(&finished.stderr).trim().to_string()
}
