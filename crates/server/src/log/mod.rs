//! Events on stderr, one per line, as text or JSON.
//!
//! The library emits events with `tracing`; without [`init`] they go nowhere, so that the self-test and in-process tests print
//! nothing. `tracing-subscriber` formats them. The writer is this crate's own ([`queue`]): a reader that blocks stderr must never
//! block a request, and the queue must be bounded in bytes. `tracing-appender` bounds it in lines.
//!
//! String fields are recorded with `%`. The text form then quotes a value that is not plain ASCII, so that a value cannot forge a
//! second line or field.

mod queue;

use std::fmt::{self, Write};
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::compute_thread;
use queue::LineQueue;

pub use queue::REQUEST;

/// Longest value of a field, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// `TIME LEVEL event key=value ..`
    #[default]
    Text,
    /// An object with `timestamp`, `level`, `message` and the fields.
    Json,
}

static QUEUE: OnceLock<LineQueue> = OnceLock::new();

/// Starts to write events to stderr. Later calls change nothing.
pub fn init(format: Format) -> io::Result<()> {
    let queue = LineQueue::default();
    if QUEUE.set(queue.clone()).is_err() {
        return Ok(());
    }
    let writer = queue.clone();
    compute_thread::spawn_named("inferd-log".into(), move || writer.write_to(io::stderr()))?;
    // Fails only when a subscriber is set already, which the check above excludes.
    let _ = tracing::dispatcher::set_global_default(subscriber(format, queue));
    Ok(())
}

/// Waits until all lines are written, for at most `time_max`: a blocked stderr must not block the end of the process.
pub fn flush(time_max: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_empty(time_max);
    }
}

/// A part of a value that a client controls, of at most [`VALUE_BYTES_MAX`] bytes.
pub fn excerpt(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}

fn subscriber(format: Format, queue: LineQueue) -> tracing::Dispatch {
    let builder = tracing_subscriber::fmt().with_writer(queue).with_target(false).with_ansi(false);
    match format {
        Format::Text => builder.fmt_fields(debug_fn(write_field).delimited(" ")).finish().into(),
        Format::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().into()
        }
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut text = Truncated::default();
    // An error means that the value is longer than the limit.
    let is_cut = write!(text, "{value:?}").is_err();
    let ellipsis = if is_cut { ".." } else { "" };
    let text = text.0;
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
    match (field.name(), is_plain) {
        ("message", _) => write!(writer, "{text}{ellipsis}"),
        (name, true) => write!(writer, "{name}={text}{ellipsis}"),
        (name, false) => write!(writer, "{name}={text:?}{ellipsis}"),
    }
}

/// Takes [`VALUE_BYTES_MAX`] bytes and then fails.
#[derive(Default)]
struct Truncated(String);

impl Write for Truncated {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.floor_char_boundary(VALUE_BYTES_MAX - self.0.len());
        self.0.push_str(&text[..taken]);
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that `emit` causes, without their timestamps.
    fn lines(format: Format, emit: impl FnOnce()) -> String {
        let queue = LineQueue::default();
        tracing::dispatcher::with_default(&subscriber(format, queue.clone()), emit);
        queue.take_all()
    }

    #[test]
    fn text_quotes_values_that_could_forge_a_line_or_a_field() {
        let text = lines(Format::Text, || {
            tracing::info!(path = %"/a\n2 b=\"c", plain = %"/b", count = 3, missing = None::<u64>, "event");
        });
        let (time, rest) = text.split_at("2026-01-01T00:00:00.000000Z".len());
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        insta::assert_snapshot!(rest.trim(), @r#"INFO event path="/a\n2 b=\"c" plain=/b count=3"#);
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_has_typed_fields_beside_timestamp_level_and_message() {
        let text =
            lines(Format::Json, || tracing::warn!(path = %"/a\n", count = 3, missing = None::<u64>, "event"));
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["timestamp"].take().is_string());
        insta::assert_snapshot!(json, @r#"{"count":3,"level":"WARN","message":"event","path":"/a\n","timestamp":null}"#);
    }

    #[test]
    fn cuts_long_values() {
        let long = "ü".repeat(VALUE_BYTES_MAX);
        assert_eq!(excerpt(&long).len(), VALUE_BYTES_MAX);
        let text = lines(Format::Text, || tracing::info!(long = %long, "event"));
        assert!(text.len() < VALUE_BYTES_MAX + 64 && text.ends_with("ü\"..\n"), "{text}");
    }
}
