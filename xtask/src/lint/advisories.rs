//! Known vulnerabilities, by cargo-deny and the RustSec database.
//!
//! cargo-deny exits with the same status for a vulnerability and for a database that cannot be read, so its summary line
//! decides: it is printed only after a complete check.

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;

use super::report::Status;
use super::tools::Tool;
use super::{LINT_NOT_MEASURED, OTHER_WORKSPACES, tool};

/// An up-to-date database is fetched first. Where that fails, one that is younger than `maximum-db-staleness` in deny.toml
/// still serves.
pub fn check(context: &BuildContext, required: bool) -> anyhow::Result<Status> {
    let all: Vec<&str> = ["Cargo.toml"].into_iter().chain(OTHER_WORKSPACES).collect();
    check_manifests(context, &all, required)
}

/// The same for some workspaces.
pub fn check_manifests(context: &BuildContext, manifests: &[&str], required: bool) -> anyhow::Result<Status> {
    let mut failed_fetch = None;
    if !context.offline {
        let fetch = Task::new("fetch the advisory database", tool(context, Tool::Deny, &["fetch", "db"])?);
        let output = context.runner.output(fetch)?;
        if !output.status.success() {
            failed_fetch = Some(first_error(&String::from_utf8_lossy(&output.stderr)));
        }
    }
    let mut status = Status::Pass;
    for manifest in manifests {
        status = status.and(check_workspace(context, manifest, required, failed_fetch.as_deref())?);
    }
    Ok(status)
}

fn check_workspace(
    context: &BuildContext,
    manifest: &str,
    required: bool,
    failed_fetch: Option<&str>,
) -> anyhow::Result<Status> {
    let mut deny = tool(context, Tool::Deny, &["--manifest-path", manifest, "--config", "deny.toml"])?;
    deny.args(["--locked", "--offline", "--workspace", "check", "advisories"]);
    let output = context.runner.output(Task::new(format!("check the advisories of {manifest}"), deny))?;
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    match (output.status.success(), is_complete(&text)) {
        (true, true) => Ok(Status::Pass),
        (false, true) => {
            eprint!("{text}");
            Ok(Status::Violated)
        }
        (_, false) => {
            let mut reason = Diagnostic::new(&LINT_NOT_MEASURED, "the advisory database cannot be read")
                .file(manifest)
                .cause(first_error(&text))
                .hint("run it where the database of deny.toml can be fetched with git");
            if let Some(failed) = failed_fetch {
                reason = reason.cause(failed);
            }
            Ok(Status::NotMeasured(if required { reason } else { reason.warning() }))
        }
    }
}

fn is_complete(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("advisories "))
}

/// cargo-deny's first log line of level ERROR, without its time.
fn first_error(text: &str) -> String {
    let line = text.lines().find_map(|line| line.split_once("[ERROR] "));
    line.map_or_else(|| "no reason given".into(), |(_, message)| message.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_summary_line_is_a_complete_check() {
        assert!(is_complete("error[vulnerability]: x\nadvisories FAILED\n"));
        assert!(is_complete("advisories ok\n"));
        assert!(!is_complete("2026-01-02 03:04:05 [ERROR] failed to load advisories database\n"));
    }

    #[test]
    fn quotes_the_first_error_of_the_log() {
        assert_eq!(first_error("2026-01-02 03:04:05 [ERROR] unable to fetch\nmore"), "unable to fetch");
        assert_eq!(first_error(""), "no reason given");
    }
}
