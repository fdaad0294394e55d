//! Model files that change under a running server.
//!
//! The weights are mapped. A read of a page beyond the end of a truncated file is SIGBUS, and a file that is overwritten
//! in place gives wrong vectors without any signal. Both must become an error of the request, and a reload must restore
//! service.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use diag::Diagnostic;

use crate::http_client::Client;
use crate::probe::{is_healthy, status, wait_until};
use crate::server::Server;
use crate::{MODEL_REMOVED, NOT_MEASURED, RELOAD, ScenarioCheck, TOUCHED_WEIGHTS, TRUNCATED_WEIGHTS};

const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
const WEIGHTS: &str = "model.safetensors";

pub fn run(binary: &Path, model: &Path) -> anyhow::Result<Vec<ScenarioCheck>> {
    let scratch = tempfile::tempdir().context("creating a folder for a copy of the model")?;
    let folder = scratch.path().join("model");
    copy(model, &folder)?;
    let weights = folder.join(WEIGHTS);
    let mut server = Server::start(binary, &["--model", &format!("m={}", folder.display())])?;
    let address = server.address();
    if !is_healthy(address) {
        return Err(
            Diagnostic::new(&NOT_MEASURED, "the server does not answer with an unchanged model").into()
        );
    }
    let mut checks = Vec::new();

    std::fs::File::options().write(true).open(&weights)?.set_modified(UNIX_EPOCH)?;
    let ready = status(address, "/readyz");
    let is_served = is_healthy(address);
    checks.push(ScenarioCheck::new(
        &TOUCHED_WEIGHTS,
        "weights with new times and the same bytes",
        is_served && ready == Ok(200),
        "200 for the request and for /readyz",
        format!("in service {is_served}, /readyz {ready:?}"),
    ));

    let length = weights.metadata().context("reading the size of the weights")?.len();
    std::fs::File::options().write(true).open(&weights)?.set_len(length / 4)?;
    let response = Client::new(address, SETTLE_TIMEOUT).post("/v1/embeddings", br#"{"input":"truncated"}"#);
    let ready = status(address, "/readyz");
    let exit = server.exit_code()?;
    let found = match &response {
        Ok(response) => response.status.to_string(),
        Err(error) => error.to_string(),
    };
    checks.push(ScenarioCheck::new(
        &TRUNCATED_WEIGHTS,
        "weights truncated under the server",
        matches!(&response, Ok(response) if response.status == 503) && ready == Ok(503) && exit.is_none(),
        "503 for the request and for /readyz; the process continues",
        format!("request {found}, /readyz {ready:?}, exit code {exit:?}"),
    ));
    if exit.is_some() {
        return Ok(checks);
    }

    // Replaced by rename, as docs/server.md requires.
    let restored = folder.join("restored");
    std::fs::copy(model.join(WEIGHTS), &restored)?;
    std::fs::rename(&restored, &weights)?;
    server.signal("HUP")?;
    let is_back = wait_until(SETTLE_TIMEOUT, || is_healthy(address));
    checks.push(ScenarioCheck::new(
        &RELOAD,
        "a reload restores service",
        is_back,
        "200 after SIGHUP",
        if is_back { "200" } else { "no 200" },
    ));

    std::fs::remove_dir_all(&folder)?;
    let before = is_healthy(address);
    server.signal("HUP")?;
    let is_refused = wait_until(SETTLE_TIMEOUT, || server.log().contains("reload_failed"));
    let after = is_healthy(address);
    checks.push(ScenarioCheck::new(
        &MODEL_REMOVED,
        "the model folder is removed",
        before && is_refused && after,
        "the loaded model stays in service, before and after a reload that fails and is logged",
        format!("in service before {before}, reload_failed logged {is_refused}, in service after {after}"),
    ));
    Ok(checks)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // Follows links: downloaders store weights as links into a cache.
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
