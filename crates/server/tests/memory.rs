//! The estimate that the memory check compares with limits, against what a start really takes: within 10 %, for every fixture
//! model and the real one. Memory is no time: it is the same on a loaded machine, so it may be asserted.
//!
//! Means something on the musl target only: the measured constants belong to it and to mimalloc.

mod run_inferd;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use run_inferd::inferd;

const WITHIN: f64 = 0.10;
/// The smallest batches of the smallest model take less than 1 MiB in all, and which threads hold a page of the allocator (64
/// KiB) when they are asked is chance: for batches below the default alone, that much may be off.
const PAGES_BY_CHANCE: f64 = (192 << 10) as f64;
const DEFAULT_BATCH_TOKENS: usize = 1024;

/// Every folder of fixtures/models that is a model, and the real one.
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

/// The fields of the line that a server writes when it has loaded, in bytes.
fn after_load(model: &Path, threads: usize, batch_tokens: usize) -> HashMap<String, f64> {
    let mut command = inferd();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--no-memcheck", "--log-format", "json", "--model"])
        .arg(model);
    command.args(["--threads", &threads.to_string(), "--batch-tokens", &batch_tokens.to_string()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains("\"memory_after_load\""));
    child.kill().unwrap();
    child.wait().unwrap();
    let fields: serde_json::Value =
        serde_json::from_str(&line.expect("it ended before it had loaded")).unwrap();
    let fields = fields.as_object().unwrap().iter();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.parse().ok()?))).collect()
}

/// What is wrong with an estimate; nothing when it is close enough.
fn problem(estimate: f64, measured: f64, chance: f64) -> Option<String> {
    let ratio = estimate / measured;
    let close = (1.0 - WITHIN..=1.0 + WITHIN).contains(&ratio) || (estimate - measured).abs() < chance;
    (!close).then(|| format!("estimate / measured = {ratio:.3}"))
}

#[test]
fn the_estimate_is_within_ten_percent_of_what_is_taken() {
    let mut problems = Vec::new();
    for model in models() {
        for threads in [1, 2] {
            for batch_tokens in [64, 256, 1024, 4096] {
                let chance = if batch_tokens < DEFAULT_BATCH_TOKENS { PAGES_BY_CHANCE } else { 0.0 };
                let found = after_load(&model, threads, batch_tokens);
                if let Some(problem) = problem(found["estimate"], found["anonymous"], chance) {
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
fn an_estimate_that_is_off_or_missing_is_caught() {
    assert_eq!(problem(1.09, 1.0, 0.0), None);
    assert_eq!(problem(600e3, 700e3, PAGES_BY_CHANCE), None);
    assert!(problem(600e3, 800e3, PAGES_BY_CHANCE).is_some());
    for (estimate, measured) in
        [(1.11, 1.0), (0.89, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (f64::NAN, 1.0)]
    {
        assert!(problem(estimate, measured, 0.0).is_some(), "{estimate} of {measured}");
    }
}
