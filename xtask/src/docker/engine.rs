//! The container engine, through its command line. Every call has a time limit, and every failure quotes the call.

use std::time::Duration;

use diag::Diagnostic;
use process::{Output, Runner, Task, quote};

use super::archive::DistImage;
use super::cleanup::Cleanup;
use super::codes::{ENGINE_FAILED, ENGINE_UNAVAILABLE, NO_MEMORY_LIMIT};
use super::container::{Container, Exit, docker};

/// For queries. An engine that starts on demand (socket activation) needs some seconds.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
const LOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// Exit code of `docker run` when the engine failed, as opposed to the program in the container.
const RUN_FAILED: i32 = 125;

pub struct Engine {
    runner: Runner,
    pub version: String,
}

impl Engine {
    /// Queries the server's version: a client without a server also has one. `image` is for the hint.
    pub fn connect(runner: Runner, image: &DistImage) -> anyhow::Result<Self> {
        let command = docker(&["version", "--format", "{{.Server.Version}}"]);
        let quoted = quote(&command);
        let task = Task::new("query the container engine", command).timeout(QUERY_TIMEOUT);
        let found = match runner.output(task) {
            Ok(output) if output.status.success() && !output.stdout_text().is_empty() => {
                return Ok(Self { version: output.stdout_text(), runner });
            }
            Ok(output) => format!("exit code {}\n{}", output.shell_code(), stderr_text(&output)),
            Err(error) if diag::has_code(&error, &process::INTERRUPTED) => return Err(error),
            Err(error) => format!("{error:#}"),
        };
        let (path, reference) = (image.path.display(), &image.archive.reference);
        Err(Diagnostic::new(&ENGINE_UNAVAILABLE, "no container engine answers; the image was not run")
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

    /// The ID of the image under a reference; `None` when there is none.
    pub fn image_id(&self, reference: &str) -> anyhow::Result<Option<String>> {
        let command = docker(&["image", "inspect", "--format", "{{.Id}}", reference]);
        let quoted = quote(&command);
        let output = self.runner.output(Task::new("look up an image", command).timeout(QUERY_TIMEOUT))?;
        let stderr = stderr_text(&output);
        match output.status.success() {
            true => Ok(Some(output.stdout_text())),
            false if stderr.to_lowercase().contains("no such image") => Ok(None),
            false => Err(Diagnostic::new(&ENGINE_FAILED, format!("could not look up the image {reference}"))
                .expected("its ID, or `No such image`")
                .found(stderr)
                .hint(format!("to run it by hand:\n{quoted}"))
                .into()),
        }
    }

    /// Loads the archive into the engine's store.
    pub fn load(&self, image: &DistImage) -> anyhow::Result<()> {
        let mut command = docker(&["load", "--quiet", "--input"]);
        command.arg(&image.path);
        self.runner.run(Task::new("load the image", command).timeout(LOAD_TIMEOUT)).map(drop)
    }

    /// Gives an image a second reference.
    pub fn tag(&self, id: &str, tag: &str) -> anyhow::Result<()> {
        let task = Task::new("tag the image", docker(&["tag", id, tag])).timeout(QUERY_TIMEOUT);
        self.runner.run(task).map(drop)
    }

    /// Runs a container until it exits. After a time-out or Ctrl-C the container is removed by its name: ending the client
    /// alone would leave it running.
    pub fn run(&self, container: &Container, cleanup: &mut Cleanup) -> anyhow::Result<Exit> {
        let command = container.command();
        let quoted = quote(&command);
        let task =
            Task::new(format!("run `{}` in a container", container.task), command).timeout(container.timeout);
        let output = match self.runner.output(task) {
            Ok(output) => output,
            Err(error) => {
                cleanup.containers.push(remove_by_force(&container.name));
                return Err(error);
            }
        };
        let exit = Exit {
            code: output.shell_code(),
            stderr: stderr_text(&output),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            elapsed: output.elapsed,
            command: quoted,
        };
        if exit.code == RUN_FAILED {
            cleanup.containers.push(remove_by_force(&container.name));
            let message = format!("the engine could not run `{}`", container.task);
            return Err(Diagnostic::new(&ENGINE_FAILED, message)
                .expected("a container with 8 GiB, a read-only root and no network")
                .found(exit.stderr)
                .hint(format!("to run it by hand:\n{}", exit.command))
                .into());
        }
        // The words of an engine on a kernel that cannot limit memory; the container runs without the limit.
        if exit.stderr.contains("Limitation discarded") {
            let message = format!("`{}` ran without a memory limit", container.task);
            return Err(Diagnostic::new(&NO_MEMORY_LIMIT, message)
                .expected("an engine that enforces --memory 8g")
                .found(exit.stderr)
                .hint("enable the memory controller of cgroups (kernel parameter cgroup_enable=memory) and restart")
                .into());
        }
        Ok(exit)
    }
}

/// Returns one line that says whether the container remains. Uses a runner of its own: after Ctrl-C the first one starts no
/// process.
fn remove_by_force(name: &str) -> String {
    let by_hand = format!("container {name} may remain; remove it: docker rm --force {name}");
    let task = Task::new("remove a container", docker(&["rm", "--force", name])).timeout(QUERY_TIMEOUT);
    match Runner::without_signals().output(task) {
        // Engines differ in the exit code for a container that does not exist, not in the words.
        Ok(output) if stderr_text(&output).contains("No such container") => format!("container {name}: none"),
        Ok(output) if output.status.success() => format!("container {name}: killed and removed"),
        _ => by_hand,
    }
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_string()
}
