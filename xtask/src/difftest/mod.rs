//! `cargo xtask difftest`: compares the facts of the gate with those of readelf and LIEF on all ELF files of this machine, its
//! SARIF with the published schema, and its speed with that of readelf and checksec.
//!
//! A difference is a defect of the gate unless `known_differences` lists its reason. A release does not need this verb.

mod bench;
mod gate;
pub mod kernel;
mod known_differences;
mod lief;
mod readelf;
mod sarif;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::bail;
use elf_gate::cli::{Inputs, Source};
use serde_json::{Value, json};

use crate::Outcome;
use crate::format::{self, Format};
use crate::setup::Common;
use sarif::SarifResult;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Folders and files that are searched for ELF files
    #[arg(default_values = ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local"], value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Compare with readelf only; nothing is downloaded
    #[arg(long)]
    without_lief: bool,
    /// Measure speed instead: the gate, readelf and checksec in turns on the first 1,000 files
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Subcommand)]
enum Other {
    /// Execute programs with edited headers, and compare what starts with what the gate accepts
    Kernel(kernel::Args),
}

/// The facts that one tool reads from a file, each as a list of lines. Only facts of both tools are compared.
type ToolFacts = BTreeMap<&'static str, Vec<String>>;

/// A fact of a file on which two tools differ.
struct Difference {
    file: PathBuf,
    tool: &'static str,
    fact: &'static str,
    /// Value of the gate.
    gate: String,
    /// Value of the other tool.
    other: String,
}

