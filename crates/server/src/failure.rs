//! What a user sees when something went wrong: `error:`, the chain of causes, `hint:`.
//!
//! One type, so that every command ends in the same form. It carries no exit code: every failure of this program is exit 2;
//! exit 1 belongs to `selftest`, where a failed check is a result and not an error.

use std::fmt;

#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    pub fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), hint: None }
    }

    pub fn message(text: impl fmt::Display) -> Self {
        Self::new(anyhow::Error::msg(text.to_string()))
    }

    pub fn context(mut self, text: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(text);
        self
    }

    /// Something to run or to change, as a full sentence.
    pub fn hint(mut self, text: impl fmt::Display) -> Self {
        self.hint = Some(text.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        // An error that already quotes its source in its own text would say everything twice.
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, "\n  because: {text}")?;
                said = text;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_chain_and_the_hint() {
        let io = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let text = Failure::new(io).context("cannot write to stdout").hint("Free some space.").to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "error: cannot write to stdout");
        assert!(lines[1].starts_with("  because: No space left on device"), "{text}");
        assert_eq!(lines[2], "hint: Free some space.");
    }

    #[test]
    fn a_cause_that_was_already_said_is_not_repeated() {
        let text = Failure::new(anyhow::anyhow!("inner").context("outer: inner")).to_string();
        assert_eq!(text, "error: outer: inner");
    }
}
