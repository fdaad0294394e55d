//! Progress of a native build as events: `n of m objects`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diag::{Event, Events};

/// Reports progress until it is dropped.
pub struct Progress {
    events: Events,
    task: String,
    total: Option<u64>,
    done: AtomicU64,
    log: PathBuf,
}

impl Progress {
    /// The number of objects is known.
    pub fn known(events: &Events, task: &str, total: usize) -> Self {
        Self::new(events, task, Some(total as u64), Path::new(""))
    }

    /// The build writes a log. The number of calls is known when an earlier build wrote the same log.
    pub fn of_log(events: &Events, task: &str, log: &Path) -> Self {
        let total = std::fs::read_to_string(log).ok().map(|text| calls_in(&text)).filter(|calls| *calls > 0);
        Self::new(events, task, total, log)
    }

    fn new(events: &Events, task: &str, total: Option<u64>, log: &Path) -> Self {
        Self { events: events.clone(), task: task.into(), total, done: AtomicU64::new(0), log: log.into() }
    }

    /// One more object is done.
    pub fn increment(&self) {
        self.report(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// To be called repeatedly while the build runs; reads the log once a second.
    pub fn watcher(self) -> impl FnMut() + Send {
        let mut last_read = Instant::now();
        move || {
            if last_read.elapsed() > Duration::from_secs(1) {
                last_read = Instant::now();
                self.report(std::fs::read_to_string(&self.log).map_or(0, |text| calls_in(&text)));
            }
        }
    }

    fn report(&self, done: u64) {
        let total = self.total.map(|total| total.max(done));
        self.events.emit(&Event::Progress { task: self.task.clone(), done, total, unit: "objects" });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.events.emit(&Event::ProgressFinished { task: self.task.clone() });
    }
}

/// Compiler calls in a log.
fn calls_in(log: &str) -> u64 {
    log.lines().filter(|line| line.contains(" -c ") && line.contains(" -o ")).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn reports_each_object_and_the_end() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let events = Events::new(move |event| {
            sink.lock().unwrap().push(match event {
                Event::Progress { task, done, total, unit } => format!("{task} {done} of {total:?} {unit}"),
                Event::ProgressFinished { task } => format!("{task} finished"),
                other => format!("{other:?}"),
            });
        });
        let progress = Progress::known(&events, "mimalloc", 1);
        progress.increment();
        // A recipe that grew: the total is never below the number that is done.
        progress.increment();
        drop(progress);
        assert_eq!(
            *seen.lock().unwrap(),
            ["mimalloc 1 of Some(1) objects", "mimalloc 2 of Some(2) objects", "mimalloc finished"]
        );
        assert_eq!(calls_in("cc -O2 -c a.c -o a.o\nar rc x.a a.o\ncc -c b.c -o b.o\n"), 2);
    }
}
