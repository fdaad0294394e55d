//! The one error type that people read: what failed, where, what was expected and found, and what to run next.
//!
//! Leaves return it through `anyhow`, so that callers may add context; [`Failure::hint_of`] finds the hint again at the top.

use std::fmt;

/// A problem told so that its reader knows what to do next.
#[derive(Debug, Clone)]
pub struct Failure {
    what: String,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<String>,
}

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), expected: None, found: None, hint: None }
    }

    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The innermost hint of an error's chain, if any part of it has one. A full disk can end any step, a child's too, and
    /// no step's own hint helps then.
    pub fn hint_of(error: &anyhow::Error) -> Option<String> {
        if format!("{error:#}").contains("No space left on device") {
            return Some(DISK_FULL.into());
        }
        error.chain().filter_map(|cause| cause.downcast_ref::<Failure>()?.hint.clone()).last()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected: {}", expected.replace('\n', "\n            "))?;
        }
        if let Some(found) = &self.found {
            write!(f, "\n  found:    {}", found.replace('\n', "\n            "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Where the remedy is space.
pub const DISK_FULL: &str = "free some space on that disk (`df -h` shows it; target/ and the cache of `cargo xtask doctor` are the large \
     folders), or name other folders: `--cache-dir`, `--dist-dir`, TMPDIR";

/// Several problems found in one pass; a preflight reports all of them at once.
#[derive(Debug)]
pub struct Problems(pub Vec<Failure>);

impl Problems {
    /// `Ok` when there are none.
    pub fn into_result(self) -> anyhow::Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.into_iter().next().expect("one problem").into()),
            _ => Err(self.into()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problems", self.0.len())?;
        for (number, problem) in self.0.iter().enumerate() {
            write!(f, "\n{:>3}. {}", number + 1, problem.to_string().replace('\n', "\n     "))?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n     hint: {}", hint.replace('\n', "\n           "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The run was ended by a signal; not a defect, and told in one line.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; nothing half-made was left under a final name")
    }
}

impl std::error::Error for Interrupted {}

/// Ended because work beside it had failed; that failure is the one to be told.
#[derive(Debug)]
pub struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended because other work had failed")
    }
}

impl std::error::Error for Abandoned {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_innermost_hint_survives_added_context() {
        let error = Err::<(), _>(Failure::new("no zig").hint("cargo xtask doctor"))
            .context("building OpenBLAS")
            .unwrap_err();
        assert_eq!(Failure::hint_of(&error).as_deref(), Some("cargo xtask doctor"));
    }

    #[test]
    fn regression_a_full_disk_had_the_hint_of_the_step() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = anyhow::Error::from(full).context("unpacking `a.c`");
        assert_eq!(Failure::hint_of(&error).as_deref(), Some(DISK_FULL));
        let child = Failure::new("could not fetch it")
            .found("OSError: No space left on device")
            .hint("check the network");
        assert_eq!(Failure::hint_of(&child.into()).as_deref(), Some(DISK_FULL));
    }

    #[test]
    fn many_problems_are_told_at_once() {
        let text =
            Problems(vec![Failure::new("a").hint("run x"), Failure::new("b").expected("1").found("2")])
                .to_string();
        for part in ["2 problems", "1. a", "hint: run x", "2. b", "expected: 1", "found:    2"] {
            assert!(text.contains(part), "`{part}` is missing from:\n{text}");
        }
    }
}
