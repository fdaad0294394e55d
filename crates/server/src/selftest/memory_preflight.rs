//! A footprint that does not fit is rejected to the byte, at any place of the limit: the estimate of the embedded model
//! against simulated machines.

use engine::GemmBackend;
use engine::memory::{self, Workload};

use super::check::CheckResult;
use super::embedded_model;
use crate::memory::limits::{MemoryLimit, read_limits};
use crate::memory::preflight::{Assessment, Footprint, assess};
use crate::serve::memory_budget::Breakdown;

const HEADROOM: u64 = 32 << 20;
/// Usage at the level of the limit.
const USED: u64 = 100 << 20;
/// The part of the usage that are file pages, which the kernel can drop.
const FILES: u64 = 60 << 20;
const V1_NONE: u64 = 0x7fff_ffff_ffff_f000;

type Files = Vec<(String, String)>;
type Reader = fn(&Files) -> Vec<MemoryLimit>;

/// A name, a machine with one limit that leaves this number of bytes, and the file that the result must name.
type Machine = (&'static str, fn(u64) -> Files, &'static str);

const MACHINES: &[Machine] = &[
    ("v2 in a namespace", |available| v2("/", &[("", "max", &max(available))]), "/sys/fs/cgroup/memory.max"),
    (
        "v2 three levels up",
        |available| {
            let limits = [("/a/b/c", "max", "max"), ("/a/b", "max", "max"), ("/a", "max", &*max(available))];
            v2("/a/b/c", &limits)
        },
        "/sys/fs/cgroup/a/memory.max",
    ),
    (
        "v2 memory.high",
        |available| v2("/a", &[("/a", &max(available), "max")]),
        "/sys/fs/cgroup/a/memory.high",
    ),
    (
        "v1",
        |available| v1("/a", &[("/a", available + USED - FILES, V1_NONE)]),
        "/memory/a/memory.limit_in_bytes",
    ),
    (
        "v1 above a container",
        |available| v1("/a", &[("/a", V1_NONE, available + USED - FILES)]),
        "/memory/a/memory.stat",
    ),
    ("no cgroup", |available| vec![meminfo(available)], "/proc/meminfo"),
];

/// The check.
pub fn assessed() -> CheckResult {
    check(|files| read_limits(&files[..]))
}

fn check(reader: Reader) -> CheckResult {
    let expected = "the embedded model fits into exactly its estimate and not into one KiB less, for limits of cgroup v1 and v2, above \
                    the own cgroup, of memory.high and of the machine; without readable files the result is unknown";
    match estimate().and_then(|footprint| assess_all(footprint, reader)) {
        Ok(found) => CheckResult::of(true, expected, found),
        Err(found) => CheckResult::of(false, expected, found),
    }
}

fn estimate() -> Result<Footprint, String> {
    let workload =
        Workload { threads: embedded_model::THREADS.get(), batch_tokens: 2048, gemm: GemmBackend::default() };
    let budget = memory::budget_embedded(embedded_model::NAME, embedded_model::FILES, workload);
    let footprint = Breakdown::of([budget.map_err(|error| error.to_string())?]).footprint();
    // A footprint of zero would fit everywhere.
    if footprint.anonymous == 0 || footprint.file_backed == 0 {
        Err(format!("the estimate is {footprint:?}"))
    } else {
        Ok(footprint)
    }
}

fn assess_all(footprint: Footprint, reader: Reader) -> Result<String, String> {
    // Whole KiB, the unit of /proc/meminfo.
    let total = (footprint.anonymous + footprint.file_backed + HEADROOM).next_multiple_of(1024);
    for (name, machine, source) in MACHINES {
        match assess(footprint, HEADROOM, &reader(&machine(total))) {
            Assessment::Fits(limit) if limit.source.to_string().contains(source) => {}
            other => {
                return Err(format!("{name}: {total} bytes are needed and available ({source}): {other:?}"));
            }
        }
        match assess(footprint, HEADROOM, &reader(&machine(total - 1024))) {
            Assessment::Exceeds(shortfall) if shortfall.limit.source.to_string().contains(source) => {}
            other => {
                return Err(format!("{name}: one KiB less than needed is available ({source}): {other:?}"));
            }
        }
    }
    match assess(footprint, HEADROOM, &reader(&Vec::new())) {
        Assessment::Unknown => {}
        other => return Err(format!("no file is readable: {other:?}")),
    }
    Ok(format!(
        "{} machines; needs {} KiB anonymous + {} KiB of weights",
        MACHINES.len(),
        footprint.anonymous >> 10,
        footprint.file_backed >> 10
    ))
}

