//! Validates the SARIF output with the schema of OASIS and an independent validator.
//!
//! cargo downloads the schema as part of a published crate, with a pinned digest; the license does not allow a copy in this
//! repository. Each run also validates corrupted reports, which must be rejected.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use release::fetch::pip::environment;
use serde_json::{Value, json};
use store::Digest;
use store::Record;

use crate::setup::workspace_root;

const CRATE: &str = "serde-sarif";
const CRATE_VERSION: &str = "0.8.0";
const SCHEMA_SHA256: &str = "af47e7b67f24efe74076621fd3a5fbe7398add9e84fe820c971219a385895cea";
const VALIDATOR_VERSION: &str = "4.26.0";
/// Prints the first error of each document of stdin, or `valid`.
const SCRIPT: &str = "\
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
kind = jsonschema.validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
for line in sys.stdin:
    error = next(validator.iter_errors(json.loads(line)), None)
    print('valid' if error is None else error.json_path + ': ' + error.message[:200].replace('\\n', ' '))
";

/// What the validator says about one document.
pub struct SarifResult {
    name: String,
    /// Results in the report; `None` for a corrupted one, which must be rejected.
    results: Option<usize>,
    /// `valid`, or the first error.
    verdict: String,
}

impl SarifResult {
    pub fn is_expected(&self) -> bool {
        (self.verdict == "valid") == self.results.is_some()
    }

    pub fn human(&self) -> String {
        let Self { name, results, verdict } = self;
        match results {
            Some(results) => format!("SARIF: verify-elf {name}: {results} results, {verdict}\n"),
            None => format!("SARIF: {name}: {verdict}\n"),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "results": self.results,
            "verdict": self.verdict,
            "is_expected": self.is_expected(),
        })
    }
}

/// The validator's results of reports and of corrupted reports.
pub fn check(context: &BuildContext) -> anyhow::Result<Vec<SarifResult>> {
    let schema = schema(context)?;
    let alternative = "the tests of elf-gate check the main parts";
    let requirements = format!("jsonschema=={VALIDATOR_VERSION}\n");
    let python = environment(context, "jsonschema", &requirements, alternative)?;
    let root = workspace_root();
    let mut documents = Vec::new();
    for arguments in [
        // Passes, violations, undecided rules, notes, members of archives, and unreadable files.
        vec!["--preset", "static-musl", "fixtures/elf"],
        vec!["--preset", "hardened-glibc", "--verbose", "fixtures/elf/rules"],
        vec!["no-such-file", "Cargo.toml"],
        vec!["--policy", "release.toml", "fixtures/elf/stripped"],
    ] {
        documents.push((arguments.join(" "), report(&root, &arguments)?));
    }
    let mut wrong_version = documents[0].1.clone();
    wrong_version["version"] = "2.0".into();
    let mut wrong_level = documents[0].1.clone();
    wrong_level["runs"][0]["results"][0]["level"] = "fatal".into();
    let corrupted = [
        ("corrupted: wrong version".to_string(), wrong_version),
        ("corrupted: unknown level".into(), wrong_level),
    ];

    let mut command = context.command(&python);
    command.args(["-c", SCRIPT]).arg(&schema);
    let lines: String =
        documents.iter().chain(&corrupted).map(|(_, document)| format!("{document}\n")).collect();
    let run = context.runner.run(Task::new("validate SARIF", command).stdin(lines))?;
    let text = run.stdout_text();
    let results: Vec<&str> = text.lines().collect();
    if results.len() != documents.len() + corrupted.len() {
        bail!(
            "the validator returned {} results for {} documents",
            results.len(),
            documents.len() + corrupted.len()
        );
    }
    let (of_reports, of_corrupted) = results.split_at(documents.len());
    let of_report = |((name, document), verdict): (&(String, Value), &&str)| SarifResult {
        name: name.clone(),
        results: Some(document["runs"][0]["results"].as_array().map_or(0, Vec::len)),
        verdict: (*verdict).to_string(),
    };
    let of_corruption = |((name, _), verdict): (&(String, Value), &&str)| SarifResult {
        name: name.clone(),
        results: None,
        verdict: (*verdict).to_string(),
    };
    let reports = documents.iter().zip(of_reports).map(of_report);
    Ok(reports.chain(corrupted.iter().zip(of_corrupted).map(of_corruption)).collect())
}

fn report(root: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    command.current_dir(root).args(["verify-elf", "--format", "sarif"]).args(arguments);
    let output = command.env_remove("GITHUB_STEP_SUMMARY").output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("verify-elf {}: stdout is not JSON", arguments.join(" ")))
}

/// The schema of the crate, downloaded by cargo.
fn schema(context: &BuildContext) -> anyhow::Result<PathBuf> {
    const FILE: &str = "sarif-2.1.0.schema.json";
    let name = format!("tools/sarif-schema-{CRATE_VERSION}");
    if context.offline && context.store.find(&name).is_none() {
        return Err(Diagnostic::new(
            &release::codes::TOOL_MISSING,
            "the SARIF schema is not in the cache, and --offline forbids the download",
        )
        .hint("run `cargo xtask difftest` once without --offline")
        .into());
    }
    let entry = context.store.get_or_create(&name, |staging| {
        let work = tempfile::tempdir_in(staging)?;
        std::fs::create_dir(work.path().join("src"))?;
        std::fs::write(work.path().join("src/lib.rs"), "")?;
        let manifest = format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{CRATE} = \"={CRATE_VERSION}\"\n"
        );
        std::fs::write(work.path().join("Cargo.toml"), manifest)?;
        let mut vendor = context.command("cargo");
        vendor.current_dir(work.path()).args(["vendor", "--quiet", "vendor"]);
        context.runner.run(Task::new(format!("fetch {CRATE} {CRATE_VERSION}"), vendor))?;
        let source = work.path().join("vendor").join(CRATE).join("src/schema.json");
        let found = Digest::of_file(&source)?;
        if found.as_str() != SCHEMA_SHA256 {
            return Err(Diagnostic::new(&release::codes::TOOL_MISSING, "the SARIF schema differs from the pinned one")
                .expected(SCHEMA_SHA256)
                .found(found.as_str())
                .hint("crates.io never changes a published version: check the cargo configuration for a replaced registry")
                .into());
        }
        std::fs::copy(&source, staging.join(FILE))?;
        let mut record = Record::default();
        record.add_file(staging, FILE)?;
        Ok(record)
    })?;
    Ok(entry.path.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_must_be_valid_and_a_corrupted_one_must_not() {
        let is_expected = |results, verdict: &str| {
            SarifResult { name: "a".into(), results, verdict: verdict.into() }.is_expected()
        };
        assert!(is_expected(Some(3), "valid") && is_expected(None, "$.version: wrong"));
        assert!(!is_expected(Some(3), "$.version: wrong") && !is_expected(None, "valid"));
    }
}
