//! `n of m objects, elapsed`, on a terminal only: a log of CI gets one line when the work begins and one when it ends.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub struct Progress {
    name: String,
    shown: bool,
    total: Option<usize>,
    done: AtomicUsize,
    started: Instant,
    log: PathBuf,
}

impl Progress {
    pub fn known(name: &str, total: usize, quiet: bool) -> Self {
        Self::new(name, Some(total), Path::new(""), quiet)
    }

    /// The build writes a log; how many calls there will be is known when an earlier one wrote it.
    pub fn of_log(name: &str, log: &Path, quiet: bool) -> Self {
        let total = std::fs::read_to_string(log).ok().map(|text| calls_in(&text)).filter(|calls| *calls > 0);
        Self::new(name, total, log, quiet)
    }

    fn new(name: &str, total: Option<usize>, log: &Path, quiet: bool) -> Self {
        Self {
            name: name.into(),
            shown: !quiet && std::io::stderr().is_terminal(),
            total,
            done: AtomicUsize::new(0),
            started: Instant::now(),
            log: log.into(),
        }
    }

    pub fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.shown {
            show(&line(&self.name, done, self.total, self.started.elapsed()));
        }
    }

    /// To be called now and then while the build runs.
    pub fn watcher(self) -> impl FnMut() + Send {
        let mut looked = Instant::now();
        move || {
            if self.shown && looked.elapsed() > Duration::from_secs(1) {
                looked = Instant::now();
                let done = std::fs::read_to_string(&self.log).map_or(0, |text| calls_in(&text));
                show(&line(&self.name, done, self.total, self.started.elapsed()));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            show("");
        }
    }
}

fn show(text: &str) {
    // Nobody is served by an error about a progress line.
    let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
}

fn line(name: &str, done: usize, total: Option<usize>, elapsed: Duration) -> String {
    let of = total.map_or_else(String::new, |total| format!(" of {}", total.max(done)));
    format!("{name:>10} {done}{of} objects, {:.0} s", elapsed.as_secs_f64())
}

/// Compiler calls in a log.
pub fn calls_in(log: &str) -> usize {
    log.lines().filter(|line| line.contains(" -c ") && line.contains(" -o ")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let at = Duration::from_millis(61_200);
        assert_eq!(line("openblas", 3, Some(1423), at), "  openblas 3 of 1423 objects, 61 s");
        assert_eq!(line("openblas", 3, None, at), "  openblas 3 objects, 61 s");
        assert_eq!(line("openblas", 9, Some(4), at), "  openblas 9 of 9 objects, 61 s");
        assert_eq!(calls_in("cc -O2 -c a.c -o a.o\nar rc x.a a.o\ncc -c b.c -o b.o\n"), 2);
    }
}
