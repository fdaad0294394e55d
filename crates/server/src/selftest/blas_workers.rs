//! The worker threads of OpenBLAS in this very process: their stacks and their names.
//!
//! OpenBLAS itself hands each worker a function of ours (`gotoblas_pthread`, what its own lapack drivers use), so the thread
//! that is measured is the thread that will run the GEMMs. A survived GEMM would prove nothing: most of them need little stack.

use std::collections::BTreeSet;

use super::Outcome;
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, Reading, Rendezvous, Seat};
use crate::build_info::STACK_SIZE_BYTES;

/// What the patch on worker names gives to `/proc/self/task/*/comm`.
const NAME_PREFIX: &str = "oblas-";

pub fn stacks() -> Outcome {
    let expected = format!(
        "every OpenBLAS worker has at least {STACK_SIZE_BYTES} bytes of stack and a guard right below it"
    );
    let workers = match measure() {
        Ok(workers) => workers,
        Err(why) => return Outcome::not_measured(expected, why),
    };
    let maps = match ProcessMaps::read() {
        Ok(maps) => maps,
        Err(error) => {
            return Outcome::not_measured(expected, format!("cannot read /proc/self/maps: {error}"));
        }
    };
    let mut all_pass = true;
    let mut found = Vec::new();
    for reading in &workers {
        let (pass, text) = stack_probe::judge(*reading, &maps, STACK_SIZE_BYTES);
        all_pass &= pass;
        let line = format!("{}: {text}", name_of(reading.tid));
        // Sixty workers with one result are one line; every failure is told.
        if found.is_empty() || !pass {
            found.push(line);
        }
    }
    Outcome::judge(all_pass, expected, format!("{} workers; {}", workers.len(), found.join("; ")))
}

pub fn names() -> Outcome {
    let expected = format!("every OpenBLAS worker is called `{NAME_PREFIX}N`, and nothing else is");
    let workers = match measure() {
        Ok(workers) => workers.iter().map(|reading| reading.tid).collect::<BTreeSet<_>>(),
        Err(why) => return Outcome::not_measured(expected, why),
    };
    match task_ids() {
        Ok(tasks) => {
            let named: Vec<_> = tasks.into_iter().map(|tid| (tid, name_of(tid))).collect();
            let (pass, found) = judge_names(&workers, &named);
            Outcome::judge(pass, expected, found)
        }
        Err(error) => Outcome::not_measured(expected, format!("cannot list /proc/self/task: {error}")),
    }
}

fn judge_names(workers: &BTreeSet<i32>, threads: &[(i32, String)]) -> (bool, String) {
    let wrong: Vec<_> = threads
        .iter()
        .filter(|(tid, name)| is_worker_name(name) != workers.contains(tid))
        .map(|(tid, name)| {
            let kind = if workers.contains(tid) { "worker" } else { "a thread that is no worker" };
            format!("{kind} is called `{name}`")
        })
        .collect();
    if wrong.is_empty() {
        let names: Vec<_> =
            threads.iter().filter(|(tid, _)| workers.contains(tid)).map(|(_, name)| name.as_str()).collect();
        (names.len() == workers.len() && !names.is_empty(), names.join(", "))
    } else {
        (false, wrong.join("; "))
    }
}

/// Each worker's reading. On a single core OpenBLAS starts no worker: one is asked for, so that the check means something.
pub fn measure() -> Result<Vec<Reading>, String> {
    if openblas_sys::num_threads() < 2 {
        openblas_sys::set_num_threads(2);
    }
    let threads = openblas_sys::num_threads();
    if threads < 2 {
        return Err(format!("OpenBLAS runs on {threads} thread and starts no worker"));
    }
    let rendezvous = Rendezvous::of(threads as u32);
    let mut seats: Vec<_> = (0..threads).map(|_| Seat::at(&rendezvous)).collect();
    let entry: unsafe extern "C" fn(*mut std::ffi::c_void) = stack_probe::take_seat;
    // SAFETY: OpenBLAS calls `entry` once for each of the `threads` seats, which lie `stride` bytes apart, and returns when
    // all calls have ended. It takes the first seat on this thread.
    unsafe {
        openblas_sys::ffi::gotoblas_pthread(
            threads as i32,
            entry as *mut std::ffi::c_void,
            seats.as_mut_ptr().cast(),
            size_of::<Seat>() as i32,
        );
    }
    if !rendezvous.complete() {
        return Err(format!("not all of the {threads} BLAS threads came to be measured"));
    }
    let readings: Vec<_> = seats.iter_mut().map(Seat::reading).collect();
    let distinct: BTreeSet<_> = readings.iter().map(|reading| reading.tid).collect();
    if distinct.len() != threads {
        return Err(format!("{} distinct threads served {threads} seats", distinct.len()));
    }
    Ok(readings.into_iter().skip(1).collect())
}

pub fn task_ids() -> std::io::Result<Vec<i32>> {
    let mut tids = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        tids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    tids.sort_unstable();
    Ok(tids)
}

pub fn name_of(tid: i32) -> String {
    match std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")) {
        Ok(name) => name.trim_end().to_string(),
        Err(_) => format!("thread {tid}, name unreadable"),
    }
}

fn is_worker_name(name: &str) -> bool {
    name.strip_prefix(NAME_PREFIX)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_patched_name_is_a_worker_name() {
        assert!(is_worker_name("oblas-0") && is_worker_name("oblas-63"));
        for name in ["inferd", "oblas-", "oblas-x", "oblas"] {
            assert!(!is_worker_name(name), "{name}");
        }
    }

    #[test]
    fn unnamed_workers_and_names_on_other_threads_are_caught() {
        let threads = |names: &[(i32, &str)]| {
            names.iter().map(|(tid, name)| (*tid, name.to_string())).collect::<Vec<_>>()
        };
        let workers = BTreeSet::from([7, 8]);
        let check = |names: &[(i32, &str)]| judge_names(&workers, &threads(names)).0;
        assert!(check(&[(1, "inferd"), (7, "oblas-0"), (8, "oblas-1")]));
        assert!(!check(&[(1, "inferd"), (7, "oblas-0"), (8, "inferd")]));
        assert!(!check(&[(1, "oblas-2"), (7, "oblas-0"), (8, "oblas-1")]));
        assert!(!check(&[(1, "inferd"), (7, "oblas-0")]));
        assert!(!judge_names(&BTreeSet::new(), &threads(&[(1, "inferd")])).0);
    }
}
