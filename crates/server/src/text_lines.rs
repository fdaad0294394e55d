//! Reads texts from a stream, one per line, in batches of bounded size.
//!
//! The stream may be endless, so the reader holds one batch at most. A batch ends early when the input pauses, so that
//! a program which writes one line and waits for its vector receives it. An empty line is the empty text. A newline at
//! the end of the input begins no further text. `\r\n` ends a line like `\n`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// Longest text, in bytes. Models read a few thousand tokens at most; a longer line indicates wrong input, such as a
/// binary file.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Texts in a batch: enough for matrices of full size, few enough for a short delay.
pub const BATCH_TEXTS_MAX: usize = 64;
/// A batch that has reached this many bytes takes no further text.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

const READ_BUFFER_BYTES: usize = 64 << 10;

/// Lines count from 1.
#[derive(Debug)]
pub enum LineError {
    TooLong { line: u64 },
    NotUtf8 { line: u64, column: usize },
    Read { line: u64, source: io::Error },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { line } => write!(
                f,
                "line {line} of stdin is longer than {} KiB, the limit for one text",
                LINE_BYTES_MAX >> 10
            ),
            Self::NotUtf8 { line, column } => {
                write!(
                    f,
                    "line {line} of stdin is not valid UTF-8: the first bad byte is byte {column} of the line"
                )
            }
            Self::Read { line, .. } => write!(f, "cannot read line {line} of stdin"),
        }
    }
}

impl std::error::Error for LineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Iterates over the batches of a stream.
pub struct TextLines<R> {
    input: BufReader<R>,
    /// Lines read so far.
    line: u64,
    /// An error after valid lines. The valid lines are returned first.
    pending: Option<LineError>,
    ended: bool,
}

impl<R: Read> TextLines<R> {
    /// Reads `input` through a buffer.
    pub fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(READ_BUFFER_BYTES, input),
            line: 0,
            pending: None,
            ended: false,
        }
    }

    /// The next texts, at least one; `None` at the end and after an error.
    pub fn next_batch(&mut self) -> Result<Option<Vec<String>>, LineError> {
        let mut texts = Vec::new();
        let mut bytes = 0;
        while !self.ended && self.pending.is_none() {
            match self.next_line() {
                Ok(Some(text)) => {
                    bytes += text.len();
                    texts.push(text);
                }
                Ok(None) => self.ended = true,
                Err(error) => self.pending = Some(error),
            }
            let paused = self.input.buffer().is_empty();
            if texts.len() >= BATCH_TEXTS_MAX || bytes >= BATCH_BYTES_MAX || (paused && !texts.is_empty()) {
                break;
            }
        }
        if !texts.is_empty() {
            return Ok(Some(texts));
        }
        self.ended = true;
        match self.pending.take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    fn next_line(&mut self) -> Result<Option<String>, LineError> {
        let line = self.line + 1;
        let mut bytes = Vec::new();
        // Two bytes beyond the limit hold the longest line end, so that a line of exactly the limit differs from one that is
        // too long.
        let limit = LINE_BYTES_MAX as u64 + 2;
        let read = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| LineError::Read { line, source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line = line;
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if bytes.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong { line });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(LineError::NotUtf8 { line, column: error.utf8_error().valid_up_to() + 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> (Vec<String>, Option<String>) {
        let mut lines = TextLines::new(input);
        let mut texts = Vec::new();
        loop {
            match lines.next_batch() {
                Ok(Some(batch)) => {
                    assert!(!batch.is_empty() && batch.len() <= BATCH_TEXTS_MAX);
                    texts.extend(batch);
                }
                Ok(None) => return (texts, None),
                Err(error) => return (texts, Some(error.to_string())),
            }
        }
    }

    #[track_caller]
    fn check(input: &[u8], want: &[&str]) {
        assert_eq!(all(input), (want.iter().map(|text| text.to_string()).collect(), None));
    }

    #[test]
    fn a_final_newline_begins_no_text() {
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"a", &["a"]);
        check(b"a\n", &["a"]);
        check(b"a\n\n", &["a", ""]);
        check(b"\n\na", &["", "", "a"]);
    }

    #[test]
    fn crlf_ends_a_line_and_a_single_cr_does_not() {
        check(b"a\r\nb\r\n\r\n", &["a", "b", ""]);
        check(b"a\rb\n", &["a\rb"]);
    }

    #[test]
    fn returns_valid_lines_before_the_error_of_a_later_line() {
        let (texts, error) = all(b"good\nfine\nba\xffd\nnever\n");
        assert_eq!(texts, ["good", "fine"]);
        assert_eq!(
            error.unwrap(),
            "line 3 of stdin is not valid UTF-8: the first bad byte is byte 3 of the line"
        );
    }

    #[test]
    fn accepts_the_longest_line_and_rejects_one_byte_more() {
        for end in [&b""[..], b"\n", b"\r\n"] {
            let mut input = vec![b'x'; LINE_BYTES_MAX];
            input.extend_from_slice(end);
            assert_eq!(all(&input).0.len(), 1);
            input.insert(0, b'x');
            let error = all(&input).1.unwrap();
            assert!(error.starts_with("line 1 of stdin is longer than 1024 KiB"), "{error}");
        }
    }

    #[test]
    fn bounds_a_batch_in_texts_and_in_bytes() {
        let mut lines = TextLines::new(io::repeat(b'\n'));
        assert_eq!(lines.next_batch().unwrap().unwrap().len(), BATCH_TEXTS_MAX);
        let long = [vec![b'x'; BATCH_BYTES_MAX], b"\ny\n".to_vec()].concat();
        assert_eq!(TextLines::new(&long[..]).next_batch().unwrap().unwrap().len(), 1);
    }

    #[test]
    fn ends_the_batch_when_the_input_pauses() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = TextLines::new(reader);
        io::Write::write_all(&mut writer, b"one\n").unwrap();
        // The writer stays open: a batch that waits for more would block here.
        assert_eq!(lines.next_batch().unwrap().unwrap(), ["one"]);
    }

    #[test]
    fn rejects_an_endless_line_after_the_limit() {
        let mut lines = TextLines::new(io::repeat(b'x'));
        assert!(matches!(lines.next_batch(), Err(LineError::TooLong { line: 1 })));
        assert!(lines.next_batch().unwrap().is_none());
    }
}
