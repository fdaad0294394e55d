//! Policies as files: a preset or nothing to start from, what holds at every stage, and what each stage adds.
//!
//! A file is checked as a whole when it is read. A rule that it names must exist, and a waiver or a reason for a rule that
//! the policy never demands would be one that can never be used.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Layer, Policy, RULES, Stage, Waiver, glob, rule};
use crate::facts::{LOCAL_PATH_PREFIXES, LocalPathSearch};

/// A policy file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDocument {
    /// The preset that this one changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    pub every: Layer,
    pub object: Layer,
    pub linked: Layer,
    pub stripped: Layer,
    pub debug: Layer,
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

/// All that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// From 1, where the file says what is wrong.
    pub line: Option<usize>,
    /// Never empty.
    pub problems: Vec<String>,
}

impl PolicyError {
    fn new(message: impl Into<String>) -> PolicyError {
        PolicyError { line: None, problems: vec![message.into()] }
    }

    pub fn hint(&self) -> &'static str {
        "docs/gates.md lists every key of a policy; the presets in crates/elf-gate/presets are examples"
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &self.problems[..]) {
            (Some(line), problems) => write!(f, "line {line}: {}", problems.join("; ")),
            (None, [only]) => f.write_str(only),
            (None, several) => {
                write!(f, "{} problems", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for PolicyError {}

impl PolicyDocument {
    pub fn parse(text: &str) -> Result<PolicyDocument, PolicyError> {
        let document: PolicyDocument = toml::from_str(text).map_err(|error| PolicyError {
            line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            problems: vec![error.message().trim().to_string()],
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

    /// What to look for in the bytes so that `no-local-paths` can be judged at every stage.
    pub fn local_paths(&self) -> LocalPathSearch {
        let usual = LOCAL_PATH_PREFIXES.iter().map(|prefix| prefix.to_string());
        let mut prefixes: Vec<String> = usual.collect();
        for prefix in Stage::ALL.into_iter().flat_map(|stage| self.at(stage).local_paths) {
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        LocalPathSearch::new(prefixes)
    }

    /// Waivers that name a file which is none of these, as one line each. [`judge`](super::judge) sees one file at a time,
    /// and cannot know of a waiver that no file uses.
    pub fn waivers_of_no_file(&self, files: &[&str]) -> Vec<String> {
        let mut waivers: Vec<Waiver> = Vec::new();
        for waiver in Stage::ALL.into_iter().flat_map(|stage| self.at(stage).waivers) {
            if !waivers.contains(&waiver) {
                waivers.push(waiver);
            }
        }
        let names_none =
            |pattern: &str| !files.iter().any(|file| glob::matches(pattern.as_bytes(), file.as_bytes()));
        let unused = waivers.iter().filter_map(|waiver| {
            let pattern = waiver.file.as_deref().filter(|pattern| names_none(pattern))?;
            Some(format!("the waiver for `{}` names `{pattern}`, which is none of the files", waiver.rule))
        });
        unused.collect()
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
            Stage::Object => &self.object,
            Stage::Linked => &self.linked,
            Stage::Stripped => &self.stripped,
            Stage::Debug => &self.debug,
            Stage::Packed => &self.packed,
        }
    }

    /// What parsing checks, for documents that are part of another file. All problems are found in one go.
    pub fn check(&self) -> Result<(), PolicyError> {
        if let Some(name) = &self.extends {
            // What the document comes to is not known without it.
            PolicyDocument::preset(name)?;
        }
        let mut problems = Vec::new();
        let mut contradictions: Vec<(String, Vec<&str>)> = Vec::new();
        for stage in Stage::ALL {
            for problem in contradictions_in(&self.at(stage)) {
                match contradictions.iter_mut().find(|(known, _)| *known == problem) {
                    Some((_, stages)) => stages.push(stage.name()),
                    None => contradictions.push((problem, vec![stage.name()])),
                }
            }
        }
        for (problem, stages) in contradictions {
            let all = stages.len() == Stage::ALL.len();
            let stages = if all { "every stage".into() } else { format!("stage {}", stages.join(", ")) };
            problems.push(format!("{stages}: {problem}"));
        }
        self.check_names(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(PolicyError { line: None, problems }) }
    }

    /// Every rule that is named exists, and what is said about it can be of use at one of the stages where it is said.
    fn check_names(&self, problems: &mut Vec<String>) {
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
                    problems.push(format!("no rule `{name}`: there are {}", known.join(", ")));
                    continue;
                };
                let is_demanded = |stage: &Stage| rule.applies(*stage, &self.at(*stage));
                if !stages.iter().any(is_demanded) {
                    let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
                    problems.push(format!(
                        "the policy {does} `{name}`, which it does not demand at the stage {}",
                        names.join(", ")
                    ));
                }
            }
            let reasons = layer.cannot_tell.iter().chain(layer.waivers.iter().map(|w| (&w.rule, &w.reason)));
            let empty = reasons.filter(|(_, reason)| reason.trim().is_empty());
            problems.extend(empty.map(|(name, _)| format!("an exception for `{name}` without a reason")));
        }
    }
}

/// What no file could keep to.
fn contradictions_in(policy: &Policy) -> Vec<String> {
    let mut problems = Vec::new();
    let stack = &policy.stack_size;
    let asked = stack.exact.max(stack.minimum);
    if let (Some(asked), Some(ceiling)) = (asked, stack.ceiling)
        && asked > ceiling
    {
        problems.push(format!(
            "a stack of {asked} is above the ceiling of {ceiling}, which is all that the libc gives"
        ));
    }
    if let (Some(exact), Some(minimum)) = (stack.exact, stack.minimum)
        && exact < minimum
    {
        problems.push(format!("a stack of exactly {exact} is below the minimum of {minimum}"));
    }
    for required in &policy.required_symbols {
        let matches = |forbidden: &&String| glob::matches(forbidden.as_bytes(), required.as_bytes());
        if let Some(forbidden) = policy.forbidden_symbols.iter().find(matches) {
            let by = if forbidden == required { String::new() } else { format!(" by `{forbidden}`") };
            problems.push(format!("`{required}` is both required and forbidden{by}"));
        }
    }
    problems
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
