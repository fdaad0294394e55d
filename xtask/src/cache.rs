//! `cargo xtask cache ls|verify|gc`: list the cache, verify it, remove unused entries.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use diag::Diagnostic;
use release::context::BuildContext;
use release::native_inputs::NativeInputs;
use release::stages::toolchain;
use serde_json::json;
use store::ENTRY_CHANGED;
use store::inventory::{self, CacheItem, CacheItemKind, CacheItemState, GcPolicy, Verification};
use units::ByteSize;

use crate::Outcome;
use crate::format;
use crate::setup::Common;

diag::codes! {
    /// An entry without digests of all files.
    pub ENTRY_NOT_MEASURED = NotMeasured "cache-entry-not-measured": "the files of a cache entry cannot all be compared" {
        "cause": "the record of the entry is older than the list of all files",
        "fix": "remove the entry; the next build makes it again",
    }
    /// The plan could not be resolved.
    pub NATIVE_BUILDS_UNKNOWN = Environment "cache-plan-unknown": "which native builds the plan uses is not known" {
        "cause": "a tool that names the native builds is missing",
        "fix": "`cargo xtask doctor` lists the missing tools; `gc` keeps all native builds meanwhile",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List entries: kind, size, last use, whether another process uses them
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// Compare every file of every entry with its recorded digest
    Verify {
        #[command(flatten)]
        common: Common,
        /// Remove broken entries; the next build makes them again
        #[arg(long)]
        repair: bool,
    },
    /// Remove entries that the present plan does not use, and leftovers; never those that another process uses
    Gc {
        #[command(flatten)]
        common: Common,
        /// Only entries that were not used for this number of days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
        /// Only as many entries as bring the cache to this size, least recently used first: "2 GiB"
        #[arg(long, value_name = "SIZE", value_parser = |text: &str| ByteSize::try_from(text.to_string()))]
        max_size: Option<ByteSize>,
        /// The own cache of zig too
        #[arg(long)]
        scratch: bool,
        /// List the candidates, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.verb {
        Verb::Ls { common } => ls(&common),
        Verb::Verify { common, repair } => verify(&common, repair),
        Verb::Gc { common, older_than, max_size, scratch, dry_run } => {
            let policy = GcPolicy {
                older_than: older_than.map(|days| Duration::from_secs(days.saturating_mul(86_400))),
                bytes_max: max_size.map(|size| size.0),
                scratch,
                planned: Vec::new(),
            };
            gc(&common, policy, dry_run)
        }
    }
}

impl Args {
    pub fn common(&self) -> &Common {
        match &self.verb {
            Verb::Ls { common } | Verb::Verify { common, .. } | Verb::Gc { common, .. } => common,
        }
    }
}

fn ls(common: &Common) -> anyhow::Result<Outcome> {
    let (context, _) = common.context()?;
    let root = context.store.root();
    let all = inventory::list(root)?;
    let json = json!({ "cache": root, "size_bytes": total(all.iter()), "entries": all });
    format::print(common.format, || format!("{}\n{}", root.display(), table(&all)), json)?;
    Ok(Outcome::Pass)
}

fn table(all: &[CacheItem]) -> String {
    let mut text = String::new();
    let width = all.iter().map(|item| item.name.len()).max().unwrap_or(0);
    for item in all {
        let in_use = if item.in_use { "in use" } else { "" };
        let (name, size) = (&item.name, ByteSize(item.size_bytes).rounded());
        let _ = writeln!(
            text,
            "  {name:width$}  {size:>10}  {:>6} files  used {:>7} ago  {in_use:6}  {}",
            item.files,
            age(item.unused_seconds),
            state(item)
        );
    }
    let total = ByteSize(total(all.iter())).rounded();
    text + &format!("{total} in all; `cargo xtask cache verify` compares the bytes\n")
}

fn verify(common: &Common, repair: bool) -> anyhow::Result<Outcome> {
    let (context, _) = common.context()?;
    let root = context.store.root();
    let (mut text, mut results, mut problems) = (format!("{}\n", root.display()), Vec::new(), Vec::new());
    for entry in inventory::list(root)?.iter().filter(|item| item.kind == CacheItemKind::Entry) {
        let verification = inventory::verify(entry, &context.runner)?;
        let is_broken = matches!(verification, Verification::Broken(_));
        let is_removed = is_broken && repair && inventory::remove(entry)?;
        let _ = writeln!(text, "  {}  {}", entry.name, verified(entry, &verification, repair, is_removed));
        if !is_removed {
            problems.extend(problem(entry, &verification, repair));
        }
        results.push(json!({ "name": entry.name, "verification": verification, "removed": is_removed }));
    }
    format::print(common.format, || text, json!({ "entries": results, "diagnostics": problems }))?;
    format::print_diagnostics(common.format, &problems);
    // A broken entry violates its record; without digests there is no result.
    let is_violated = problems.iter().any(|problem| *problem.code() != ENTRY_NOT_MEASURED);
    Ok(match problems.is_empty() {
        true => Outcome::Pass,
        false if is_violated => Outcome::Violated,
        false => Outcome::NotMeasured,
    })
}

/// The result for one entry as text.
fn verified(entry: &CacheItem, verification: &Verification, repair: bool, is_removed: bool) -> String {
    match verification {
        Verification::Verified => format!("{} files verified", entry.files),
        Verification::KeyFilesOnly => {
            "key files verified; NOT MEASURED: the other files, whose digests its older record does not have"
                .into()
        }
        Verification::Broken(problems) => {
            let more = match problems.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let action = match (repair, is_removed) {
                (true, true) => "\n    removed; the next build makes it again",
                (true, false) => "\n    not removed: another process uses it",
                _ => "",
            };
            format!("BROKEN: {}{more}{action}", problems[0])
        }
    }
}

/// What has to be done about an entry that is still in the cache.
fn problem(entry: &CacheItem, verification: &Verification, repair: bool) -> Option<Diagnostic> {
    match verification {
        Verification::Verified => None,
        Verification::Broken(_) if repair => Some(inventory::in_use(entry)),
        Verification::Broken(problems) => Some(
            Diagnostic::new(&ENTRY_CHANGED, "a cache entry does not match its record")
                .file(&entry.path)
                .found(problems.join("\n"))
                .hint("`cargo xtask cache verify --repair` removes it; the next build makes it again"),
        ),
        Verification::KeyFilesOnly => Some(
            Diagnostic::new(&ENTRY_NOT_MEASURED, "a cache entry cannot be compared completely")
                .file(&entry.path)
                .hint("remove it with `rm -r`; the next build makes it again, with the digests of all its files"),
        ),
    }
}

fn gc(common: &Common, policy: GcPolicy, dry_run: bool) -> anyhow::Result<Outcome> {
    let planned = planned(common)?;
    let (context, _) = common.context()?;
    let all = inventory::list(context.store.root())?;
    let candidates = inventory::gc_candidates(&all, &GcPolicy { planned, ..policy });
    let (mut text, mut bytes_removed, mut results) = (String::new(), 0, Vec::new());
    for candidate in &candidates {
        let item = &candidate.item;
        context.runner.check()?;
        let is_removed = !dry_run && inventory::remove(item)?;
        let action = match (dry_run, is_removed) {
            (true, _) => "would be removed",
            (false, true) => "removed",
            (false, false) => "kept, another process uses it",
        };
        if dry_run || is_removed {
            bytes_removed += item.size_bytes;
        }
        let size = ByteSize(item.size_bytes).rounded();
        let _ = writeln!(text, "  {}  {size}  {action}: {}", item.name, candidate.reason);
        results.push(json!({ "name": item.name, "reason": candidate.reason, "removed": is_removed }));
    }
    let bytes_kept = total(all.iter()) - bytes_removed;
    let would = if dry_run { "would be " } else { "" };
    let (removed, kept) = (ByteSize(bytes_removed).rounded(), ByteSize(bytes_kept).rounded());
    text += &format!("{removed} {would}removed, {kept} {would}kept\n");
    format::print(
        common.format,
        || text,
        json!({ "dry_run": dry_run, "size_bytes": bytes_kept, "removed": results }),
    )?;
    Ok(Outcome::Pass)
}

/// Files and folders that the plan of this checkout uses. Fetches nothing: without its tools the name of the native build is
/// not known, and then all native builds stay.
fn planned(common: &Common) -> anyhow::Result<Vec<PathBuf>> {
    let common = Common { offline: true, ..common.clone() };
    let setup = common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    let fixtures = release::fixtures::probe(context, &plan.config);
    let mut planned: Vec<PathBuf> =
        plan.tools.summaries().iter().chain(&fixtures).filter_map(|row| row.path().cloned()).collect();
    match toolchain::install(plan, context) {
        Ok(toolchain) => {
            planned.push(toolchain.wrappers().cc().to_path_buf());
            let inputs = NativeInputs::of_plan(plan, context, &toolchain)?;
            planned.extend(inputs.iter().map(|inputs| inputs.folder().to_path_buf()));
        }
        Err(error) => {
            let warning = Diagnostic::new(
                &NATIVE_BUILDS_UNKNOWN,
                "native builds and wrappers are kept: which of them the plan uses is not known",
            );
            let warning = warning.cause(diag::hint_of(&error).unwrap_or_else(|| format!("{error:#}")));
            eprint!("{}", diag::render::human(&[warning.warning()], diag::render::Style::default()));
            planned.extend(unknown_without_tools(context));
        }
    }
    Ok(planned)
}

fn unknown_without_tools(context: &BuildContext) -> [PathBuf; 2] {
    ["native", "wrappers"].map(|kind| context.store.entry_path(kind))
}

fn total<'a>(all: impl Iterator<Item = &'a CacheItem>) -> u64 {
    all.map(|item| item.size_bytes).sum()
}

