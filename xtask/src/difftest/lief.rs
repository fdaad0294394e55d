//! The facts of LIEF: its Python package reads the files in a separate process, from an environment in the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use process::Task;
use release::toolchain::Site;
use release::toolchain::pip::environment;
use serde_json::Value;

use super::ToolFacts;
use super::gate::segment_line;

const REQUIREMENTS: &str = "lief==1.0.0\n";
const SCRIPT: &str = include_str!("read_with_lief.py");

pub fn read(site: &Site, files: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, ToolFacts>> {
    let alternative = "`--without-lief` compares with readelf only";
    let python = environment(site, "lief", REQUIREMENTS, alternative)?;
    let mut command = site.command(&python);
    command.args(["-c", SCRIPT]);
    let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let run = site.runner.run(Task::new("read with LIEF", command).stdin(list))?;
    let text = run.stdout_text();
    let lines = text.lines().map(|line| {
        let value: Value = serde_json::from_str(line)
            .with_context(|| format!("the output of the LIEF script is not JSON: `{line}`"))?;
        let file = value["file"].as_str().context("the output of the LIEF script has no file name")?;
        Ok(value["facts"].as_object().map(|_| (PathBuf::from(file), reading(&value["facts"]))))
    });
    lines.filter_map(Result::transpose).collect()
}

fn reading(facts: &Value) -> ToolFacts {
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
    let mut reading = ToolFacts::new();
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
