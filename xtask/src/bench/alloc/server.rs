//! The server with each allocator, under concurrent clients in a closed loop.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use serde_json::Value;

use super::super::NOT_MEASURED;
use super::run::Allocator;

/// The load of each server.
pub struct ServerLoad {
    pub clients: u32,
    pub duration: Duration,
}

/// Values of one server, as `serve-load` reports them.
pub struct Served {
    pub name: String,
    pub report: Value,
}

/// Loads one server after another; the first and the last are the one that ships, which shows the noise of the machine.
pub fn measure(
    allocators: &[Allocator],
    folder: &Path,
    model: &Path,
    load: &ServerLoad,
    context: &BuildContext,
) -> anyhow::Result<Vec<Served>> {
    let names = allocators.iter().map(|allocator| allocator.name().to_owned());
    let again = allocators.contains(&Allocator::SHIPPED).then(|| Allocator::SHIPPED.name().to_owned());
    let names: Vec<String> = names.chain(again).collect();
    let mut served = Vec::new();
    for name in names {
        context.events().step(format!("{} clients: inferd-{name}", load.clients));
        let mut command = Command::new(folder.join("serve-load"));
        command.env_clear().arg(folder.join(format!("inferd-{name}"))).arg(model);
        command.args([load.clients.to_string(), load.duration.as_secs().to_string()]);
        let quoted = process::quote(&command);
        let task = Task::new("load the server", command).timeout(load.duration + Duration::from_mins(3));
        let output = context.runner.output(task)?;
        let report = serde_json::from_str(&output.stdout_text()).map_err(|_| {
            Diagnostic::new(&NOT_MEASURED, NOT_MEASURED.summary)
                .expected("one line of JSON")
                .found(format!(
                    "exit code {}\n{}",
                    output.shell_code(),
                    String::from_utf8_lossy(&output.stderr).trim()
                ))
                .hint(format!("to run it by hand:\n{quoted}"))
        })?;
        served.push(Served { name, report });
    }
    Ok(served)
}

/// The table.
pub fn human(served: &[Served], machine: &str, load: &ServerLoad) -> String {
    let mut text = format!("{machine}; {} clients for {} s each\n\n", load.clients, load.duration.as_secs());
    let number = |one: &Served, name: &str| one.report.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let mib = |one: &Served, name: &str| number(one, name) / 1_048_576.0;
    let best = served.iter().map(|one| number(one, "requests_per_second")).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(
        text,
        "{:<12}{:>12}{:>9}{:>10}{:>10}{:>10}{:>11}{:>12}{:>8}",
        "", "requests/s", "of best", "p50 ms", "p99 ms", "idle MiB", "loaded MiB", "10 s later", "not 200"
    );
    for one in served {
        let rate = number(one, "requests_per_second");
        let _ = writeln!(
            text,
            "{:<12}{rate:>12.1}{:>8.0}%{:>10.1}{:>10.1}{:>10.1}{:>11.1}{:>12.1}{:>8}",
            one.name,
            rate / best * 100.0,
            number(one, "p50_ms"),
            number(one, "p99_ms"),
            mib(one, "resident_idle"),
            mib(one, "resident_loaded"),
            mib(one, "resident_after_10_s"),
            number(one, "other")
        );
    }
    text
}