fn max(available: u64) -> String {
    (available + USED - FILES).to_string()
}

fn meminfo(available: u64) -> (String, String) {
    let text = format!("MemTotal: 1073741824 kB\nMemFree: 1 kB\nMemAvailable: {} kB\n", available >> 10);
    ("proc/meminfo".into(), text)
}

/// Levels with their `memory.high` and `memory.max`.
fn v2(own: &str, levels: &[(&str, &str, &str)]) -> Files {
    let mut files = vec![
        meminfo(u64::MAX >> 1),
        ("proc/self/cgroup".into(), format!("0::{own}\n")),
        ("proc/self/mountinfo".into(), "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".into()),
    ];
    for (level, high, max) in levels {
        let at = |file: &str| format!("sys/fs/cgroup{level}/{file}");
        files.push((at("memory.high"), format!("{high}\n")));
        files.push((at("memory.max"), format!("{max}\n")));
        files.push((at("memory.current"), format!("{USED}\n")));
        files.push((at("memory.stat"), format!("anon 1\ninactive_file {FILES}\nactive_file 0\n")));
    }
    files
}

/// Levels with their own limit and the hierarchical limit.
fn v1(own: &str, levels: &[(&str, u64, u64)]) -> Files {
    let mut files = vec![
        meminfo(u64::MAX >> 1),
        ("proc/self/cgroup".into(), format!("4:memory:{own}\n")),
        (
            "proc/self/mountinfo".into(),
            "36 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n".into(),
        ),
    ];
    for (level, limit, above) in levels {
        let at = |file: &str| format!("sys/fs/cgroup/memory{level}/{file}");
        files.push((at("memory.limit_in_bytes"), format!("{limit}\n")));
        files.push((at("memory.usage_in_bytes"), format!("{USED}\n")));
        let stat =
            format!("hierarchical_memory_limit {above}\ntotal_inactive_file {FILES}\ntotal_active_file 0\n");
        files.push((at("memory.stat"), stat));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;
    use crate::memory::limits::LimitSource;

    #[track_caller]
    fn fails(reader: Reader, found: &str) {
        let result = check(reader);
        assert_eq!(result.status, CheckStatus::Fail, "{}", result.found);
        assert!(result.found.starts_with(found), "{}", result.found);
    }

    fn without(files: &Files, part: &str) -> Files {
        files.iter().filter(|(path, _)| !path.contains(part)).cloned().collect()
    }

    #[test]
    fn passes_for_the_real_reader() {
        let result = assessed();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
    }

    #[test]
    fn fails_for_a_reader_that_skips_ancestors() {
        fails(
            |files| {
                let limits = read_limits(&files[..]);
                limits
                    .into_iter()
                    .filter(|limit| !limit.source.to_string().contains("/cgroup/a/memory.max"))
                    .collect()
            },
            "v2 three levels up",
        );
    }

    #[test]
    fn fails_for_a_reader_that_skips_a_file() {
        fails(|files| read_limits(&without(files, "memory.high")[..]), "v2 memory.high");
        fails(|files| read_limits(&without(files, "limit_in_bytes")[..]), "v1:");
        fails(|files| read_limits(&without(files, "meminfo")[..]), "no cgroup");
    }

    #[test]
    fn fails_for_a_reader_that_treats_missing_files_as_unlimited() {
        let unlimited = |files: &Files| {
            let mut limits = read_limits(&files[..]);
            let source = LimitSource::Cgroup("none".into());
            limits.push(MemoryLimit { available: u64::MAX, limit: u64::MAX, source });
            limits
        };
        fails(unlimited, "no file is readable");
    }
}
