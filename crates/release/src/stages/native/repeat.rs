//! Reproducibility: each library is built several times from an empty folder, and every archive must be the same byte for
//! byte. The builds differ in everything that must not matter: the folder and the length of its name, the time that the
//! compiler sees, one job or many, and the order of work. Each run is compared with the first one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use diag::Diagnostic;
use object::read::archive::ArchiveFile;
use serde::Serialize;

use super::library::{BuildReport, StepTime};
use super::{BuildVariation, NativeBuild, make};
use crate::artifact;
use crate::codes::NATIVE_NOT_REPRODUCIBLE;
use crate::context::BuildContext;
use crate::jobs::Jobs;
use crate::library::LibraryPlan;
use crate::native_inputs::NativeInputs;
use crate::plan::Plan;
use crate::stages::toolchain::Toolchain;
use process::CpuTime;
use store::Digest;
use store::cannot_write;

/// All builds of one library.
#[derive(Debug, Serialize)]
pub struct RepeatReport {
    /// Name of the library.
    pub library: String,
    /// The builds in their order.
    pub runs: Vec<Run>,
    /// Differences from the first run, in sentences.
    pub differences: Vec<String>,
    /// Time to verify the cache entry; nothing when the library is not in the cache.
    pub check_seconds: Option<f64>,
}

/// One build.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The conditions, in words.
    pub variation: String,
    /// Job tokens.
    pub jobs: usize,
    /// In the usual order of work.
    pub plain: bool,
    /// Elapsed time.
    pub wall_seconds: f64,
    /// Processor time.
    pub cpu_seconds: f64,
    /// Time of each step.
    pub steps: Vec<StepTime>,
    /// Digest of the archive.
    pub sha256: Digest,
}

