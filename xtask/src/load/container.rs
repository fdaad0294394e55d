//! The image under the limits of a small host: the same load, and a model that cannot fit.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use process::{Runner, Task};

use super::findings::Findings;
use super::server::Server;
use super::steady::{self, Settings};
use crate::docker::{DistImage, Engine};

const ANSWER: Duration = Duration::from_secs(60);

pub fn run(
    dist: &Path,
    model: &Path,
    bodies: &[Vec<u8>],
    settings: &Settings,
    stop: &AtomicBool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let image = DistImage::find(dist)?;
    let runner = Runner::new(crate::progress::events(false))?;
    let engine = Engine::find(runner.clone(), &image)?;
    engine.load(&image)?;
    let id = engine.image_id(&image.archive.reference)?.context("the engine has not kept the image")?;

    refuses_what_cannot_fit(&runner, &id, model, findings)?;

    let name = format!("muslin-load-{}", std::process::id());
    let queue = (settings.queue * 4 / 3).to_string();
    let command =
        docker_run(&id, &name, model, &["--memory", "512m", "--memory-swap", "512m", "--cpus", "1"]);
    let server = Server::start_container(command, &name, &["--model", "minilm=/model", "--queue", &queue])?;
    let numbers = steady::measure(server.address, bodies, settings, stop)?;
    steady::judge(&numbers, findings);
    let killed = inspect(&runner, &name, "{{.State.OOMKilled}} {{.State.Running}}")?;
    findings.add(
        "the kernel kills nothing",
        killed == "false true",
        "OOMKilled false, Running true",
        killed.clone(),
    );
    Ok(())
}

/// 64 MiB for a model of 87: told in one line, before anything is loaded.
fn refuses_what_cannot_fit(
    runner: &Runner,
    id: &str,
    model: &Path,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let name = format!("muslin-refuse-{}", std::process::id());
    let mut command = docker_run(id, &name, model, &["--memory", "64m", "--memory-swap", "64m"]);
    command.args(["serve", "--model", "minilm=/model", "--listen", "127.0.0.1:0"]);
    let finished =
        runner.output(Task::new("start a container that is too small", command).timeout(ANSWER))?;
    let said = String::from_utf8_lossy(&finished.stderr).trim().to_string();
    let state = inspect(runner, &name, "{{.State.OOMKilled}} {{.State.StartedAt}} {{.State.FinishedAt}}")?;
    runner.run(Task::new("remove a container", docker(&["rm", "--force", &name])).timeout(ANSWER))?;
    let mut parts = state.split(' ');
    let killed = parts.next().unwrap_or_default().to_string();
    let seconds = match (parts.next().and_then(seconds_of_day), parts.next().and_then(seconds_of_day)) {
        (Some(start), Some(end)) => Some((end - start).rem_euclid(86_400.0)),
        _ => None,
    };
    findings.add(
        "what cannot fit is refused",
        finished.shell_code() == 2
            && killed == "false"
            && said.contains("not enough memory")
            && seconds.is_some_and(|seconds| seconds < 1.0),
        "exit code 2 in less than a second, one line, not killed",
        format!(
            "exit code {}, {} s, OOMKilled {killed}: {said}",
            finished.shell_code(),
            seconds.map_or("?".into(), |seconds| format!("{seconds:.2}"))
        ),
    );
    Ok(())
}

/// Of a time as the engine writes it, `2026-11-21T04:05:06.123456789Z`.
fn seconds_of_day(time: &str) -> Option<f64> {
    let (_, clock) = time.trim_end_matches('Z').split_once('T')?;
    let mut parts = clock.split(':').map(str::parse::<f64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3600.0 + next()? * 60.0 + next()?)
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments);
    command
}

/// In the network of this machine, where the server listens on loopback only.
fn docker_run(id: &str, name: &str, model: &Path, limits: &[&str]) -> Command {
    let mut command = docker(&["run", "--name", name, "--pull=never", "--network", "host", "--read-only"]);
    command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]).args(limits);
    let source = format!("source={}", model.display()).replace('"', "\"\"");
    command.args(["--mount", &format!("type=bind,\"{source}\",target=/model,readonly")]).arg(id);
    command
}

fn inspect(runner: &Runner, name: &str, format: &str) -> anyhow::Result<String> {
    let job =
        Task::new("look at a container", docker(&["inspect", "--format", format, name])).timeout(ANSWER);
    Ok(runner.run(job)?.stdout_text())
}

#[cfg(test)]
mod tests {
    use super::seconds_of_day;

    #[test]
    fn times_of_the_engine_are_read() {
        assert_eq!(seconds_of_day("2026-11-21T01:01:01.5Z"), Some(3661.5));
        assert_eq!(seconds_of_day("yesterday"), None);
    }
}
