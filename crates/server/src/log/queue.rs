//! A queue of lines, bounded in bytes, between the threads that log and the thread that writes to stderr.
//!
//! A line that does not fit is dropped and counted. The count is logged as an event of its own as soon as the writer has caught
//! up.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Target of the events about single requests. They are dropped first when stderr does not keep up.
pub const REQUEST: &str = "inferd::request";

/// Memory that waiting lines may take.
const BYTES_MAX: usize = 1 << 20;
/// The part of it that lines about single requests leave for other lines.
const BYTES_RESERVED: usize = 256 << 10;
/// Counted for each line besides its text: the allocation and its entry in the queue.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Shared by all threads.
#[derive(Clone, Default)]
pub struct LineQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of `lines` and of the line that is being written.
    bytes: usize,
    dropped: u64,
}

impl LineQueue {
    /// Writes lines to `output` for as long as the process lives. Write errors are ignored: no other output is left.
    pub fn write_to(&self, mut output: impl io::Write) {
        loop {
            let mut state = self.lock();
            let line = loop {
                if let Some(line) = state.lines.pop_front() {
                    break line;
                }
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let _ = output.write_all(&line);
            self.finish(&line);
        }
    }

    /// Releases the bytes of a written line. After the last one it logs the number of dropped lines.
    fn finish(&self, line: &[u8]) {
        let mut state = self.lock();
        let dropped = if state.lines.is_empty() { std::mem::take(&mut state.dropped) } else { 0 };
        drop(state);
        if dropped > 0 {
            tracing::warn!(count = dropped, "lines_dropped");
        }
        // Released last, so that `wait_until_empty` waits for the event above.
        self.lock().bytes -= cost(line);
        self.0.changed.notify_all();
    }

    /// Waits until every line has been written, for at most `time_max`.
    pub fn wait_until_empty(&self, time_max: Duration) {
        let deadline = Instant::now() + time_max;
        let mut state = self.lock();
        while state.bytes > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn push(&self, line: &[u8], bytes_max: usize) {
        let mut state = self.lock();
        if state.bytes + cost(line) > bytes_max {
            state.dropped += 1;
            return;
        }
        state.bytes += cost(line);
        state.lines.push_back(line.to_owned());
        drop(state);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two writes to the state.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines that wait.
    #[cfg(test)]
    pub fn take_all(&self) -> String {
        let mut state = self.lock();
        state.bytes = 0;
        state.lines.drain(..).map(|line| String::from_utf8(line).unwrap()).collect()
    }
}

fn cost(line: &[u8]) -> usize {
    line.len() + LINE_OVERHEAD_BYTES
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { queue: self, bytes_max: BYTES_MAX }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LineWriter<'a> {
        let reserved = if event.target() == REQUEST { BYTES_RESERVED } else { 0 };
        LineWriter { queue: self, bytes_max: BYTES_MAX - reserved }
    }
}

/// Takes one line; `tracing-subscriber` writes each event with one call.
pub struct LineWriter<'a> {
    queue: &'a LineQueue,
    bytes_max: usize,
}

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(line, self.bytes_max);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    /// Blocks in the first write until it receives a message, then passes lines on.
    struct Blocked {
        unblock: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Blocked {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.unblock.recv();
            let _ = self.written.send(line.to_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_output_never_blocks_a_producer_and_memory_stays_bounded() {
        let queue = LineQueue::default();
        let ((unblock, blocked), (written, received)) = (mpsc::channel(), mpsc::channel());
        let writer = queue.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(queue.clone()).with_ansi(false).finish();
        std::thread::spawn(move || {
            tracing::subscriber::with_default(subscriber, || {
                writer.write_to(Blocked { unblock: blocked, written });
            });
        });
        let line = [b'x'; 1000];
        for _ in 0..5000 {
            assert_eq!(queue.make_writer().write(&line).unwrap(), line.len());
        }
        let waiting = queue.lock().bytes;
        let dropped = queue.lock().dropped;
        assert!(waiting <= BYTES_MAX && waiting > BYTES_MAX / 2, "{waiting}");
        assert!(dropped > 3000, "{dropped}");
        // Unblocks every write.
        drop(unblock);
        queue.wait_until_empty(Duration::from_secs(20));
        let lines: Vec<Vec<u8>> = received.try_iter().collect();
        let report = String::from_utf8(lines.last().unwrap().clone()).unwrap();
        assert!(report.contains("lines_dropped") && report.contains(&format!("count={dropped}")), "{report}");
    }

    #[test]
    fn lines_about_requests_leave_the_reserve_to_other_lines() {
        let queue = LineQueue::default();
        let line = [b'x'; 10_000];
        for _ in 0..200 {
            queue.push(&line, BYTES_MAX - BYTES_RESERVED);
        }
        assert!(queue.lock().dropped > 0);
        let dropped = queue.lock().dropped;
        queue.push(&line, BYTES_MAX);
        assert_eq!(queue.lock().dropped, dropped);
    }

    #[test]
    fn waiting_for_a_blocked_output_ends_after_its_time() {
        let queue = LineQueue::default();
        queue.push(b"line", BYTES_MAX);
        queue.wait_until_empty(Duration::from_millis(1));
        assert!(queue.lock().bytes > 0);
    }
}
