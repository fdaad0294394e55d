//! SARIF 2.1.0. Passes are not results: services show every result as an alert, independent of its kind.
//!
//! Written by hand: serde-sarif 0.8 generates its types in a build script and adds 25 s to a cold build on two cores.
//! `cargo xtask difftest` validates the output with the schema of OASIS.

use diag::Diagnostic;
use serde_json::{Value, json};

use crate::policy::{Severity, Verdict, all_codes};
use crate::report::model::{FileReport, FileState, GateReport, OutcomeStatus, TOOL};
use crate::report::text::{self, sentence, waived, with_hint};

pub(super) fn log(report: &GateReport) -> Value {
    let results: Vec<Value> = report.files.iter().flat_map(results).collect();
    let notes = report.files.iter().flat_map(|file| file.notes.iter().map(|note| notification(file, note)));
    let policies = report.policies.iter().map(|policy| json!(policy)).collect::<Vec<_>>();
    let of_run = text::policies(report)
        .into_iter()
        .map(|policy| json!({"level": "note", "message": {"text": format!("policy: {policy}")}}));
    let notes = of_run.chain(notes);
    let notifications: Vec<Value> = notes.chain(report.diagnostics.iter().map(error_notification)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": TOOL.name,
                "version": TOOL.version,
                "semanticVersion": TOOL.version,
                "rules": rules(),
            }},
            "invocations": [{
                "executionSuccessful": report.verdict != Verdict::CannotTell,
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {"verdict": report.verdict, "summary": report.summary, "policies": policies},
        }],
    })
}

fn rules() -> Vec<Value> {
    let described = all_codes().map(|code| {
        let sections = code.sections.iter().map(|(label, text)| format!("{label}: {text}"));
        json!({
            "id": code.id,
            "shortDescription": {"text": code.summary},
            "fullDescription": {"text": code.summary},
            "help": {"text": sections.collect::<Vec<_>>().join("\n\n")},
            "defaultConfiguration": {"level": "error"},
        })
    });
    described.collect()
}

fn results(file: &FileReport) -> Vec<Value> {
    let mut results = Vec::new();
    if let FileState::Unreadable { error, verdict } = &file.state {
        results.push(result(file, error.code().id, *verdict, "error", &with_hint(error)));
    }
    for (outcome, status) in file.exceptions() {
        let level = match outcome.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let text = format!("{}\nhint: {}", sentence(outcome), outcome.hint);
        let mut result = result(file, outcome.rule, outcome.verdict, level, &text);
        if status == OutcomeStatus::Waived {
            let reason = waived(outcome).unwrap_or_default();
            result["suppressions"] =
                json!([{"kind": "external", "status": "accepted", "justification": reason}]);
        }
        results.push(result);
    }
    results
}

/// "Cannot tell" has the kind `fail`: the kind `open` requires the level `none`, which services hide.
fn result(file: &FileReport, rule: &str, verdict: Verdict, level: &str, text: &str) -> Value {
    let index = all_codes().position(|code| code.id == rule).unwrap_or(0);
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(file.path_on_disk())},
            // A binary has no lines, but services require one.
            "region": {"startLine": 1},
        },
    });
    if file.container.is_some() {
        location["logicalLocations"] = json!([{"fullyQualifiedName": file.file, "kind": "member"}]);
    }
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "kind": "fail",
        "level": level,
        "message": {"text": format!("{}: {text}", file.file)},
        "locations": [location],
        // Independent of the contents, so that services recognize an alert after a rebuild.
        "partialFingerprints": {"ruleAndFile/v1": format!("{rule}:{}", file.file)},
        "properties": {"verdict": verdict},
    })
}

fn notification(file: &FileReport, note: &str) -> Value {
    json!({
        "level": "note",
        "message": {"text": note},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(file.path_on_disk())}}}],
    })
}

fn error_notification(diagnostic: &Diagnostic) -> Value {
    json!({
        "level": "error",
        "message": {"text": with_hint(diagnostic)},
        "descriptor": {"id": diagnostic.code().id},
    })
}

/// A relative reference, or a `file:` URI for an absolute path.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!()+,=@".contains(&byte);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match is_plain(byte) {
            true => uri.push(char::from(byte)),
            false => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}
