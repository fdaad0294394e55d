//! The image with 8 GiB, a model and a load that need more than 6 GB: load, no traffic, load again. The kernel kills nothing,
//! and memory returns.

use std::path::Path;
use std::time::Duration;

use process::Runner;

use crate::container;
use crate::curve::Curve;
use crate::server::Server;
use crate::spike::{self, Phases, RequestKind};
use crate::{BIG_HOST_TOO_SMALL, OOM_KILL, ScenarioCheck, big_model};

const MEMORY: &str = "8g";
/// A smaller peak does not show what happens on such a host.
const PEAK_BYTES_MIN: f64 = 6e9;
const LOAD: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(15);
/// `--max-inflight-bytes`: bodies and responses.
const REQUEST_BYTES: &str = "1792 MiB";

/// Clients with bodies of almost 8 MiB, the default of `--max-body-bytes`; the words are below the limit of the tokenizer.
const HOLDERS: usize = 150;
const WORDS: usize = 63;
const WORD_BYTES: usize = 127 << 10;

/// `time` is the time of all loads together; at least two are run.
pub fn run(
    image: &str,
    template: &Path,
    time: Duration,
    runner: &Runner,
) -> anyhow::Result<(Vec<ScenarioCheck>, Curve)> {
    let folder = tempfile::tempdir()?;
    runner.events().step("writing a model of several GB");
    let bytes = big_model::write(template, folder.path())?;
    runner
        .events()
        .step(format!("starting a container with {MEMORY}; {:.1} GB of weights", bytes as f64 / 1e9));
    // The user of the image is not the owner of the folder.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let name = format!("muslin-big-host-{}", std::process::id());
    let command =
        container::docker_run(image, &name, folder.path(), &["--memory", MEMORY, "--memory-swap", MEMORY]);
    let arguments = ["--model", "big=/model", "--batch-tokens", "64", "--max-inflight-bytes", REQUEST_BYTES];
    let server = Server::start_container(command, &name, &arguments)?;
    let repeat = (time.as_secs() / (LOAD + IDLE).as_secs()).max(2) as usize;
    let phases = Phases { load: LOAD, idle: IDLE, repeat };
    let measurement = spike::measure(&server, server.pid()?, &requests(), phases, runner)?;
    let mut checks = spike::judge(&measurement);
    let peak = measurement.curve.resident_mib.iter().copied().fold(0.0, f64::max) * f64::from(1 << 20);
    checks.push(ScenarioCheck::new(
        &BIG_HOST_TOO_SMALL,
        "model and load need the memory",
        peak >= PEAK_BYTES_MIN,
        format!("a peak of at least {:.1} GB", PEAK_BYTES_MIN / 1e9),
        format!("{:.2} GB", peak / 1e9),
    ));
    let state = container::inspect(runner, &name, "{{.State.OOMKilled}} {{.State.Running}}")?;
    let is_alive = state == "false true";
    checks.push(ScenarioCheck::new(
        &OOM_KILL,
        "the kernel kills nothing",
        is_alive,
        "OOMKilled false, Running true",
        state,
    ));
    Ok((checks, measurement.curve))
}

/// Large bodies and responses that are read late, and embeddings beside them. A word of this length is one token, so the
/// requests take memory and little time: the model needs seconds for one batch.
fn requests() -> Vec<RequestKind> {
    let word = "a".repeat(WORD_BYTES);
    let words = serde_json::json!({ "inputs": vec![word; WORDS] });
    let short = serde_json::json!({ "input": "a quiet harbour" });
    let kind = |clients, path, body: serde_json::Value, read_after_s| RequestKind {
        clients,
        path,
        body: body.to_string().into_bytes(),
        pause: Duration::ZERO,
        read_after: Duration::from_secs(read_after_s),
    };
    vec![kind(HOLDERS, "/tokenize", words, 12), kind(4, "/v1/embeddings", short, 0)]
}
