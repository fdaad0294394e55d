//! The memory estimate is within 10 % of the measured memory of a start, for every fixture model and the real one.
//! Unlike time, memory does not depend on the load of the machine.
//!
//! The test applies to the musl target only: the measured constants are those of musl and mimalloc.

mod run_inferd;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use run_inferd::inferd;

const TOLERANCE: f64 = 0.10;
/// Allowed difference of a measurement below [`SMALL_BYTES`]: which threads hold a page of the allocator (64 KiB) at the measurement
/// is random, and one page is a tenth of what the smallest model takes.
const RANDOM_PAGES_BYTES: f64 = (192 << 10) as f64;
const SMALL_BYTES: f64 = (1 << 20) as f64;
/// The median counts: which threads hold a page of the allocator differs from start to start, by up to 0.3 MB.
const STARTS: usize = 5;

/// Every model in fixtures/models, and the real one.
#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
fn models() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models");
    let entries = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = entries.filter(|path| path.join("model.safetensors").is_file()).collect();
    assert!(!models.is_empty());
    let real =
        std::env::var_os("MUSLIN_MODEL_DIR").expect("MUSLIN_MODEL_DIR: run through `cargo xtask test`");
    models.push(real.into());
    models
}

/// The fields of the event `memory_after_load`, in bytes.
fn after_load(model: &Path, threads: usize, batch_tokens: usize) -> HashMap<String, f64> {
    let mut command = inferd();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--no-memory-check", "--log-format", "json", "--model"])
        .arg(model);
    command.args(["--threads", &threads.to_string(), "--batch-tokens", &batch_tokens.to_string()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains("\"memory_after_load\""));
    child.kill().unwrap();
    child.wait().unwrap();
    let fields: serde_json::Value =
        serde_json::from_str(&line.expect("the server ended before it had loaded")).unwrap();
    let fields = fields.as_object().unwrap().iter();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_f64()?))).collect()
}

/// Describes an estimate that is too far from the measurement.
fn problem(estimate: f64, measured: f64, tolerance_bytes: f64) -> Option<String> {
    let ratio = estimate / measured;
    let close =
        (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio) || (estimate - measured).abs() < tolerance_bytes;
    (!close).then(|| format!("estimate / measured = {ratio:.3}"))
}

#[test]
fn the_estimate_is_within_ten_percent_of_the_measurement() {
    let mut problems = Vec::new();
    for model in models() {
        for threads in [1, 2] {
            for batch_tokens in [64, 256, 1024, 4096] {
                let mut starts: Vec<_> =
                    (0..STARTS).map(|_| after_load(&model, threads, batch_tokens)).collect();
                starts.sort_by(|a, b| a["anonymous"].total_cmp(&b["anonymous"]));
                let found = &starts[STARTS / 2];
                let tolerance_bytes = if found["anonymous"] < SMALL_BYTES { RANDOM_PAGES_BYTES } else { 0.0 };
                if let Some(problem) = problem(found["estimate"], found["anonymous"], tolerance_bytes) {
                    problems.push(format!(
                        "{}, {threads} threads, {batch_tokens} tokens: {problem}: {found:?}",
                        model.display()
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn rejects_a_wrong_or_missing_estimate() {
    assert_eq!(problem(1.09, 1.0, 0.0), None);
    assert_eq!(problem(600e3, 700e3, RANDOM_PAGES_BYTES), None);
    assert!(problem(600e3, 800e3, RANDOM_PAGES_BYTES).is_some());
    for (estimate, measured) in
        [(1.11, 1.0), (0.89, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (f64::NAN, 1.0)]
    {
        assert!(problem(estimate, measured, 0.0).is_some(), "{estimate} of {measured}");
    }
}
