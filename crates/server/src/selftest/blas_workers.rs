//! The stacks and names of OpenBLAS's worker threads in this process.
//!
//! `gotoblas_pthread`, which the lapack drivers of OpenBLAS use, runs the probe on each worker, so the measured threads
//! are those that run the GEMMs. A GEMM that succeeds would prove nothing: most of them need little stack.

use std::collections::BTreeSet;

use super::check::CheckResult;
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, Reading, Rendezvous, Slot};

/// Prefix that the patch on worker names sets in `/proc/self/task/*/comm`.
const NAME_PREFIX: &str = "oblas-";

/// The check of the stacks.
pub fn stacks() -> CheckResult {
    let required = match stack_probe::required_bytes() {
        Ok(required) => required,
        Err(reason) => return CheckResult::not_measured("a build with a stack size", reason),
    };
    let expected =
        format!("every OpenBLAS worker has at least {required} bytes of stack and a guard directly below it");
    let workers = match measure() {
        Ok(workers) => workers,
        Err(reason) => return CheckResult::not_measured(expected, reason),
    };
    let maps = match ProcessMaps::read() {
        Ok(maps) => maps,
        Err(error) => {
            return CheckResult::not_measured(expected, format!("cannot read /proc/self/maps: {error}"));
        }
    };
    let mut all_pass = true;
    let mut found = Vec::new();
    for reading in &workers {
        let (pass, text) = stack_probe::evaluate(*reading, &maps, required);
        all_pass &= pass;
        let line = format!("{}: {text}", name_of(reading.tid));
        // The first result stands for all that pass; every failure is listed.
        if found.is_empty() || !pass {
            found.push(line);
        }
    }
    CheckResult::of(all_pass, expected, format!("{} workers; {}", workers.len(), found.join("; ")))
}

/// The check of the names.
pub fn names() -> CheckResult {
    let expected =
        format!("every OpenBLAS worker has a name of the form `{NAME_PREFIX}N`, and no other thread has one");
    let workers = match measure() {
        Ok(workers) => workers.iter().map(|reading| reading.tid).collect::<BTreeSet<_>>(),
        Err(reason) => return CheckResult::not_measured(expected, reason),
    };
    match task_ids() {
        Ok(tasks) => {
            let named: Vec<_> = tasks.into_iter().map(|tid| (tid, name_of(tid))).collect();
            let (pass, found) = evaluate_names(&workers, &named);
            CheckResult::of(pass, expected, found)
        }
        Err(error) => CheckResult::not_measured(expected, format!("cannot list /proc/self/task: {error}")),
    }
}

fn evaluate_names(workers: &BTreeSet<i32>, threads: &[(i32, String)]) -> (bool, String) {
    let wrong: Vec<_> = threads
        .iter()
        .filter(|(tid, name)| is_worker_name(name) != workers.contains(tid))
        .map(|(tid, name)| {
            let kind = if workers.contains(tid) { "worker" } else { "another thread" };
            format!("{kind} has the name `{name}`")
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

/// The reading of each worker. OpenBLAS starts no worker before a product needs one; the check then requests one.
pub fn measure() -> Result<Vec<Reading>, String> {
    if openblas_sys::num_threads() < 2 {
        openblas_sys::set_num_threads(2);
    }
    let threads = openblas_sys::num_threads();
    if threads < 2 {
        return Err(format!("OpenBLAS runs on {threads} thread and starts no worker"));
    }
    let rendezvous = Rendezvous::of(threads as u32);
    let mut slots: Vec<_> = (0..threads).map(|_| Slot::at(&rendezvous)).collect();
    let entry: unsafe extern "C" fn(*mut std::ffi::c_void) = stack_probe::fill_slot;
    // SAFETY: OpenBLAS calls `entry` once for each of the `threads` slots, which are `stride` bytes apart, and returns
    // after all calls have ended. It uses the first slot on this thread.
    unsafe {
        openblas_sys::ffi::gotoblas_pthread(
            threads as i32,
            entry as *mut std::ffi::c_void,
            slots.as_mut_ptr().cast(),
            size_of::<Slot>() as i32,
        );
    }
    if !rendezvous.complete() {
        return Err(format!("not all of the {threads} BLAS threads ran the probe"));
    }
    let readings: Vec<_> = slots.iter_mut().map(Slot::reading).collect();
    let distinct: BTreeSet<_> = readings.iter().map(|reading| reading.tid).collect();
    if distinct.len() != threads {
        return Err(format!("{} distinct threads filled {threads} slots", distinct.len()));
    }
    Ok(readings.into_iter().skip(1).collect())
}

/// Ids of all threads of this process.
pub fn task_ids() -> std::io::Result<Vec<i32>> {
    let mut tids = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        tids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    tids.sort_unstable();
    Ok(tids)
}

/// Name of a thread.
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
    fn accepts_only_the_name_of_the_patch() {
        assert!(is_worker_name("oblas-0") && is_worker_name("oblas-63"));
        for name in ["inferd", "oblas-", "oblas-x", "oblas"] {
            assert!(!is_worker_name(name), "{name}");
        }
    }

    #[test]
    fn rejects_unnamed_workers_and_worker_names_of_other_threads() {
        let threads = |names: &[(i32, &str)]| {
            names.iter().map(|(tid, name)| (*tid, name.to_string())).collect::<Vec<_>>()
        };
        let workers = BTreeSet::from([7, 8]);
        let check = |names: &[(i32, &str)]| evaluate_names(&workers, &threads(names)).0;
        assert!(check(&[(1, "inferd"), (7, "oblas-0"), (8, "oblas-1")]));
        assert!(!check(&[(1, "inferd"), (7, "oblas-0"), (8, "inferd")]));
        assert!(!check(&[(1, "oblas-2"), (7, "oblas-0"), (8, "oblas-1")]));
        assert!(!check(&[(1, "inferd"), (7, "oblas-0")]));
        assert!(!evaluate_names(&BTreeSet::new(), &threads(&[(1, "inferd")])).0);
    }
}
