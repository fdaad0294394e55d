use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::{Class, Code, DISK_FULL, IO, UNCLASSIFIED};

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Information that needs no action.
    Note,
    /// Something to look at; nothing stops.
    Warning,
    /// The operation did not succeed.
    Error,
}

/// Line and column in a text file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// What a diagnostic is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The place in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The stage of a pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// A rule, test, patch or tool, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The parts of a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fields {
    /// The kind of problem.
    #[serde(serialize_with = "code_id")]
    pub code: &'static Code,
    /// How much it weighs.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What should have been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Something to run or to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What was being done, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// Why it happened, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn code_id<S: Serializer>(code: &&'static Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.id)
}

/// One problem. Boxed, so that a `Result` stays small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostic(Box<Fields>);

impl Diagnostic {
    /// An error; `message` is one sentence without a full stop.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            code,
            severity: Severity::Error,
            message: message.into(),
            subject: Subject::default(),
            expected: None,
            found: None,
            hint: None,
            context: Vec::new(),
            causes: Vec::new(),
        }))
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.0.severity = Severity::Warning;
        self
    }

    /// The file that it is about.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.subject.file = Some(path.into());
        self
    }

    /// The place in the file.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.0.subject.location = Some(location);
        self
    }

    /// The stage of a pipeline.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.0.subject.stage = Some(stage.into());
        self
    }

    /// A rule, test, patch or tool, by its name.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.0.subject.rule = Some(rule.into());
        self
    }

    /// What should have been there.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// What was there.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// Something to run or to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Why it happened.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.causes.push(cause.to_string());
        self
    }

    /// The parts.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// The kind of problem.
    pub fn code(&self) -> &'static Code {
        self.0.code
    }
}

impl std::error::Error for Diagnostic {}

/// All problems of one pass, so that none hides behind another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds what an error holds.
    pub fn push_error(&mut self, error: &anyhow::Error) {
        self.0.extend(collect(error));
    }

    /// `Ok` when there is no error among them.
    pub fn into_result(self) -> anyhow::Result<()> {
        match self.0.iter().any(|diagnostic| diagnostic.0.severity == Severity::Error) {
            false => Ok(()),
            true if self.0.len() == 1 => Err(self.0.into_iter().next().expect("one problem").into()),
            true => Err(self.into()),
        }
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        self.0.extend(diagnostics);
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(diagnostics: T) -> Self {
        Self(diagnostics.into_iter().collect())
    }
}

impl std::error::Error for Diagnostics {}

/// The diagnostics in an error, with the context that was added to it. An error that holds none becomes one of the codes
/// [`IO`] or [`UNCLASSIFIED`]. A full disk gets the code and the hint that help: no step's own hint does then.
pub fn collect(error: &anyhow::Error) -> Vec<Diagnostic> {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let position = error.chain().position(|cause| cause.is::<Diagnostic>() || cause.is::<Diagnostics>());
    let mut found = match position.and_then(|position| error.chain().nth(position)) {
        Some(cause) => match cause.downcast_ref::<Diagnostics>() {
            Some(Diagnostics(all)) => all.clone(),
            None => cause.downcast_ref::<Diagnostic>().cloned().into_iter().collect(),
        },
        None => {
            let is_io = error.chain().any(|cause| cause.is::<std::io::Error>());
            let code = if is_io { &IO } else { &UNCLASSIFIED };
            let mut diagnostic = Diagnostic::new(code, chain[0].clone());
            // An error that quotes its source in its own text would otherwise say everything twice.
            let mut said = chain[0].as_str();
            for cause in &chain[1..] {
                if !said.contains(cause.as_str()) {
                    diagnostic.0.causes.push(cause.clone());
                    said = cause;
                }
            }
            vec![diagnostic]
        }
    };
    let context = &chain[..position.unwrap_or(0)];
    for diagnostic in &mut found {
        diagnostic.0.context.splice(0..0, context.iter().cloned());
        let fields = &mut diagnostic.0;
        let texts =
            [Some(&fields.message), fields.found.as_ref()].into_iter().flatten().chain(&fields.causes);
        if texts.into_iter().any(|text| text.contains("No space left on device")) {
            fields.code = &DISK_FULL;
            fields.hint = DISK_FULL.sections.last().map(|(_, fix)| (*fix).to_string());
        }
    }
    found
}

