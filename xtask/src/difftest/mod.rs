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
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::bail;
use elf_gate::cli::{Inputs, Source};

use crate::Outcome;
use crate::setup::Common;

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

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(Other::Kernel(args)) = &args.other {
        return kernel::run(args);
    }
    // Before the first use of the thread pool, which `--jobs` bounds.
    let (context, _) = args.common.context()?;
    let files = elf_files(&args.paths)?;
    if files.is_empty() {
        bail!("no ELF file in the given folders");
    }
    if args.bench {
        return bench::run(&files);
    }
    let mut is_equal = true;
    println!("{} ELF files", files.len());
    let facts = gate::read(&files);
    let rejected = facts.iter().zip(&files).filter_map(|(facts, file)| Some((file, facts.as_ref().err()?)));
    for (file, error) in rejected {
        is_equal = false;
        println!("rejected  {}: {error}", file.display());
    }
    let readelf = readelf::read(&files)?;
    is_equal &= show("readelf", &compare("readelf", &files, &facts, &readelf));
    if !args.without_lief {
        let lief = lief::read(&context, &files)?;
        is_equal &= show("LIEF", &compare("LIEF", &files, &facts, &lief));
        is_equal &= sarif::check(&context)?;
    }
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

/// True when all differences are known.
fn show(tool: &str, (compared, differences): &(usize, Vec<Difference>)) -> bool {
    const SHOWN: usize = 40;
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unknown = Vec::new();
    for difference in differences {
        match known_differences::reason(difference) {
            Some(reason) => *known.entry(reason).or_insert(0) += 1,
            None => unknown.push(difference),
        }
    }
    println!("{tool}: {compared} facts compared, {} differ, {} unknown", differences.len(), unknown.len());
    let mut by_fact: BTreeMap<&str, usize> = BTreeMap::new();
    for difference in &unknown {
        *by_fact.entry(difference.fact).or_insert(0) += 1;
    }
    for (fact, count) in by_fact {
        println!("  {count:6}  unknown: {fact}");
    }
    for (reason, count) in known {
        println!("  {count:6}  known: {reason}");
    }
    for Difference { file, fact, gate, other, .. } in unknown.iter().take(SHOWN) {
        println!("  {}: {fact}\n    gate     {gate}\n    {tool:7}  {other}", file.display());
    }
    unknown.is_empty()
}
