//! Speed of the gate, of one readelf process, and of checksec on the same files, in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Outcome;

const FILES: usize = 1000;
/// checksec needs about a second per file, so it gets a sample.
const CHECKSEC_FILES: usize = 20;
const ROUNDS: usize = 3;

pub fn run(files: &[PathBuf]) -> anyhow::Result<Outcome> {
    let wanted = |file: &&PathBuf| file.starts_with("/usr/bin") || file.starts_with("/usr/lib");
    let files: Vec<&PathBuf> = files.iter().filter(wanted).take(FILES).collect();
    if files.len() < CHECKSEC_FILES {
        bail!("only {} ELF files in /usr/bin and /usr/lib", files.len());
    }
    let bytes: u64 = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{} files, {} MiB, xtask of the {profile} profile, {ROUNDS} rounds", files.len(), bytes >> 20);
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
    let gate = line("verify-elf --preset hardened-glibc", &gate, None);
    line("readelf -lsW", &readelf, Some(gate));
    match checksec {
        Some(_) => {
            let name = format!("checksec (scaled from {})", sample.len());
            line(&name, &peer, Some(gate));
        }
        None => println!("checksec: not installed, and `apt-get download` failed"),
    }
    Ok(Outcome::Pass)
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

/// Prints the median and its ratio to the gate.
fn line(name: &str, times: &[Duration], gate: Option<Duration>) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let median = sorted[sorted.len() / 2];
    let ratio = gate.map_or(String::new(), |gate| {
        format!("  {:.2} times the gate", median.as_secs_f64() / gate.as_secs_f64())
    });
    println!("{name:36}  {:8.3} s{ratio}", median.as_secs_f64());
    median
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
