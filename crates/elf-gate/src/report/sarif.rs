//! SARIF 2.1.0. Only what is wrong becomes a result: services show every result as an alert, whatever its kind says.

use serde_json::{Value, json};

use super::{FileReport, FileState, Report, Standing, TOOL, sentence, waived};
use crate::policy::{RULES, Severity, Verdict};

/// The rule that a file breaks of which no facts could be had.
const UNREADABLE: &str = "not-judged";

pub(super) fn log(report: &Report) -> Value {
    let results: Vec<Value> = report.files.iter().flat_map(results).collect();
    let notifications: Vec<Value> =
        report.files.iter().flat_map(|file| file.notes.iter().map(|note| notification(file, note))).collect();
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
            "properties": {"verdict": report.verdict, "summary": report.summary},
        }],
    })
}

fn rules() -> Vec<Value> {
    let described = RULES.iter().map(|rule| {
        let help = format!("{}\n\nWould have stopped: {}\n\nFix: {}", rule.why, rule.incident, rule.fix);
        json!({
            "id": rule.id,
            "shortDescription": {"text": rule.catches},
            "fullDescription": {"text": rule.why},
            "help": {"text": help},
            "defaultConfiguration": {"level": "error"},
        })
    });
    let unreadable = json!({
        "id": UNREADABLE,
        "shortDescription": {"text": "a file of which nothing can be told"},
        "fullDescription": {"text": "what cannot be read cannot be promised anything about"},
        "help": {"text": "the message of the result says what was found"},
        "defaultConfiguration": {"level": "error"},
    });
    described.chain([unreadable]).collect()
}

fn results(file: &FileReport) -> Vec<Value> {
    let mut results = Vec::new();
    if let FileState::Unreadable { error, hint, verdict } = &file.state {
        results.push(result(file, UNREADABLE, *verdict, "error", &format!("{error}\nhint: {hint}")));
    }
    for (outcome, standing) in file.remarkable() {
        let level = match outcome.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let text = format!("{}\nhint: {}", sentence(outcome), outcome.hint);
        let mut result = result(file, outcome.rule, outcome.verdict, level, &text);
        if standing == Standing::Waived {
            let reason = waived(outcome).unwrap_or_default();
            result["suppressions"] =
                json!([{"kind": "external", "status": "accepted", "justification": reason}]);
        }
        results.push(result);
    }
    results
}

/// "Cannot tell" is a failure, too: SARIF's kind `open` may only have the level `none`, which services hide.
fn result(file: &FileReport, rule: &str, verdict: Verdict, level: &str, text: &str) -> Value {
    let index = RULES.iter().position(|known| known.id == rule).unwrap_or(RULES.len());
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(file.path_on_disk())},
            // A binary has no lines; services insist on one.
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
        // What stays the same when the file is built again: an alert is then the old one and not a new one.
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

/// A relative reference, or a `file:` URI of an absolute path.
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
