//! Formatting into a fixed buffer, and writes to stderr that end.

use core::fmt;
use std::io::{Error, ErrorKind};

/// The time that a blocked reader of stderr can delay the end of the process.
const WAIT_MAX_MS: i64 = 2000;
/// A pipe that `poll` reports as writable accepts this number of bytes without blocking (PIPE_BUF is 4096).
const BUFFER_BYTES: usize = 2048;

/// Text on its way to stderr.
pub struct Output {
    buffer: [u8; BUFFER_BYTES],
    used: usize,
    sink: Sink,
}

impl Output {
    /// Output to stderr.
    pub fn stderr() -> Self {
        Self { buffer: [0; BUFFER_BYTES], used: 0, sink: Sink::of(libc::STDERR_FILENO, WAIT_MAX_MS) }
    }

    /// Writes what is buffered. The parts of a report that are safe to compose are written before those that may crash.
    pub fn flush(&mut self) {
        self.sink.write(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == BUFFER_BYTES {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// A file descriptor that is written without blocking for longer than its deadline.
struct Sink {
    fd: libc::c_int,
    is_socket: bool,
    deadline_ms: i64,
}

impl Sink {
    /// The descriptor may be shared with other processes, so its own flags stay unchanged. A pipe or a terminal is opened
    /// again with O_NONBLOCK. Without `/proc` or without permission `poll` alone limits the wait; another writer of the
    /// same pipe can then take the space between `poll` and `write`.
    fn of(fd: libc::c_int, wait_max_ms: i64) -> Self {
        let mut sink = Self { fd, is_socket: false, deadline_ms: now_ms() + wait_max_ms };
        // SAFETY: `stat` consists of integers, for which zero is valid.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        // SAFETY: `stat` outlives the call.
        if unsafe { libc::fstat(fd, &raw mut stat) } != 0 {
            return sink;
        }
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => sink.is_socket = true,
            libc::S_IFIFO | libc::S_IFCHR => {
                let path = if fd == libc::STDERR_FILENO { c"/proc/self/fd/2" } else { return sink };
                let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
                // SAFETY: the path ends in a NUL byte.
                let again = unsafe { libc::open(path.as_ptr(), flags) };
                if again >= 0 {
                    sink.fd = again;
                }
            }
            _ => {}
        }
        sink
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left_ms = self.deadline_ms - now_ms();
            if left_ms <= 0 {
                return;
            }
            let mut poll = libc::pollfd { fd: self.fd, events: libc::POLLOUT, revents: 0 };
            // SAFETY: `poll` is one entry that outlives the call.
            if unsafe { libc::poll(&raw mut poll, 1, left_ms as libc::c_int) } == 0 {
                return;
            }
            let written = if self.is_socket {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                // SAFETY: the bytes are valid for reads.
                unsafe { libc::send(self.fd, bytes.as_ptr().cast(), bytes.len(), flags) }
            } else {
                // SAFETY: the bytes are valid for reads.
                unsafe { libc::write(self.fd, bytes.as_ptr().cast(), bytes.len()) }
            };
            match usize::try_from(written) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // An error of the system holds its number only: nothing is allocated.
                Err(_)
                    if matches!(
                        Error::last_os_error().kind(),
                        ErrorKind::Interrupted | ErrorKind::WouldBlock
                    ) => {}
                Err(_) => return,
            }
        }
    }
}

/// Monotonic time.
pub fn now_ms() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// A number of bytes with the largest unit that fits: `8 MiB`, `1.5 GiB`, `640 KiB`.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1024 => return write!(f, "{} bytes", self.0),
            1024..0x10_0000 => (1 << 10, "KiB"),
            0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
            _ => (1u64 << 30, "GiB"),
        };
        // Rounded down: a limit is not printed as larger than it is.
        match self.0 % unit * 10 / unit {
            0 => write!(f, "{} {name}", self.0 / unit),
            tenths => write!(f, "{}.{tenths} {name}", self.0 / unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn an_unread_pipe_delays_a_write_until_the_deadline_only() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = Output { sink: Sink::of(writer.as_raw_fd(), 300), ..Output::stderr() };
        for _ in 0..200 {
            write!(output, "{:1000}", "line").unwrap();
        }
        output.flush();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.len() >= 4096 && text.len() < 200_000, "{}", text.len());
    }

    #[test]
    fn sizes_have_the_largest_unit_and_are_rounded_down() {
        let texts =
            [0, 1023, 1 << 10, 8 << 20, (3 << 29) + 1, 65536 + 1023].map(|bytes| Size(bytes).to_string());
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1 KiB", "8 MiB", "1.5 GiB", "64.9 KiB"]);
    }
}
