use diag::{Code, Diagnostic};
use serde::{Serialize, Serializer};

/// One promise, compared with what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioCheck {
    #[serde(serialize_with = "code_id")]
    code: &'static Code,
    name: String,
    passed: bool,
    expected: String,
    found: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn code_id<S: Serializer>(code: &&'static Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.id)
}

impl ScenarioCheck {
    /// `name` says what is checked, within the scenario; `code` is reported if `passed` is false.
    pub fn new(
        code: &'static Code,
        name: impl Into<String>,
        passed: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { code, name: name.into(), passed, expected: expected.into(), found: found.into() }
    }

    /// Whether the promise holds.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// What is checked.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The observed value.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// The violation, if the promise does not hold. `scenario` becomes the stage of the diagnostic.
    pub fn violation(&self, scenario: &str) -> Option<Diagnostic> {
        (!self.passed).then(|| {
            Diagnostic::new(self.code, self.code.summary)
                .stage(scenario)
                .rule(&self.name)
                .expected(&self.expected)
                .found(&self.found)
                .hint(self.code.sections.last().map_or("", |(_, fix)| fix))
        })
    }
}
