//! Policies as files: a preset or nothing to start from, what holds at every stage, and what each stage adds.
//!
//! A file is checked as a whole when it is read. A rule that it names must exist, and a waiver or a reason for a rule that
//! the policy never demands would be one that can never be used.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Layer, Policy, RULES, Stage, glob, rule};

/// A policy file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDocument {
    /// The preset that this one changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    pub every: Layer,
    pub linked: Layer,
    pub stripped: Layer,
    pub packed: Layer,
}

/// The policies that a stranger can start with, as the files that they are.
pub const PRESETS: &[(&str, &str)] = &[
    ("static-musl", include_str!("../../presets/static-musl.toml")),
    ("static-pie-musl", include_str!("../../presets/static-pie-musl.toml")),
    ("hardened-glibc", include_str!("../../presets/hardened-glibc.toml")),
    ("shared-library", include_str!("../../presets/shared-library.toml")),
];

/// Read once: a run over thousands of files asks for them again and again. That all of them parse is for a test to show.
fn parsed_preset(name: &str) -> Option<&'static PolicyDocument> {
    static PARSED: LazyLock<Vec<(&str, PolicyDocument)>> = LazyLock::new(|| {
        let parsed = PRESETS.iter().filter_map(|(name, text)| Some((*name, toml::from_str(text).ok()?)));
        parsed.collect()
    });
    PARSED.iter().find(|(known, _)| *known == name).map(|(_, document)| document)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// From 1, where the file says what is wrong.
    pub line: Option<usize>,
    pub message: String,
}

impl PolicyError {
    fn new(message: impl Into<String>) -> PolicyError {
        PolicyError { line: None, message: message.into() }
    }

    pub fn hint(&self) -> &'static str {
        "docs/gates.md lists every key of a policy; the presets in crates/elf-gate/presets are examples"
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for PolicyError {}

impl PolicyDocument {
    pub fn parse(text: &str) -> Result<PolicyDocument, PolicyError> {
        let document: PolicyDocument = toml::from_str(text).map_err(|error| PolicyError {
            line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            message: error.message().trim().to_string(),
        })?;
        document.check()?;
        Ok(document)
    }

    pub fn preset(name: &str) -> Result<PolicyDocument, PolicyError> {
        parsed_preset(name).cloned().ok_or_else(|| {
            let known: Vec<String> = PRESETS.iter().map(|(name, _)| format!("`{name}`")).collect();
            PolicyError::new(format!("no preset `{name}`: there are {}", known.join(", ")))
        })
    }

    /// What the document demands at a stage.
    pub fn at(&self, stage: Stage) -> Policy {
        let mut policy = Policy::default();
        self.apply(stage, &mut policy);
        policy
    }

    fn apply(&self, stage: Stage, policy: &mut Policy) {
        // Whether the preset exists was checked; a document made by hand with a wrong name gets the strictest there is.
        if let Some(base) = self.extends.as_deref().and_then(parsed_preset) {
            base.apply(stage, policy);
        }
        self.every.onto(policy);
        self.layer(stage).onto(policy);
    }

    fn layer(&self, stage: Stage) -> &Layer {
        match stage {
            Stage::Linked => &self.linked,
            Stage::Stripped => &self.stripped,
            Stage::Packed => &self.packed,
        }
    }

    /// What parsing checks, for documents that are part of another file.
    pub fn check(&self) -> Result<(), PolicyError> {
        if let Some(name) = &self.extends {
            PolicyDocument::preset(name)?;
        }
        for stage in Stage::ALL {
            check_stage(stage, &self.at(stage))?;
        }
        self.check_names()
    }

    /// Every rule that is named exists, and what is said about it can be of use at one of the stages where it is said.
    fn check_names(&self) -> Result<(), PolicyError> {
        let layers = [(&self.every, &Stage::ALL[..])].into_iter();
        let layers =
            layers.chain(Stage::ALL.iter().map(|stage| (self.layer(*stage), std::slice::from_ref(stage))));
        for (layer, stages) in layers {
            let severities = layer.severity.keys().map(|name| (name, "weighs"));
            let reasons = layer.cannot_tell.keys().map(|name| (name, "lets stand"));
            let waivers = layer.waivers.iter().map(|waiver| (&waiver.rule, "waives"));
            for (name, does) in severities.chain(reasons).chain(waivers) {
                let Some(rule) = rule(name) else {
                    let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
                    return Err(PolicyError::new(format!(
                        "no rule `{name}`: there are {}",
                        known.join(", ")
                    )));
                };
                let is_demanded = |stage: &Stage| rule.applies(*stage, &self.at(*stage));
                if !stages.iter().any(is_demanded) {
                    let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
                    return Err(PolicyError::new(format!(
                        "the policy {does} `{name}`, which it does not demand at the stage {}",
                        names.join(", ")
                    )));
                }
            }
            let reasons = layer.cannot_tell.iter().chain(layer.waivers.iter().map(|w| (&w.rule, &w.reason)));
            for (name, reason) in reasons {
                if reason.trim().is_empty() {
                    return Err(PolicyError::new(format!("an exception for `{name}` without a reason")));
                }
            }
        }
        Ok(())
    }
}

fn check_stage(stage: Stage, policy: &Policy) -> Result<(), PolicyError> {
    let stack = &policy.stack_size;
    let asked = stack.exact.max(stack.minimum);
    if let (Some(asked), Some(ceiling)) = (asked, stack.ceiling)
        && asked > ceiling
    {
        return Err(PolicyError::new(format!(
            "stage {stage}: a stack of {asked} is above the ceiling of {ceiling}, which is all that the libc gives"
        )));
    }
    if let (Some(exact), Some(minimum)) = (stack.exact, stack.minimum)
        && exact < minimum
    {
        return Err(PolicyError::new(format!(
            "stage {stage}: a stack of exactly {exact} is below the minimum of {minimum}"
        )));
    }
    for required in &policy.required_symbols {
        let matches = |forbidden: &&String| glob::matches(forbidden.as_bytes(), required.as_bytes());
        if let Some(forbidden) = policy.forbidden_symbols.iter().find(matches) {
            let by = if forbidden == required { String::new() } else { format!(" by `{forbidden}`") };
            return Err(PolicyError::new(format!(
                "stage {stage}: `{required}` is both required and forbidden{by}"
            )));
        }
    }
    Ok(())
}

impl Policy {
    /// What a preset demands at a stage.
    pub fn preset(name: &str, stage: Stage) -> Result<Policy, PolicyError> {
        Ok(PolicyDocument::preset(name)?.at(stage))
    }

    /// A fully static program on musl with a promised stack size, such as a Rust binary of a `*-linux-musl` target.
    pub fn static_musl(stage: Stage, stack_size_bytes: u64) -> Policy {
        // A test parses every preset, so the default is never what is judged by.
        let preset = Policy::preset("static-musl", stage).unwrap_or_default();
        Policy { stack_size: super::StackSize::exactly(stack_size_bytes), ..preset }
    }
}
