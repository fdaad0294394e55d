//! What does not fit is refused, to the byte, wherever the limit stands: the estimate of the model inside this file against
//! machines that are made up here and held in memory.

use engine::memory::{self, Workload};

use super::{Outcome, embedded_model};
use crate::memory::limits::Room;
use crate::memory::preflight::{Need, Verdict, judge};
use crate::serve::need;

const HEADROOM: u64 = 32 << 20;
/// In use already, at the level of the limit and below.
const USED: u64 = 100 << 20;
/// Of it pages of files that the kernel can drop.
const FILES: u64 = 60 << 20;
const V1_NONE: u64 = 0x7fff_ffff_ffff_f000;

type Files = Vec<(String, String)>;
type Rooms = fn(&Files) -> Vec<Room>;

/// A machine with one limit on `bytes` of room, and the file that the refusal must name.
type Machine = (&'static str, fn(u64) -> Files, &'static str);

const MACHINES: &[Machine] = &[
    ("v2 in a namespace", |room| v2("/", &[("", "max", &max(room))]), "/sys/fs/cgroup/memory.max"),
    (
        "v2 three levels up",
        |room| {
            let limits = [("/a/b/c", "max", "max"), ("/a/b", "max", "max"), ("/a", "max", &*max(room))];
            v2("/a/b/c", &limits)
        },
        "/sys/fs/cgroup/a/memory.max",
    ),
    ("v2 memory.high", |room| v2("/a", &[("/a", &max(room), "max")]), "/sys/fs/cgroup/a/memory.high"),
    ("v1", |room| v1("/a", &[("/a", room + USED - FILES, V1_NONE)]), "/memory/a/memory.limit_in_bytes"),
    (
        "v1 above a container",
        |room| v1("/a", &[("/a", V1_NONE, room + USED - FILES)]),
        "/memory/a/memory.stat",
    ),
    ("no cgroup", |room| vec![meminfo(room)], "/proc/meminfo"),
];

pub fn judged() -> Outcome {
    check(|files| crate::memory::limits::rooms(&files[..]))
}

fn check(rooms: Rooms) -> Outcome {
    let expected = "the model inside this file fits into exactly its estimate and is refused with one KiB less, for limits of cgroup \
                    v1 and v2, above the own cgroup, of memory.high and of the machine; nothing readable is no pass";
    match estimate().and_then(|need| judge_all(need, rooms)) {
        Ok(found) => Outcome::judge(true, expected, found),
        Err(why) => Outcome::judge(false, expected, why),
    }
}

fn estimate() -> Result<Need, String> {
    let load = Workload { threads: embedded_model::THREADS.get(), batch_tokens: 2048 };
    let one = memory::budget_embedded(embedded_model::NAME, embedded_model::FILES, load);
    let need = need::of([one.map_err(|error| error.to_string())?]).need();
    // A reader that finds nothing would say that everything fits.
    if need.anonymous == 0 || need.file == 0 { Err(format!("the estimate is {need:?}")) } else { Ok(need) }
}

fn judge_all(need: Need, rooms: Rooms) -> Result<String, String> {
    // Whole KiB, because /proc/meminfo has no other unit.
    let total = (need.anonymous + need.file + HEADROOM).next_multiple_of(1024);
    for (name, machine, source) in MACHINES {
        match judge(need, HEADROOM, &rooms(&machine(total))) {
            Verdict::Fits(room) if room.source.contains(source) => {}
            other => return Err(format!("{name}: {total} bytes are needed and free ({source}): {other:?}")),
        }
        match judge(need, HEADROOM, &rooms(&machine(total - 1024))) {
            Verdict::Refused(refused) if refused.to_string().contains(source) => {}
            other => return Err(format!("{name}: a KiB less than needed is free ({source}): {other:?}")),
        }
    }
    match judge(need, HEADROOM, &rooms(&Vec::new())) {
        Verdict::Unknown => {}
        other => return Err(format!("nothing can be read: {other:?}")),
    }
    Ok(format!(
        "{} machines; needs {} KiB anonymous + {} KiB of weights",
        MACHINES.len(),
        need.anonymous >> 10,
        need.file >> 10
    ))
}

fn max(room: u64) -> String {
    (room + USED - FILES).to_string()
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

/// Levels with their own limit and the smallest of those above.
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
    use super::super::Verdict as CheckVerdict;
    use super::*;
    use crate::memory::limits;

    #[track_caller]
    fn fails(rooms: Rooms, found: &str) {
        let outcome = check(rooms);
        assert_eq!(outcome.verdict, CheckVerdict::Fail, "{}", outcome.found);
        assert!(outcome.found.starts_with(found), "{}", outcome.found);
    }

    fn without(files: &Files, part: &str) -> Files {
        files.iter().filter(|(path, _)| !path.contains(part)).cloned().collect()
    }

    #[test]
    fn the_real_reader_passes() {
        let outcome = judged();
        assert_eq!(outcome.verdict, CheckVerdict::Pass, "{}", outcome.found);
    }

    #[test]
    fn a_reader_of_the_own_cgroup_alone_is_caught() {
        fails(
            |files| {
                let rooms = limits::rooms(&files[..]);
                rooms.into_iter().filter(|room| !room.source.contains("/cgroup/a/memory.max")).collect()
            },
            "v2 three levels up",
        );
    }

    #[test]
    fn a_reader_that_leaves_out_a_file_is_caught() {
        fails(|files| limits::rooms(&without(files, "memory.high")[..]), "v2 memory.high");
        fails(|files| limits::rooms(&without(files, "limit_in_bytes")[..]), "v1:");
        fails(|files| limits::rooms(&without(files, "meminfo")[..]), "no cgroup");
    }

    #[test]
    fn a_reader_for_which_nothing_is_endless_is_caught() {
        let endless = |files: &Files| {
            let mut rooms = limits::rooms(&files[..]);
            rooms.push(Room { bytes: u64::MAX, limit: u64::MAX, source: "none".into() });
            rooms
        };
        fails(endless, "nothing can be read");
    }
}
