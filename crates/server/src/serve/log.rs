//! Lines about what happens, on stderr, one event a line: `time level event key=value ..` or JSON.
//!
//! Whoever logs never waits for the reader of stderr: lines go through a bounded channel to a thread that writes. When
//! the reader does not keep up, lines are dropped and counted, and the count is told with the next line that gets through.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::compute_thread;

const LINES_MAX: usize = 4096;
/// Lines about single requests leave this much room for what happens once.
const LINES_RESERVED: usize = 1024;
const REQUEST: &str = "request";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Clone)]
pub struct Log {
    format: Format,
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    /// In the channel.
    waiting: Arc<AtomicUsize>,
}

/// Joined at the very end, so that the last lines are written.
pub struct Writer(Option<JoinHandle<()>>);

impl Writer {
    /// Every [`Log`] must be gone: the writer ends with the last of them.
    pub fn join(mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl Log {
    pub fn start(format: Format) -> std::io::Result<(Log, Writer)> {
        let (lines, inbox) = sync_channel::<String>(LINES_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let write = move || {
            for line in inbox {
                left.fetch_sub(1, Ordering::Relaxed);
                // With stderr gone there is nobody to tell.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        };
        let writer = compute_thread::spawn_named("inferd-log".into(), write)?;
        Ok((Log { format, lines, dropped: Arc::default(), waiting }, Writer(Some(writer))))
    }

    /// For an application that is run for its answers: every line is dropped.
    pub fn to_nobody() -> Log {
        let (lines, _) = sync_channel(0);
        Log { format: Format::Text, lines, dropped: Arc::default(), waiting: Arc::default() }
    }

    pub fn write(&self, level: Level, event: &str, fields: &[(&str, String)]) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0
            && !self.send(LINES_MAX, Level::Warn, "lines_dropped", &[("count", dropped.to_string())])
        {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        let lines_max = if event == REQUEST { LINES_MAX - LINES_RESERVED } else { LINES_MAX };
        if !self.send(lines_max, level, event, fields) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&self, lines_max: usize, level: Level, event: &str, fields: &[(&str, String)]) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < lines_max
            && self.lines.try_send(line(self.format, level, event, fields)).is_ok()
        {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// About one request: the first to be dropped.
    pub fn request(&self, level: Level, fields: &[(&str, String)]) {
        self.write(level, REQUEST, fields);
    }

    pub fn info(&self, event: &str, fields: &[(&str, String)]) {
        self.write(Level::Info, event, fields);
    }
}

fn line(format: Format, level: Level, event: &str, fields: &[(&str, String)]) -> String {
    let time = rfc3339(unix_time());
    match format {
        Format::Text => {
            let mut line = format!("{time} {} {event}", level.name());
            for (key, value) in fields {
                let plain =
                    !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
                if plain {
                    line.push_str(&format!(" {key}={value}"));
                } else {
                    line.push_str(&format!(" {key}={value:?}"));
                }
            }
            line + "\n"
        }
        Format::Json => {
            let mut object = serde_json::Map::new();
            for (key, value) in [("time", time), ("level", level.name().into()), ("event", event.into())] {
                object.insert(key.into(), value.into());
            }
            for (key, value) in fields {
                object.insert((*key).into(), value.as_str().into());
            }
            serde_json::Value::Object(object).to_string() + "\n"
        }
    }
}

/// Seconds and milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the rule keeps clocks out of releases; a log line needs one")]
fn unix_time() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_millis())
}

pub fn unix_seconds() -> u64 {
    unix_time().0
}

/// Days to a date by the era of 400 years that begins on 1 March: leap days then come last.
fn rfc3339((seconds, millis): (u64, u32)) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month_index + 2) / 5 + 1, (month_index + 2) % 12 + 1);
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_are_known() {
        assert_eq!(rfc3339((0, 0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339((951_782_399, 7)), "2000-02-28T23:59:59.007Z");
        assert_eq!(rfc3339((951_782_400, 0)), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339((1_735_689_599, 0)), "2024-12-31T23:59:59.000Z");
    }

    #[test]
    fn values_cannot_forge_a_line() {
        let text = line(Format::Text, Level::Info, "e", &[("path", "/a\n2 b=\"c".into())]);
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(r#"path="/a\n2 b=\"c""#), "{text}");
        let json = line(Format::Json, Level::Warn, "e", &[("path", "/a\n".into())]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["path"], &value["level"]), (&"/a\n".into(), &"warn".into()));
    }
}
