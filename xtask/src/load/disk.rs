//! Model files that change or vanish under a running server.
//!
//! The weights are mapped. A page of a file that was cut is a fatal signal, and a file that was written in place gives
//! wrong vectors without any: both must become an error of the request, and a reload must mend them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::client::Client;
use super::faults::{healthy, status};
use super::findings::Findings;
use super::server::Server;

const SETTLE_MAX: Duration = Duration::from_secs(20);
const WEIGHTS: &str = "model.safetensors";

pub fn run(binary: &Path, model: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("making a folder for a copy of the model")?;
    let folder = scratch.path().join("model");
    copy(model, &folder)?;
    let weights = folder.join(WEIGHTS);
    let server = Server::start(binary, &["--model", &format!("m={}", folder.display())])?;
    let mut server = server;
    anyhow::ensure!(
        healthy(server.address),
        "the server does not answer before anything was done to its model"
    );

    let length = weights.metadata().context("looking at the weights")?.len();
    std::fs::File::options().write(true).open(&weights)?.set_len(length / 4)?;
    let answer = Client::new(server.address, SETTLE_MAX).post("/v1/embeddings", br#"{"input":"cut"}"#);
    let found = match &answer {
        Ok(answer) => answer.status.to_string(),
        Err(missed) => format!("{missed:?}"),
    };
    let ready = status(server.address, "/readyz");
    findings.add(
        "weights cut under the server",
        matches!(answer, Ok(answer) if answer.status == 503) && ready == Ok(503) && server.ended()?.is_none(),
        "503 for requests and for /readyz, and the process lives",
        format!("request {found}, /readyz {ready:?}, ended {:?}", server.ended()?),
    );
    if server.ended()?.is_some() {
        return Ok(());
    }

    // As docs/server.md asks for: by rename.
    let fresh = folder.join("fresh");
    std::fs::copy(model.join(WEIGHTS), &fresh)?;
    std::fs::rename(&fresh, &weights)?;
    server.signal("HUP")?;
    let back = within(|| healthy(server.address));
    findings.add("a reload mends it", back, "requests are answered again", format!("{back}"));

    std::fs::remove_dir_all(&folder)?;
    let without = healthy(server.address);
    server.signal("HUP")?;
    let refused = within(|| server.log().contains("reload_failed"));
    let after = healthy(server.address);
    findings.add(
        "the disk is gone",
        without && refused && after,
        "the loaded model goes on; a reload fails and says so; the loaded model still goes on",
        format!("answers {without}, reload refused {refused}, answers {after}"),
    );
    Ok(())
}

fn within(mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < SETTLE_MAX {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
