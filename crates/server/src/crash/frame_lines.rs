//! The lines of a backtrace: one for each address, bounded in number.

use core::fmt::{self, Write};

use super::output::Output;

/// Innermost and outermost frames of a long backtrace. Equal addresses in sequence, as recursion leaves them, are one line.
const LINES_FIRST: usize = 48;
const LINES_LAST: usize = 8;

/// An address, and how often it occurs in sequence.
#[derive(Clone, Copy, Default)]
struct Run {
    address: usize,
    count: usize,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => writeln!(f, "    {:#x}", self.address),
            count => writeln!(f, "    {:#x} {count} times", self.address),
        }
    }
}

/// The lines of the backtrace: the first ones at once, the last ones at the end.
pub struct Lines<'a> {
    out: &'a mut Output,
    is_first: bool,
    written: usize,
    run: Run,
    last: [Run; LINES_LAST],
    skipped: usize,
}

impl<'a> Lines<'a> {
    /// No line yet.
    pub fn of(out: &'a mut Output) -> Self {
        Self { out, is_first: true, written: 0, run: Run::default(), last: Default::default(), skipped: 0 }
    }

    /// The next frame, from the innermost one.
    pub fn add(&mut self, address: usize) {
        if self.is_first {
            // A damaged stack can end the walk at its first step.
            self.is_first = false;
            let _ = write!(self.out, "{}", Run { address, count: 1 });
            self.out.flush();
        } else if self.run.count > 0 && self.run.address == address {
            self.run.count += 1;
        } else {
            self.end_run();
            self.run = Run { address, count: 1 };
        }
    }

    fn end_run(&mut self) {
        if self.run.count == 0 {
            return;
        }
        if self.written < LINES_FIRST {
            let _ = write!(self.out, "{}", self.run);
            // A damaged stack can end the walk at any frame.
            self.out.flush();
            self.written += 1;
        } else {
            self.last[self.skipped % LINES_LAST] = self.run;
            self.skipped += 1;
        }
    }

    /// Writes the last frames.
    pub fn finish(mut self) -> fmt::Result {
        self.end_run();
        let kept = self.skipped.min(LINES_LAST);
        if self.skipped > kept {
            writeln!(self.out, "    … {} lines left out", self.skipped - kept)?;
        }
        for index in self.skipped - kept..self.skipped {
            write!(self.out, "{}", self.last[index % LINES_LAST])?;
        }
        Ok(())
    }
}
