//! The image under the limits of a small host: the same overload, and a model that cannot fit.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use process::{Runner, Task};

use crate::overload::{self, Load};
use crate::server::Server;
use crate::{MEMORY_REFUSAL, OOM_KILL, QUOTA_THREADS, ScenarioCheck};

const ENGINE_TIMEOUT: Duration = Duration::from_mins(1);
/// A refusal happens before anything is loaded.
const REFUSAL_SECONDS_MAX: f64 = 1.0;

pub fn run(image: &str, model: &Path, load: &Load<'_>) -> anyhow::Result<Vec<ScenarioCheck>> {
    let mut checks = vec![refuses_a_model_that_cannot_fit(load.runner, image, model)?];
    let name = format!("muslin-loadtest-{}", std::process::id());
    let start = |further: &[&str]| {
        let limits = ["--memory", "512m", "--memory-swap", "512m", "--cpus", "1"];
        let arguments = [&["--model", "minilm=/model"], &overload::ARGUMENTS[..], further].concat();
        Server::start_container(docker_run(image, &name, model, &limits), &name, &arguments)
    };
    let (measurement, server) = overload::measure(start, load)?;
    checks.extend(overload::judge(&measurement));
    checks.push(judge_threads(&server.log(), server.sample()?.blas_threads));
    let state = inspect(load.runner, &name, "{{.State.OOMKilled}} {{.State.Running}}")?;
    drop(server);
    checks.push(ScenarioCheck::new(
        &OOM_KILL,
        "the kernel kills nothing",
        state == "false true",
        "OOMKilled false, Running true",
        state.clone(),
    ));
    Ok(checks)
}

/// The affinity mask of a container with a quota has all CPUs of the machine.
fn judge_threads(log: &str, blas_threads: f64) -> ScenarioCheck {
    let of_log = log.lines().find_map(|line| line.split_once(" compute threads=")?.1.split(' ').next());
    ScenarioCheck::new(
        &QUOTA_THREADS,
        "threads follow the CPU quota",
        of_log == Some("1") && blas_threads == 1.0,
        "1 compute thread, and 1 thread of OpenBLAS",
        format!("{} compute threads, {blas_threads} threads of OpenBLAS", of_log.unwrap_or("unknown")),
    )
}

/// 64 MiB for a model of 87 MiB: refused in one line, before anything is loaded.
fn refuses_a_model_that_cannot_fit(
    runner: &Runner,
    image: &str,
    model: &Path,
) -> anyhow::Result<ScenarioCheck> {
    let name = format!("muslin-refusal-{}", std::process::id());
    let mut command = docker_run(image, &name, model, &["--memory", "64m", "--memory-swap", "64m"]);
    command.args(["serve", "--model", "minilm=/model", "--listen", "127.0.0.1:0"]);
    let task = Task::new("start a container with too little memory", command).timeout(ENGINE_TIMEOUT);
    let output = runner.output(task)?;
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_string();
    let state = inspect(runner, &name, "{{.State.OOMKilled}} {{.State.StartedAt}} {{.State.FinishedAt}}")?;
    runner.run(Task::new("remove a container", docker(&["rm", "--force", &name])).timeout(ENGINE_TIMEOUT))?;
    Ok(judge_refusal(output.shell_code(), &stderr, &state))
}

/// `state` is OOMKilled, StartedAt and FinishedAt of the container.
fn judge_refusal(code: i32, stderr: &str, state: &str) -> ScenarioCheck {
    let mut fields = state.split(' ');
    let killed = fields.next().unwrap_or_default();
    let mut time = || fields.next()?.parse::<Timestamp>().ok();
    let seconds = match (time(), time()) {
        (Some(start), Some(end)) => Some(end.duration_since(start).as_secs_f64()),
        _ => None,
    };
    ScenarioCheck::new(
        &MEMORY_REFUSAL,
        "a model that cannot fit is refused",
        code == 2
            && killed == "false"
            && stderr.contains("not enough memory")
            && seconds.is_some_and(|seconds| (0.0..REFUSAL_SECONDS_MAX).contains(&seconds)),
        format!("exit code 2 within {REFUSAL_SECONDS_MAX} s, one line of log, not killed by the kernel"),
        format!(
            "exit code {code}, {}, OOMKilled {killed}: {stderr}",
            seconds.map_or("time unknown".into(), |seconds| format!("{seconds:.2} s"))
        ),
    )
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments);
    command
}

/// In the network of the host, where the server listens on loopback only.
pub fn docker_run(image: &str, name: &str, model: &Path, limits: &[&str]) -> Command {
    let mut command = docker(&["run", "--name", name, "--pull=never", "--network", "host", "--read-only"]);
    command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]).args(limits);
    // The option's value is one line of CSV; a quote in a path is doubled.
    let source = format!("source={}", model.display()).replace('"', "\"\"");
    command.args(["--mount", &format!("type=bind,\"{source}\",target=/model,readonly")]).arg(image);
    command
}

pub fn inspect(runner: &Runner, name: &str, format: &str) -> anyhow::Result<String> {
    let task = Task::new("inspect a container", docker(&["inspect", "--format", format, name]));
    Ok(runner.run(task.timeout(ENGINE_TIMEOUT))?.stdout_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_for_a_quota_of_one_cpu_are_a_violation() {
        let log =
            |threads: u32| format!("INFO start pid=7\nINFO compute threads={threads} threads_source=x\n");
        assert!(judge_threads(&log(1), 1.0).passed());
        assert!(!judge_threads(&log(2), 1.0).passed());
        assert!(!judge_threads(&log(1), 2.0).passed());
        assert!(!judge_threads("", 1.0).passed());
    }

    /// Across midnight, with nanoseconds, as the engine writes it.
    const STATE: &str = "false 2026-11-20T23:59:59.950000001Z 2026-11-21T00:00:00.010000001Z";
    const LOG: &str = "error: not enough memory";

    #[test]
    fn a_refusal_is_quick_and_not_a_kill() {
        let check = judge_refusal(2, LOG, STATE);
        assert!(check.passed());
        assert_eq!(check.found(), "exit code 2, 0.06 s, OOMKilled false: error: not enough memory");
        assert!(!judge_refusal(1, LOG, STATE).passed());
        assert!(!judge_refusal(2, "panicked", STATE).passed());
        assert!(!judge_refusal(2, LOG, &STATE.replace("false", "true")).passed());
        assert!(!judge_refusal(2, LOG, &STATE.replace("00:00:00", "00:00:01")).passed());
        assert!(!judge_refusal(2, LOG, "false yesterday today").passed());
    }
}
