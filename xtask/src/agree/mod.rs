//! `cargo xtask agree`: compares the gate's facts with what readelf and LIEF read from the same files, on every ELF file
//! of this machine, its SARIF with the published schema, and its speed with readelf's and checksec's.
//!
//! A disagreement is a defect of the gate until `explained` says why it is none. Nothing here is needed for a release.

mod bench;
mod explained;
mod gate;
mod lief;
mod readelf;
mod sarif;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::Outcome;
use crate::setup::Common;
use crate::verify_elf::inputs::{Inputs, Source};

#[derive(clap::Args)]
pub struct Args {
    /// Folders and files to look for ELF files in.
    #[arg(default_values = ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local"], value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Compare with readelf alone, which every machine that links has; nothing is fetched.
    #[arg(long)]
    without_lief: bool,
    /// Measure speed instead: the gate, readelf and checksec side by side on the first 1,000 files.
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    common: Common,
}

/// What one tool reads from a file: facts by name, each a list of lines. Only facts that both tools name are compared.
type Reading = BTreeMap<&'static str, Vec<String>>;

/// One fact of one file on which two tools differ.
struct Difference {
    file: PathBuf,
    tool: &'static str,
    fact: &'static str,
    ours: String,
    theirs: String,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let files = elf_files(&args.paths)?;
    if files.is_empty() {
        bail!("no ELF file in the given folders");
    }
    if args.bench {
        return bench::run(&files);
    }
    let mut all_agree = true;
    println!("{} ELF files", files.len());
    let ours = gate::read(&files);
    let refused = ours.iter().zip(&files).filter_map(|(reading, file)| Some((file, reading.as_ref().err()?)));
    for (file, error) in refused {
        all_agree = false;
        println!("refused  {}: {error}", file.display());
    }
    let theirs = readelf::read(&files)?;
    all_agree &= show("readelf", &compare("readelf", &files, &ours, &theirs));
    if !args.without_lief {
        let (site, _) = args.common.site()?;
        let theirs = lief::read(&site, &files)?;
        all_agree &= show("LIEF", &compare("LIEF", &files, &ours, &theirs));
        all_agree &= sarif::check(&site)?;
    }
    Ok(if all_agree { Outcome::Pass } else { Outcome::Violated })
}

fn elf_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let there: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
    let inputs = Inputs::of(&there)?;
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
    ours: &[Result<Reading, String>],
    theirs: &BTreeMap<PathBuf, Reading>,
) -> (usize, Vec<Difference>) {
    let mut compared = 0;
    let mut differences = Vec::new();
    for (file, ours) in files.iter().zip(ours) {
        let Ok(ours) = ours else { continue };
        let Some(theirs) = theirs.get(file) else {
            let (ours, theirs) = ("read".into(), "nothing".into());
            differences.push(Difference { file: file.clone(), tool, fact: "file", ours, theirs });
            continue;
        };
        for (fact, theirs) in theirs {
            let Some(ours) = ours.get(fact) else { continue };
            compared += 1;
            if ours != theirs {
                let (ours, theirs) = first_difference(ours, theirs);
                differences.push(Difference { file: file.clone(), tool, fact, ours, theirs });
            }
        }
    }
    (compared, differences)
}

fn first_difference(ours: &[String], theirs: &[String]) -> (String, String) {
    let at = (0..ours.len().max(theirs.len())).find(|&index| ours.get(index) != theirs.get(index));
    let show = |lines: &[String]| {
        let line = at.and_then(|at| lines.get(at)).map_or("nothing", String::as_str);
        format!("{} of {}: {line}", at.unwrap_or(0) + 1, lines.len())
    };
    (show(ours), show(theirs))
}

/// True when nothing is left unexplained.
fn show(tool: &str, (compared, differences): &(usize, Vec<Difference>)) -> bool {
    const SHOWN: usize = 40;
    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for difference in differences {
        match explained::reason(difference) {
            Some(reason) => *explained.entry(reason).or_insert(0) += 1,
            None => open.push(difference),
        }
    }
    println!("{tool}: {compared} facts compared, {} differ, {} unexplained", differences.len(), open.len());
    let mut by_fact: BTreeMap<&str, usize> = BTreeMap::new();
    for difference in &open {
        *by_fact.entry(difference.fact).or_insert(0) += 1;
    }
    for (fact, count) in by_fact {
        println!("  {count:6}  unexplained: {fact}");
    }
    for (reason, count) in explained {
        println!("  {count:6}  explained: {reason}");
    }
    for Difference { file, fact, ours, theirs, .. } in open.iter().take(SHOWN) {
        println!("  {}: {fact}\n    gate     {ours}\n    {tool:7}  {theirs}", file.display());
    }
    open.is_empty()
}