fn state(item: &CacheItem) -> String {
    match (item.kind, &item.state) {
        (CacheItemKind::Staging, _) if item.in_use => "being made".into(),
        (CacheItemKind::Staging, _) => "left by a killed process".into(),
        (CacheItemKind::Lock, _) => "the lock of no entry".into(),
        (CacheItemKind::Scratch, _) => "the own cache of a tool, not verified".into(),
        (CacheItemKind::Entry, CacheItemState::Broken(problems)) => {
            format!("BROKEN: {}", problems.join(", "))
        }
        (CacheItemKind::Entry, _) => "complete".into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, kind: CacheItemKind, state: CacheItemState) -> CacheItem {
        CacheItem {
            name: name.into(),
            path: format!("/cache/{name}").into(),
            kind,
            files: 6,
            size_bytes: 6 << 20,
            unused_seconds: 2_280,
            in_use: kind == CacheItemKind::Staging,
            state,
        }
    }

    #[test]
    fn lists_every_kind_of_item() {
        let broken = CacheItemState::Broken(vec!["`libopenblas.a` is missing".into()]);
        let all = [
            item("native/openblas-9da1ce232e664188", CacheItemKind::Entry, CacheItemState::Complete),
            item("native/mimalloc-1f3a", CacheItemKind::Entry, broken),
            item("native/.staging-x-1", CacheItemKind::Staging, CacheItemState::Unknown),
            item("native/.y.lock", CacheItemKind::Lock, CacheItemState::Unknown),
            item("zig", CacheItemKind::Scratch, CacheItemState::Unknown),
        ];
        insta::assert_snapshot!(table(&all));
    }

    #[test]
    fn shows_the_result_and_the_problem_of_each_entry() {
        let entry = item("tools/a", CacheItemKind::Entry, CacheItemState::Complete);
        let broken = Verification::Broken(vec!["`ar` has changed".into(), "`cc` is missing".into()]);
        let mut text = String::new();
        for (verification, repair, is_removed) in [
            (&Verification::Verified, false, false),
            (&Verification::KeyFilesOnly, false, false),
            (&broken, false, false),
            (&broken, true, true),
            (&broken, true, false),
        ] {
            text += &format!("{}\n", verified(&entry, verification, repair, is_removed));
            if !is_removed {
                let problems: Vec<Diagnostic> = problem(&entry, verification, repair).into_iter().collect();
                text += &diag::render::human(&problems, diag::render::Style::default());
            }
        }
        insta::assert_snapshot!(text);
    }
}
