//! `cargo xtask cache ls|verify|gc`: what is in the cache, whether it holds, and what may go.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use release::toolchain::{Finding, Site, provide};
use serde_json::json;
use store::inventory::{self, CacheEntryInfo, GcPolicy, Kind, State, Verdict};
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List what is there: kind, size, when it was last used, whether another process holds it
    Ls {
        #[command(flatten)]
        output: Output,
    },
    /// Compare every file of every entry with its recorded digest
    Verify {
        #[command(flatten)]
        output: Output,
        /// Remove broken entries; the next build makes them anew
        #[arg(long)]
        repair: bool,
    },
    /// Remove what the present plan does not use, and what was left behind; never what another process holds
    Gc {
        #[command(flatten)]
        output: Output,
        /// Only what was not used for so many days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
        /// Only as much as brings the cache below this size, least recently used first: "2 GiB"
        #[arg(long, value_name = "SIZE", value_parser = |text: &str| ByteSize::try_from(text.to_string()))]
        max_size: Option<ByteSize>,
        /// zig's own cache too
        #[arg(long)]
        scratch: bool,
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(ClapArgs)]
struct Output {
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.verb {
        Verb::Ls { output } => ls(&output),
        Verb::Verify { output, repair } => verify(&output, repair),
        Verb::Gc { output, older_than, max_size, scratch, dry_run } => {
            let wish = GcPolicy {
                older_than: older_than.map(|days| Duration::from_secs(days.saturating_mul(86_400))),
                bytes_max: max_size.map(|size| size.0),
                scratch,
                planned: Vec::new(),
            };
            gc(&output, wish, dry_run)
        }
    }
}

impl Output {
    fn print(&self, human: impl FnOnce() -> String, json: serde_json::Value) -> anyhow::Result<()> {
        stdout::print(&match self.format {
            Format::Human => human(),
            Format::Json => format!("{json:#}\n"),
        })
    }
}

fn ls(output: &Output) -> anyhow::Result<Outcome> {
    let (site, _) = output.common.site()?;
    let all = inventory::list(site.store.root())?;
    let total = total(all.iter());
    let human = || {
        let mut text = format!("{}\n", site.store.root().display());
        let width = all.iter().map(|held| held.name.len()).max().unwrap_or(0);
        for held in &all {
            let in_use = if held.in_use { "in use" } else { "" };
            let (name, size) = (&held.name, ByteSize(held.size_bytes).rounded());
            let _ = writeln!(
                text,
                "  {name:width$}  {size:>10}  {:>6} files  used {:>7} ago  {in_use:6}  {}",
                held.files,
                age(held.unused_seconds),
                state(held)
            );
        }
        let _ = writeln!(
            text,
            "{} in all; `cargo xtask cache verify` compares the bytes",
            ByteSize(total).rounded()
        );
        text
    };
    let json = json!({ "cache": site.store.root(), "size_bytes": total, "entries": all });
    output.print(human, json)?;
    Ok(Outcome::Pass)
}

fn verify(output: &Output, repair: bool) -> anyhow::Result<Outcome> {
    let (site, _) = output.common.site()?;
    let mut text = String::new();
    let mut results = Vec::new();
    let (mut broken, mut removed, mut unknown) = (0, 0, 0);
    for held in inventory::list(site.store.root())?.iter().filter(|held| held.kind == Kind::Entry) {
        let verdict = inventory::verify(held, &site.runner)?;
        let mut repaired = false;
        let told = match &verdict {
            Verdict::Holds => format!("{} files hold", held.files),
            Verdict::KeyFilesOnly => {
                unknown += 1;
                "key files hold; NOT MEASURED: the others, whose digests its older record does not have"
                    .into()
            }
            Verdict::Broken(problems) => {
                broken += 1;
                repaired = repair && inventory::remove(held)?;
                removed += usize::from(repaired);
                let mut told = format!("BROKEN: {}", problems[0]);
                if problems.len() > 1 {
                    let _ = write!(told, " (and {} more)", problems.len() - 1);
                }
                match (repair, repaired) {
                    (true, true) => told += "\n    removed; the next build makes it anew",
                    (true, false) => told += &format!("\n    not removed: {}", inventory::in_use(held)),
                    _ => {}
                }
                told
            }
        };
        let _ = writeln!(text, "  {}  {told}", held.name);
        results.push(json!({ "name": held.name, "verdict": verdict, "removed": repaired }));
    }
    output.print(|| format!("{}\n{text}", site.store.root().display()), json!({ "entries": results }))?;
    if broken > removed {
        eprintln!("error: broken entries: {}", broken - removed);
        eprintln!("hint: `cargo xtask cache verify --repair` removes them; the next build makes them anew");
        return Ok(Outcome::Violated);
    }
    if unknown > 0 {
        eprintln!("error: entries that could not be compared whole: {unknown}");
        eprintln!("hint: `rm -r` of such an entry has it made anew, with digests of all its files");
        return Ok(Outcome::NotMeasured);
    }
    Ok(Outcome::Pass)
}