/// Whether an error holds a diagnostic of that code.
pub fn has_code(error: &anyhow::Error, code: &Code) -> bool {
    collect(error).iter().any(|diagnostic| diagnostic.code() == code)
}

/// The hint of the first diagnostic in an error.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    collect(error).into_iter().find_map(|diagnostic| diagnostic.0.hint)
}

/// The exit status of a program that ends with these: 130 after a signal, 1 when a rule is known to be violated, else 2.
pub fn exit_code(diagnostics: &[Diagnostic]) -> u8 {
    let any = |class: Class| diagnostics.iter().any(|diagnostic| diagnostic.code().class == class);
    match () {
        () if any(Class::Interrupted) => 130,
        () if any(Class::Violation) => 1,
        () => 2,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    crate::codes! {
        pub BROKEN = Violation "broken": "it is broken" { "fix": "mend it" }
        pub ABSENT = Environment "absent": "it is absent" { "fix": "fetch it" }
        pub STOPPED = Interrupted "stopped": "a signal" { "fix": "run it again" }
    }

    #[test]
    fn added_context_does_not_hide_the_diagnostic() {
        let error = Err::<(), _>(Diagnostic::new(&ABSENT, "no zig").hint("cargo xtask doctor"))
            .context("building OpenBLAS")
            .context("running dist")
            .unwrap_err();
        let all = collect(&error);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].fields().context, ["running dist", "building OpenBLAS"]);
        assert_eq!(all[0].fields().hint.as_deref(), Some("cargo xtask doctor"));
        assert!(has_code(&error, &ABSENT) && !has_code(&error, &BROKEN));
    }

    #[test]
    fn an_error_without_a_diagnostic_keeps_its_causes() {
        let io = std::io::Error::from_raw_os_error(2);
        let all = collect(&anyhow::Error::from(io).context("opening `a`"));
        assert_eq!((all[0].code().id, all[0].fields().message.as_str()), ("io", "opening `a`"));
        assert_eq!(all[0].fields().causes, ["No such file or directory (os error 2)"]);
        assert_eq!(collect(&anyhow::anyhow!("x"))[0].code(), &UNCLASSIFIED);
    }

    #[test]
    fn a_cause_that_the_message_quotes_is_not_repeated() {
        let error = anyhow::anyhow!("inner").context("outer: inner");
        assert!(collect(&error)[0].fields().causes.is_empty());
    }

    #[test]
    fn a_full_disk_replaces_the_hint_of_the_step() {
        let full = std::io::Error::from_raw_os_error(28);
        let own = collect(&anyhow::Error::from(full).context("unpacking `a.c`"));
        let child = Diagnostic::new(&ABSENT, "could not fetch it")
            .found("OSError: No space left on device")
            .hint("check the network");
        let child = collect(&child.into());
        for diagnostic in [&own[0], &child[0]] {
            assert_eq!(diagnostic.code(), &DISK_FULL);
            assert_eq!(diagnostic.fields().hint.as_deref(), DISK_FULL.sections.last().map(|(_, fix)| *fix));
        }
    }

    #[test]
    fn the_exit_code_follows_the_gravest_class() {
        let of = |code: &'static Code| Diagnostic::new(code, "x");
        assert_eq!(exit_code(&[]), 2);
        assert_eq!(exit_code(&[of(&ABSENT)]), 2);
        assert_eq!(exit_code(&[of(&ABSENT), of(&BROKEN)]), 1);
        assert_eq!(exit_code(&[of(&BROKEN), of(&STOPPED)]), 130);
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let warning = Diagnostic::new(&BROKEN, "x").warning();
        assert!(Diagnostics(vec![warning.clone()]).into_result().is_ok());
        assert!(Diagnostics(vec![warning, Diagnostic::new(&BROKEN, "y")]).into_result().is_err());
    }
}
