//! Progress of a set of fuzz targets in a file, so that an interrupted run can be resumed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::Diagnostic;
use serde_json::{Value, json};

use super::NO_SESSION;

/// What one target did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResult {
    pub target: String,
    pub executions: u64,
    pub seconds: u64,
    pub rss_mib_max: u64,
    pub has_finding: bool,
}

impl TargetResult {
    pub fn json(&self) -> Value {
        let Self { target, executions, seconds, rss_mib_max, has_finding } = self;
        json!({
            "target": target,
            "executions": executions,
            "seconds": seconds,
            "rss_mib_max": rss_mib_max,
            "has_finding": has_finding,
        })
    }
}

/// The targets of a run, the time of each, and the results so far.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    path: PathBuf,
    targets: Vec<String>,
    pub seconds_per_target: u64,
    results: Vec<TargetResult>,
}

impl Session {
    /// A new session, which replaces the one in the file.
    pub fn start(path: &Path, targets: Vec<String>, seconds_per_target: u64) -> anyhow::Result<Self> {
        let session = Self { path: path.into(), targets, seconds_per_target, results: Vec::new() };
        session.save()?;
        Ok(session)
    }

    /// The session in the file.
    pub fn resume(path: &Path) -> anyhow::Result<Self> {
        let unusable = |found: String| {
            Diagnostic::new(&NO_SESSION, "there is no session to resume")
                .file(path)
                .expected("the file of an earlier `cargo xtask fuzz`")
                .found(found)
                .hint("start one: cargo xtask fuzz")
        };
        let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let value = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        Ok(Self::parse(path, &value).ok_or_else(|| unusable("a file of another format".into()))?)
    }

    fn parse(path: &Path, value: &Value) -> Option<Self> {
        let targets = value["targets"].as_array()?.iter().map(|name| Some(name.as_str()?.into()));
        let results = value["results"].as_array()?.iter().map(|result| {
            Some(TargetResult {
                target: result["target"].as_str()?.into(),
                executions: result["executions"].as_u64()?,
                seconds: result["seconds"].as_u64()?,
                rss_mib_max: result["rss_mib_max"].as_u64()?,
                has_finding: result["has_finding"].as_bool()?,
            })
        });
        Some(Self {
            path: path.into(),
            targets: targets.collect::<Option<_>>()?,
            seconds_per_target: value["seconds_per_target"].as_u64()?,
            results: results.collect::<Option<_>>()?,
        })
    }

    /// Targets without a result. An interrupted target starts again, with the corpus that it has collected.
    pub fn remaining(&self) -> Vec<String> {
        let is_done = |target: &String| self.results.iter().any(|result| result.target == *target);
        self.targets.iter().filter(|target| !is_done(target)).cloned().collect()
    }

    /// Results so far.
    pub fn results(&self) -> &[TargetResult] {
        &self.results
    }

    /// Adds a result and saves the session.
    pub fn add(&mut self, result: TargetResult) -> anyhow::Result<()> {
        self.results.push(result);
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        let results: Vec<Value> = self.results.iter().map(TargetResult::json).collect();
        let document = json!({
            "targets": self.targets,
            "seconds_per_target": self.seconds_per_target,
            "results": results,
        });
        // By rename, so that an interruption leaves the previous state.
        let staging = self.path.with_extension("json.new");
        std::fs::write(&staging, format!("{document:#}\n"))
            .and_then(|()| std::fs::rename(&staging, &self.path))
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(target: &str) -> TargetResult {
        TargetResult {
            target: target.into(),
            executions: 7,
            seconds: 60,
            rss_mib_max: 200,
            has_finding: target == "upx",
        }
    }

    #[test]
    fn a_resumed_session_has_the_remaining_targets_and_the_results() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let targets = ["facts", "upx", "edits"].map(String::from).to_vec();
        let mut session = Session::start(&path, targets, 60).unwrap();
        session.add(result("upx")).unwrap();
        let mut resumed = Session::resume(&path).unwrap();
        assert_eq!(resumed, session);
        assert_eq!(resumed.remaining(), ["facts", "edits"]);
        for target in ["facts", "edits"] {
            resumed.add(result(target)).unwrap();
        }
        let finished = Session::resume(&path).unwrap();
        assert_eq!((finished.remaining().len(), finished.results().len()), (0, 3));
    }

    #[test]
    fn rejects_a_missing_or_foreign_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        assert!(diag::has_code(&Session::resume(&path).unwrap_err(), &NO_SESSION));
        for text in ["", "{}", r#"{"targets":[1],"seconds_per_target":1,"results":[]}"#] {
            std::fs::write(&path, text).unwrap();
            assert!(diag::has_code(&Session::resume(&path).unwrap_err(), &NO_SESSION), "{text}");
        }
    }
}