/// Builds a library `times` times and compares the outputs.
pub fn repeat(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    library: &LibraryPlan,
    source: &Path,
    times: usize,
) -> anyhow::Result<RepeatReport> {
    let inputs = &NativeInputs::new(&plan.target, context, toolchain, library)?;
    let mut report = RepeatReport {
        library: library.name.clone(),
        runs: Vec::new(),
        differences: Vec::new(),
        check_seconds: None,
    };
    let mut first: Option<Vec<(String, Vec<u8>)>> = None;
    for number in 0..times {
        let variation = variation(number);
        let jobs = if number == 0 { 1 } else { plan.jobs };
        let base = plan.paths.work.join("repeat").join("x".repeat(1 + 7 * number % 40));
        std::fs::create_dir_all(&base).map_err(|error| cannot_write(&base, error))?;
        let staging = tempfile::tempdir_in(&base).map_err(|error| cannot_write(&base, error))?;
        let pool = Jobs::new(jobs)?;
        let (started, cpu) = (Instant::now(), CpuTime::now());
        let build = NativeBuild {
            context,
            toolchain,
            inputs,
            library,
            jobs: &pool,
            variation: &variation,
            staging: staging.path(),
            tree: &staging.path().join("tree"),
            log: &plan.log(&library.name),
        };
        let record = make(plan, &build, source)?;
        let (wall_seconds, cpu_seconds) =
            (started.elapsed().as_secs_f64(), CpuTime::now().since(cpu).as_secs_f64());
        let outputs = library
            .build()
            .keep_files
            .iter()
            .chain([&library.build().archive])
            .map(|name| Ok((name.clone(), artifact::read(&staging.path().join(name))?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let shuffled = variation.shuffle.map_or_else(String::new, |seed| format!(", order {seed}"));
        let epoch = variation.epoch_seconds.unwrap_or_default();
        report.runs.push(Run {
            variation: format!(
                "-j{jobs}, clock at {epoch}{shuffled}, folder of {} letters",
                staging.path().as_os_str().len()
            ),
            jobs,
            plain: variation.shuffle.is_none(),
            wall_seconds,
            cpu_seconds,
            steps: BuildReport::steps_of(staging.path())?,
            sha256: record.files[&library.build().archive].clone(),
        });
        match &first {
            None => first = Some(outputs),
            Some(first) => {
                for ((name, old), (_, new)) in first.iter().zip(&outputs) {
                    let found = differences(old, new).with_context(|| format!("comparing {name}"))?;
                    report
                        .differences
                        .extend(found.into_iter().map(|what| format!("run {}: {name}: {what}", number + 1)));
                }
            }
        }
        context.runner.check()?;
    }
    let started = Instant::now();
    if context.store.find(inputs.entry()).is_some() {
        report.check_seconds = Some(started.elapsed().as_secs_f64());
    }
    Ok(report)
}

/// The first two runs use the usual order, with one job and with all, so that their times can be compared; the others use
/// other orders. Each has another time, days apart.
fn variation(number: usize) -> BuildVariation {
    let number = number as u64;
    BuildVariation {
        shuffle: (number > 1).then_some(number),
        epoch_seconds: Some(1_000_000_000 + number * 1_000_003),
    }
}

/// The differences, by member where both files are archives.
fn differences(old: &[u8], new: &[u8]) -> anyhow::Result<Vec<String>> {
    if old == new {
        return Ok(Vec::new());
    }
    let (Ok(_), Ok(_)) = (ArchiveFile::parse(old), ArchiveFile::parse(new)) else {
        return Ok(vec!["other bytes".into()]);
    };
    let (old, new) = (members(old)?, members(new)?);
    let names = |members: &[(String, Digest)]| -> Vec<String> {
        members.iter().map(|(name, _)| name.clone()).collect()
    };
    let mut found = Vec::new();
    if names(&old) != names(&new) {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (names(&old).into_iter().collect(), names(&new).into_iter().collect());
        let only: Vec<&str> = old.symmetric_difference(&new).map(String::as_str).collect();
        found.push(match only.as_slice() {
            [] => "the members are in another order".into(),
            only => format!("only in one of both: {}", only.join(", ")),
        });
    }
    for (name, digest) in &old {
        if new.iter().any(|(other, bytes)| other == name && bytes != digest) {
            found.push(format!("member `{name}` has other bytes"));
        }
    }
    if found.is_empty() {
        found.push("the same members, with other headers or another index".into());
    }
    Ok(found)
}

fn members(archive: &[u8]) -> anyhow::Result<Vec<(String, Digest)>> {
    ArchiveFile::parse(archive)
        .context("not an archive")?
        .members()
        .map(|member| {
            let member = member.context("damaged archive")?;
            let data = member.data(archive).context("damaged archive")?;
            Ok((String::from_utf8_lossy(member.name()).into_owned(), Digest::of(data)))
        })
        .collect()
}

impl RepeatReport {
    /// The differences as a violation.
    pub fn problem(&self) -> Option<Diagnostic> {
        (!self.differences.is_empty()).then(|| {
            Diagnostic::new(&NATIVE_NOT_REPRODUCIBLE, "builds from the same inputs differ")
                .rule(&self.library)
                .expected(format!("the same bytes from {} builds", self.runs.len()))
                .found(self.differences.join("\n"))
                .hint("compare the named members with `objdump -s`; the conditions of each run are listed above")
        })
    }

    /// For terminals.
    pub fn human(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}", self.library);
        for (number, run) in self.runs.iter().enumerate() {
            let _ = writeln!(
                text,
                "  run {}  {:>6.1} s  {:>6.1} CPU s  {}  {}",
                number + 1,
                run.wall_seconds,
                run.cpu_seconds,
                run.sha256.short(),
                run.variation
            );
            for step in &run.steps {
                let _ = writeln!(text, "         {step}");
            }
        }
        if let [one, many, ..] = self.runs.as_slice()
            && many.plain
            && many.jobs > 1
        {
            let ratio = one.wall_seconds / many.wall_seconds;
            let _ = writeln!(text, "  -j1 takes {ratio:.2} times as long as -j{}", many.jobs);
        }
        match self.check_seconds {
            Some(seconds) => {
                let _ = writeln!(text, "  with nothing changed: {:.1} ms", seconds * 1000.0);
            }
            None => text.push_str("  with nothing changed: not measured, it is not in the cache\n"),
        }
        for difference in &self.differences {
            let _ = writeln!(text, "  DIFFERS  {difference}");
        }
        let verdict = match self.differences.len() {
            0 => format!("  {} builds, the same bytes", self.runs.len()),
            count => format!("  violated: {count} differences"),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchset::archive_fixture::archive_of;

    #[test]
    fn differences_are_a_violation() {
        let report = |differences: &[&str]| RepeatReport {
            library: "z".into(),
            runs: Vec::new(),
            differences: differences.iter().map(|text| (*text).into()).collect(),
            check_seconds: None,
        };
        assert!(report(&[]).problem().is_none());
        let problem = report(&["run 2: libz.a: member `b.o` has other bytes"]).problem().unwrap();
        assert_eq!(diag::exit_code(std::slice::from_ref(&problem)), 1);
        insta::assert_snapshot!(problem, @r"
        builds from the same inputs differ
          --> rule z
          expected: the same bytes from 0 builds
          found:    run 2: libz.a: member `b.o` has other bytes
        ");
    }

    #[test]
    fn names_the_member_that_differs() {
        let archive = archive_of(&[("a.o", b"one"), ("b.o", b"two")]);
        assert!(differences(&archive, &archive).unwrap().is_empty());
        let others = [
            archive_of(&[("a.o", b"one"), ("b.o", b"twO")]),
            archive_of(&[("b.o", b"two"), ("a.o", b"one")]),
            archive_of(&[("a.o", b"one")]),
        ];
        let found = others.map(|other| {
            let found = differences(&archive, &other).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            found.concat()
        });
        insta::assert_snapshot!(found.join("\n"), @"
        member `b.o` has other bytes
        the members are in another order
        only in one of both: b.o
        ");
        let mut timed = archive.clone();
        timed[8 + 16] = b'7';
        assert_eq!(
            differences(&archive, &timed).unwrap(),
            ["the same members, with other headers or another index"]
        );
        assert_eq!(differences(b"#define X 1", b"#define X 2").unwrap(), ["other bytes"]);
    }
}
