//! Speed of the gate, of one readelf process, and of checksec on the same files, in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::Outcome;
use crate::format::{self, Format};

const FILES: usize = 1000;
/// checksec needs about a second per file, so it gets a sample.
const CHECKSEC_FILES: usize = 20;
const ROUNDS: usize = 3;

pub fn run(format: Format, files: &[PathBuf]) -> anyhow::Result<Outcome> {
    let wanted = |file: &&PathBuf| file.starts_with("/usr/bin") || file.starts_with("/usr/lib");
    let files: Vec<&PathBuf> = files.iter().filter(wanted).take(FILES).collect();
    if files.len() < CHECKSEC_FILES {
        bail!("only {} ELF files in /usr/bin and /usr/lib", files.len());
    }
    let bytes: u64 = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let head = format!(
        "{} files, {} MiB, xtask of the {profile} profile, {ROUNDS} rounds\n",
        files.len(),
        bytes >> 20
    );
    format::print_part(format, &head)?;
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("list");
    let names: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    std::fs::write(&list, names)?;
    let checksec = checksec(folder.path())?;
    let (mut gate, mut readelf, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that other load affects all tools.
    for _ in 0..ROUNDS {
        gate.push(timed(gate_command(&list)?)?);
        let mut command = Command::new("readelf");
        command.arg("-lsW").args(&files);
        readelf.push(timed(command)?);
    }
    let sample: Vec<&PathBuf> = files.iter().step_by(files.len() / CHECKSEC_FILES).copied().collect();
    if let Some(checksec) = &checksec {
        let start = Instant::now();
        for file in &sample {
            let mut command = Command::new(checksec);
            command.arg("--output=json").arg(format!("--file={}", file.display()));
            timed(command)?;
        }
        peer.push(start.elapsed().mul_f64(files.len() as f64 / sample.len() as f64));
    }
    let mut rows = vec![
        Row { name: "verify-elf --preset hardened-glibc".into(), seconds: median(&gate) },
        Row { name: "readelf -lsW".into(), seconds: median(&readelf) },
    ];
    if checksec.is_some() {
        let name = format!("checksec (scaled from {})", sample.len());
        rows.push(Row { name, seconds: median(&peer) });
    }
    let document = json!({
        "files": files.len(), "size_bytes": bytes, "profile": profile, "rounds": ROUNDS,
        "programs": rows.iter().map(|row| json!({ "name": row.name, "seconds": row.seconds })).collect::<Vec<_>>(),
        "not_measured": if checksec.is_some() { vec![] } else { vec!["checksec"] },
        "diagnostics": [],
    });
    let text = || {
        let missing = "checksec: not installed, and `apt-get download` failed\n";
        table(&rows) + if checksec.is_some() { "" } else { missing }
    };
    format::print(format, text, document)?;
    Ok(Outcome::Pass)
}

struct Row {
    name: String,
    /// The median.
    seconds: f64,
}

/// The medians and their ratios to the first one, which is that of the gate.
fn table(rows: &[Row]) -> String {
    let gate = rows.first().map_or(f64::NAN, |row| row.seconds);
    let line = |(index, Row { name, seconds }): (usize, &Row)| {
        let ratio = match index {
            0 => String::new(),
            _ => format!("  {:.2} times the gate", seconds / gate),
        };
        format!("{name:36}  {seconds:8.3} s{ratio}\n")
    };
    rows.iter().enumerate().map(line).collect()
}

fn gate_command(list: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    command.args(["verify-elf", "--preset", "hardened-glibc", "--format", "json"]);
    command.arg(format!("@{}", list.display())).env_remove("GITHUB_STEP_SUMMARY");
    Ok(command)
}

fn timed(mut command: Command) -> anyhow::Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    command.status().with_context(|| format!("cannot run {command:?}"))?;
    Ok(start.elapsed())
}

/// In seconds.
fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

/// The installed checksec, or the script of the Debian package, unpacked into `folder`.
fn checksec(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if Command::new("checksec").arg("--version").output().is_ok() {
        return Ok(Some("checksec".into()));
    }
    let download = Command::new("apt-get").args(["download", "checksec"]).current_dir(folder).output();
    if !download.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let packages = std::fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let Some(package) = packages.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "deb"))
    else {
        return Ok(None);
    };
    let unpacked = folder.join("checksec");
    let status = Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked).status()?;
    Ok(status.success().then(|| unpacked.join("usr/bin/checksec")))
}
