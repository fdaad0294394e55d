//! LIEF's view: its Python package reads the files in a process of its own, from an environment in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use release::failure::Failure;
use release::run::Job;
use release::toolchain::Site;
use serde_json::Value;

use super::Reading;
use super::gate::segment_line;

const VERSION: &str = "1.0.0";
const SCRIPT: &str = include_str!("read_with_lief.py");

pub fn read(site: &Site, files: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, Reading>> {
    let python = environment(site)?;
    let mut command = site.command(&python);
    command.args(["-c", SCRIPT]);
    let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let run = site.runner.run(Job::new("read with LIEF", command).stdin(list))?;
    let text = run.stdout_text();
    let lines = text.lines().map(|line| {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("LIEF's script said `{line}`"))?;
        let file = value["file"].as_str().context("LIEF's script named no file")?;
        Ok(value["facts"].as_object().map(|_| (PathBuf::from(file), reading(&value["facts"]))))
    });
    lines.filter_map(Result::transpose).collect()
}

/// Installed once; `pip` is asked for the exact version.
fn environment(site: &Site) -> anyhow::Result<PathBuf> {
    let folder = site.store.root().join(format!("tools/lief-{VERSION}"));
    let python = folder.join("bin/python");
    if is_ready(&folder) {
        return Ok(python);
    }
    if site.offline {
        return Err(Failure::new(format!(
            "LIEF {VERSION} is not in the cache, and --offline forbids to fetch it"
        ))
        .hint("run it once without --offline, or compare with readelf alone: `--without-lief`")
        .into());
    }
    let system = site.which("python3").ok_or_else(|| {
        Failure::new("`python3` is not in PATH; LIEF is a Python package")
            .hint("apt-get install python3 python3-venv")
    })?;
    eprintln!("installing LIEF {VERSION}");
    let mut venv = site.command(&system);
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    site.runner.run(Job::new("make a Python environment", venv))?;
    let mut pip = site.command(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]);
    pip.arg("--only-binary=:all:").arg(format!("lief=={VERSION}"));
    site.runner.run(Job::new(format!("install lief {VERSION}"), pip))?;
    fs::write(folder.join("ready"), VERSION).context("cannot write to the cache")?;
    Ok(python)
}

fn is_ready(folder: &Path) -> bool {
    fs::read_to_string(folder.join("ready")).is_ok_and(|version| version == VERSION)
}

fn reading(facts: &Value) -> Reading {
    const TEXTS: [&str; 9] = [
        "machine",
        "entry",
        "segment numbers",
        "interpreter",
        "needed",
        "soname",
        "rpath",
        "runpath",
        ".symtab entries",
    ];
    let mut reading = Reading::new();
    let list = |fact: &str| facts[fact].as_array().cloned().unwrap_or_default();
    for fact in TEXTS.into_iter().chain([".dynsym entries", "section sizes"]) {
        let key = if fact == "section sizes" { "sections" } else { fact };
        let lines = list(key).iter().map(|line| line.as_str().unwrap_or_default().to_string()).collect();
        reading.insert(fact, lines);
    }
    let segments = list("segments").iter().filter_map(segment).collect();
    reading.insert("segments", segments);
    reading
}

fn segment(value: &Value) -> Option<String> {
    let numbers: Vec<u64> = value.as_array()?.iter().filter_map(Value::as_u64).collect();
    let [flags, offset, address, file, memory, align] = numbers[..] else { return None };
    Some(segment_line(u32::try_from(flags).ok()?, [offset, address, file, memory, align]))
}