impl Args {
    pub fn format(&self) -> Format {
        match &self.other {
            Some(Other::Kernel(kernel)) => kernel.common.format,
            None => self.common.format,
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(Other::Kernel(args)) = &args.other {
        return kernel::run(args);
    }
    let format = args.common.format;
    // Before the first use of the thread pool, which `--jobs` bounds.
    let (context, _) = args.common.context()?;
    let files = elf_files(&args.paths)?;
    if files.is_empty() {
        bail!("no ELF file in the given folders");
    }
    if args.bench {
        return bench::run(format, &files);
    }
    format::print_part(format, &format!("{} ELF files\n", files.len()))?;
    let facts = gate::read(&files);
    let rejected: Vec<(&PathBuf, &String)> =
        files.iter().zip(&facts).filter_map(|(file, facts)| Some((file, facts.as_ref().err()?))).collect();
    let lines = rejected.iter().map(|(file, error)| format!("rejected  {}: {error}\n", file.display()));
    format::print_part(format, &lines.collect::<String>())?;
    let readelf = Comparison::of("readelf", &files, &facts, &readelf::read(&files)?);
    format::print_part(format, &readelf.human())?;
    let (mut comparisons, mut sarif) = (vec![readelf], Vec::new());
    if !args.without_lief {
        let lief = Comparison::of("LIEF", &files, &facts, &lief::read(&context, &files)?);
        format::print_part(format, &lief.human())?;
        comparisons.push(lief);
        sarif = sarif::check(&context)?;
        format::print_part(format, &sarif.iter().map(SarifResult::human).collect::<String>())?;
    }
    let is_equal = rejected.is_empty()
        && comparisons.iter().all(|comparison| comparison.unknown.is_empty())
        && sarif.iter().all(SarifResult::is_expected);
    let rejected = rejected.iter().map(|(file, error)| json!({ "file": file, "error": error }));
    let document = json!({
        "files": files.len(),
        "is_equal": is_equal,
        "rejected": rejected.collect::<Vec<_>>(),
        "comparisons": comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
        "sarif": sarif.iter().map(SarifResult::json).collect::<Vec<_>>(),
        "diagnostics": [],
    });
    format::print(format, String::new, document)?;
    Ok(if is_equal { Outcome::Pass } else { Outcome::Violated })
}

fn elf_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let existing: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
    let inputs = Inputs::of(&existing)?;
    let files = inputs.files.into_iter().filter_map(|input| match input.source {
        Source::Path(path) if is_elf(&path) => Some(path),
        _ => None,
    });
    Ok(files.collect())
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn compare(
    tool: &'static str,
    files: &[PathBuf],
    gate: &[Result<ToolFacts, String>],
    other: &BTreeMap<PathBuf, ToolFacts>,
) -> (usize, Vec<Difference>) {
    let mut compared = 0;
    let mut differences = Vec::new();
    for (file, gate) in files.iter().zip(gate) {
        let Ok(gate) = gate else { continue };
        let Some(other) = other.get(file) else {
            let (gate, other) = ("readable".into(), "not read".into());
            differences.push(Difference { file: file.clone(), tool, fact: "file", gate, other });
            continue;
        };
        for (fact, other) in other {
            let Some(gate) = gate.get(fact) else { continue };
            compared += 1;
            if gate != other {
                let (gate, other) = first_difference(gate, other);
                differences.push(Difference { file: file.clone(), tool, fact, gate, other });
            }
        }
    }
    (compared, differences)
}

fn first_difference(gate: &[String], other: &[String]) -> (String, String) {
    let at = (0..gate.len().max(other.len())).find(|&index| gate.get(index) != other.get(index));
    let show = |lines: &[String]| {
        let line = at.and_then(|at| lines.get(at)).map_or("nothing", String::as_str);
        format!("{} of {}: {line}", at.unwrap_or(0) + 1, lines.len())
    };
    (show(gate), show(other))
}

/// The facts of the gate beside those of one tool.
struct Comparison {
    tool: &'static str,
    /// Facts.
    compared: usize,
    /// Differences that are no defect of the gate, by reason.
    known: BTreeMap<&'static str, usize>,
    unknown: Vec<Difference>,
}

impl Comparison {
    fn of(
        tool: &'static str,
        files: &[PathBuf],
        gate: &[Result<ToolFacts, String>],
        other: &BTreeMap<PathBuf, ToolFacts>,
    ) -> Self {
        let (compared, differences) = compare(tool, files, gate, other);
        let mut comparison = Self { tool, compared, known: BTreeMap::new(), unknown: Vec::new() };
        for difference in differences {
            match known_differences::reason(&difference) {
                Some(reason) => *comparison.known.entry(reason).or_insert(0) += 1,
                None => comparison.unknown.push(difference),
            }
        }
        comparison
    }

    fn human(&self) -> String {
        const SHOWN: usize = 40;
        let Self { tool, compared, known, unknown } = self;
        let differ = unknown.len() + known.values().sum::<usize>();
        let mut text =
            format!("{tool}: {compared} facts compared, {differ} differ, {} unknown\n", unknown.len());
        let mut by_fact: BTreeMap<&str, usize> = BTreeMap::new();
        for difference in unknown {
            *by_fact.entry(difference.fact).or_insert(0) += 1;
        }
        for (fact, count) in by_fact {
            let _ = writeln!(text, "  {count:6}  unknown: {fact}");
        }
        for (reason, count) in known {
            let _ = writeln!(text, "  {count:6}  known: {reason}");
        }
        for Difference { file, fact, gate, other, .. } in unknown.iter().take(SHOWN) {
            let file = file.display();
            let _ = writeln!(text, "  {file}: {fact}\n    gate     {gate}\n    {tool:7}  {other}");
        }
        text
    }

    /// With every unknown difference.
    fn json(&self) -> Value {
        let difference = |Difference { file, fact, gate, other, .. }: &Difference| json!({ "file": file, "fact": fact, "gate": gate, "other": other });
        json!({
            "tool": self.tool,
            "facts_compared": self.compared,
            "known": self.known,
            "unknown": self.unknown.iter().map(difference).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(facts: &[(&'static str, &str)]) -> ToolFacts {
        facts.iter().map(|(fact, value)| (*fact, vec![(*value).to_string()])).collect()
    }

    #[test]
    fn text_and_data_have_every_unknown_difference() {
        let files = ["/bin/a", "/bin/b", "/bin/c"].map(PathBuf::from);
        let gate = [
            Ok(facts(&[("entry", "0x10"), ("type", "DYN")])),
            Ok(facts(&[("entry", "0x20")])),
            Err("no ELF file".into()),
        ];
        let other = BTreeMap::from([(files[0].clone(), facts(&[("entry", "0x11"), ("type", "DYN")]))]);
        let comparison = Comparison::of("readelf", &files, &gate, &other);
        insta::assert_snapshot!(comparison.human(), @"
        readelf: 2 facts compared, 2 differ, 2 unknown
               1  unknown: entry
               1  unknown: file
          /bin/a: entry
            gate     1 of 1: 0x10
            readelf  1 of 1: 0x11
          /bin/b: file
            gate     readable
            readelf  not read
        ");
        insta::assert_snapshot!(format!("{:#}", comparison.json()), @r#"
        {
          "facts_compared": 2,
          "known": {},
          "tool": "readelf",
          "unknown": [
            {
              "fact": "entry",
              "file": "/bin/a",
              "gate": "1 of 1: 0x10",
              "other": "1 of 1: 0x11"
            },
            {
              "fact": "file",
              "file": "/bin/b",
              "gate": "readable",
              "other": "not read"
            }
          ]
        }
        "#);
    }
}
