//! `cargo xtask audit`: what is known about the parts of the released binary. Reads the bill of materials of `dist/`, checks its
//! crates against the RustSec database, and lists the C libraries with their versions: no database matches those by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::{Diagnostic, Diagnostics};
use serde_json::{Value, json};
use store::Digest;

use crate::Outcome;
use crate::format;
use crate::lint;
use crate::sbom_validators::{self as validators, Document};
use crate::setup::Common;

diag::codes! {
    /// There is no bill of materials.
    pub AUDIT_NO_BILL = Environment "audit-no-bill": "there is no bill of materials to audit" {
        "cause": "nothing was released into the folder yet, or a file of the release was removed",
        "fix": "run `cargo xtask dist`, or name the folder of a release: `--dist DIR`",
    }
    /// A bill of materials is not the one of the release.
    pub AUDIT_BILL_INVALID = Violation "audit-bill-invalid": "a bill of materials is not the published one, or is not valid" {
        "cause": "the file was changed after the release, or a writer in crates/sbom has a defect",
        "fix": "run `cargo xtask dist` again; `cargo xtask lint --only sbom` tests the writers",
    }
    /// The advisories would be those of other crates.
    pub AUDIT_OTHER_LOCK = Violation "audit-other-lock": "the release has another crate than Cargo.lock" {
        "cause": "Cargo.lock changed after the release, so its advisories are not those of the release",
        "fix": "check out the commit of the release, or run `cargo xtask dist`",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// The folder with the results of `cargo xtask dist` [default: dist/ of the workspace]
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let (report, problems) = audit(args)?;
    format::print(format, || report.human(), report.json(&problems))?;
    Ok(format::problems(problems))
}

fn audit(args: Args) -> anyhow::Result<(Report, Diagnostics)> {
    let root = args.common.root();
    let (context, _) = args.common.context()?;
    let dist = args.dist.unwrap_or_else(|| root.join("dist"));
    let documents = [published(&dist, ".cdx.json")?, published(&dist, ".spdx.json")?];
    let mut problems = Diagnostics::default();
    for problem in validators::invalid(&context, &documents)? {
        problems.push(Diagnostic::new(&AUDIT_BILL_INVALID, problem));
    }
    let mut report = Report::of(&documents[0]);
    let lock = root.join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    problems.extend(report.other_crates(&text).into_iter().map(|problem| problem.file(&lock)));
    match lint::advisories_of_main_workspace(&context)? {
        Ok(()) => report.advisories = "pass",
        Err(problem) => {
            report.advisories = problem.code().class.name();
            problems.push(problem);
        }
    }
    Ok((report, problems))
}

/// The file with this ending, which must have its digest of SHA256SUMS.
fn published(dist: &Path, ending: &str) -> anyhow::Result<Document> {
    let missing = || {
        Diagnostic::new(&AUDIT_NO_BILL, format!("no `*{ending}` of a release"))
            .file(dist)
            .hint("run `cargo xtask dist`, or name the folder of a release: `--dist DIR`")
    };
    let sums = std::fs::read_to_string(dist.join("SHA256SUMS")).map_err(|error| missing().cause(error))?;
    let listed = sums.lines().filter_map(|line| line.split_once("  "));
    let (expected, name) = listed.into_iter().find(|(_, name)| name.ends_with(ending)).ok_or_else(missing)?;
    let path = dist.join(name);
    let bytes = std::fs::read(&path).map_err(|error| missing().cause(error))?;
    let found = Digest::of(&bytes);
    let changed = |text: &str| Diagnostic::new(&AUDIT_BILL_INVALID, text).file(&path);
    if found.as_str() != expected {
        let problem = changed("the bill of materials changed after the release");
        return Err(problem.expected(format!("sha256 {expected}")).found(format!("sha256 {found}")).into());
    }
    let content = serde_json::from_slice(&bytes).map_err(|error| changed("it is no JSON").cause(error))?;
    Ok(Document { name: name.into(), content })
}

/// A part of the bill.
struct Part {
    name: String,
    version: String,
    licence: String,
    patches: usize,
    sha256: Option<String>,
}

/// The parts by their kind.
struct Report {
    document: String,
    c_libraries: Vec<Part>,
    toolchain_libraries: Vec<Part>,
    packages_of_std: Vec<Part>,
    crates: Vec<Part>,
    advisories: &'static str,
}

impl Report {
    /// Of a CycloneDX document.
    fn of(document: &Document) -> Self {
        let mut report = Self {
            document: document.name.clone(),
            c_libraries: Vec::new(),
            toolchain_libraries: Vec::new(),
            packages_of_std: Vec::new(),
            crates: Vec::new(),
            advisories: "not-measured",
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let made_by =
            list(&document.content["formulation"]).into_iter().flat_map(|one| list(&one["components"]));
        for component in list(&document.content["components"]).into_iter().chain(made_by) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let part = Part {
                name: text(&component["name"]),
                version: text(&component["version"]),
                licence: text(&component["licenses"][0]["expression"]),
                patches: list(&component["pedigree"]["patches"]).len(),
                sha256: component["hashes"][0]["content"].as_str().map(String::from),
            };
            let id = text(&component["bom-ref"]);
            if id.starts_with("native:") {
                report.c_libraries.push(part);
            } else if id.starts_with("runtime:cargo:") {
                report.packages_of_std.push(part);
            } else if id.starts_with("runtime:") {
                report.toolchain_libraries.push(part);
            } else if id.starts_with("cargo:") || id.starts_with("build:cargo:") {
                report.crates.push(part);
            }
        }
        report
    }

    /// Crates of the bill that Cargo.lock does not have with the same digest.
    fn other_crates(&self, lock: &str) -> Vec<Diagnostic> {
        let mut locked: BTreeMap<(&str, &str), Option<&str>> = BTreeMap::new();
        for package in lock.split("[[package]]").skip(1) {
            let value = |key: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
                line.strip_suffix('"')
            };
            if let (Some(name), Some(version)) = (value("name"), value("version")) {
                locked.insert((name, version), value("checksum"));
            }
        }
        let differs = |part: &&Part| {
            let found = locked.get(&(part.name.as_str(), part.version.as_str()));
            found.is_none_or(|checksum| *checksum != part.sha256.as_deref())
        };
        let named = |part: &Part| {
            Diagnostic::new(&AUDIT_OTHER_LOCK, format!("Cargo.lock has another `{}`", part.name)).expected(
                format!(
                    "{} {}, sha256 {}",
                    part.name,
                    part.version,
                    part.sha256.as_deref().unwrap_or("none")
                ),
            )
        };
        self.crates.iter().filter(differs).map(named).collect()
    }

    fn human(&self) -> String {
        let mut text = format!("{}\n", self.document);
        let mut table = |title: &str, parts: &[Part]| {
            if !parts.is_empty() {
                let _ = writeln!(text, "\n{title}");
            }
            for Part { name, version, licence, patches, .. } in parts {
                let patches = match patches {
                    0 => String::new(),
                    1 => "1 patch".into(),
                    many => format!("{many} patches"),
                };
                let line = format!("  {name:<16} {version:<12} {licence:<34} {patches}");
                let _ = writeln!(text, "{}", line.trim_end());
            }
        };
        table("C libraries, for which no database was asked:", &self.c_libraries);
        table("Libraries of the toolchain, likewise:", &self.toolchain_libraries);
        table("Packages inside of Rust's standard library, likewise:", &self.packages_of_std);
        let _ = writeln!(
            text,
            "\nadvisories for {} crates, with those of the build: {}",
            self.crates.len(),
            self.advisories
        );
        text
    }

    fn json(&self, problems: &Diagnostics) -> Value {
        let list = |parts: &[Part]| -> Vec<Value> {
            let one = |part: &Part| {
                json!({
                    "name": part.name, "version": part.version, "licence": part.licence, "patches": part.patches,
                })
            };
            parts.iter().map(one).collect()
        };
        json!({
            "document": self.document,
            "c_libraries": list(&self.c_libraries),
            "toolchain_libraries": list(&self.toolchain_libraries),
            "packages_of_std": list(&self.packages_of_std),
            "crates": list(&self.crates),
            "advisories": self.advisories,
            "diagnostics": problems.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Document {
        let text = include_str!("../../schemas/examples/small.cdx.json");
        Document { name: "small.cdx.json".into(), content: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn lists_c_libraries_with_their_patches() {
        let mut report = Report::of(&example());
        report.advisories = "pass";
        insta::assert_snapshot!(report.human(), @"
        small.cdx.json

        C libraries, for which no database was asked:
          numbers          3.0          BSD-3-Clause                       2 patches

        advisories for 3 crates, with those of the build: pass
        ");
    }

    #[test]
    fn rejects_a_release_of_another_lock_file() {
        let report = Report::of(&example());
        let digest = "a".repeat(64);
        let package = |name: &str, version: &str, rest: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{rest}\n")
        };
        let others = package("macros", "0.1.0", "") + &package("generator", "0.4.0", "");
        let checksum = |digest: &str| format!("checksum = \"{digest}\"");
        let problems = |text: &str| {
            report.other_crates(&format!("{others}{}", package("text", text, &checksum(&digest)))).len()
        };
        assert_eq!(problems("2.1.0"), 0);
        assert_eq!(problems("2.1.1"), 1, "another version");
        let changed = package("text", "2.1.0", &checksum(&"b".repeat(64)));
        assert_eq!(report.other_crates(&format!("{others}{changed}")).len(), 1, "another digest");
    }

    #[test]
    fn rejects_a_document_that_changed_after_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let dist = folder.path();
        let code = |ending: &str| {
            published(dist, ending).map(|_| ()).unwrap_err().downcast::<Diagnostic>().unwrap().code().id
        };
        assert_eq!(code(".cdx.json"), "audit-no-bill");
        std::fs::write(dist.join("app.cdx.json"), "{}").unwrap();
        std::fs::write(dist.join("SHA256SUMS"), format!("{}  app.cdx.json\n", Digest::of(b"{}"))).unwrap();
        published(dist, ".cdx.json").unwrap();
        assert_eq!(code(".spdx.json"), "audit-no-bill");
        std::fs::write(dist.join("app.cdx.json"), "{ }").unwrap();
        assert_eq!(code(".cdx.json"), "audit-bill-invalid");
    }
}