fn gc(output: &Output, wish: GcPolicy, dry_run: bool) -> anyhow::Result<Outcome> {
    let planned = planned(&output.common)?;
    let (site, _) = output.common.site()?;
    let all = inventory::list(site.store.root())?;
    let doomed = inventory::gc_candidates(&all, &GcPolicy { planned, ..wish });
    let (mut text, mut gone, mut results) = (String::new(), 0, Vec::new());
    for doomed in &doomed {
        let held = &doomed.held;
        site.runner.check()?;
        let removed = !dry_run && inventory::remove(held)?;
        let what = match (dry_run, removed) {
            (true, _) => "would go",
            (false, true) => "removed",
            (false, false) => "stays: taken by another process meanwhile",
        };
        if dry_run || removed {
            gone += held.size_bytes;
        }
        let _ = writeln!(
            text,
            "  {}  {}  {what}: {}",
            held.name,
            ByteSize(held.size_bytes).rounded(),
            doomed.reason
        );
        results.push(json!({ "name": held.name, "reason": doomed.reason, "removed": removed }));
    }
    let stays = total(all.iter()) - gone;
    let summary = format!(
        "{} {}, {} {}\n",
        ByteSize(gone).rounded(),
        if dry_run { "would go" } else { "removed" },
        ByteSize(stays).rounded(),
        if dry_run { "would stay" } else { "left" }
    );
    output
        .print(|| text + &summary, json!({ "dry_run": dry_run, "size_bytes": stays, "removed": results }))?;
    Ok(Outcome::Pass)
}

/// What the plan of this checkout uses. Fetches nothing: without its tools the name of the native build is not known, and
/// then all native builds stay.
fn planned(common: &Common) -> anyhow::Result<Vec<PathBuf>> {
    let common = Common { offline: true, ..common.clone() };
    let setup = common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    let mut planned: Vec<PathBuf> = plan
        .tools
        .iter()
        .chain(&release::fixtures::survey(site, &plan.config))
        .filter_map(|finding| match finding {
            Finding::Ready { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    match provide(site, &plan.config, &plan.target, plan.std) {
        Ok(toolchain) => {
            planned.push(toolchain.wrappers.cc.clone());
            for library in &plan.native {
                planned.push(release::native::folder(plan, site, &toolchain, library)?);
            }
        }
        Err(error) => {
            eprintln!("warning: native builds and wrappers stay: which ones the plan uses is not known");
            eprintln!("  {}", diag::hint_of(&error).unwrap_or_else(|| format!("{error:#}")));
            planned.extend(unknown_without_tools(site));
        }
    }
    Ok(planned)
}

fn unknown_without_tools(site: &Site) -> [PathBuf; 2] {
    ["native", "wrappers"].map(|kind| site.store.entry_path(kind))
}

fn total<'a>(all: impl Iterator<Item = &'a CacheEntryInfo>) -> u64 {
    all.map(|held| held.size_bytes).sum()
}

fn state(held: &CacheEntryInfo) -> String {
    match (held.kind, &held.state) {
        (Kind::Staging, _) if held.in_use => "being made".into(),
        (Kind::Staging, _) => "left by a run that was killed".into(),
        (Kind::Lock, _) => "locks nothing".into(),
        (Kind::Scratch, _) => "a tool's own cache, not judged".into(),
        (Kind::Entry, State::Broken(why)) => format!("BROKEN: {}", why.join(", ")),
        (Kind::Entry, _) => "complete".into(),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
