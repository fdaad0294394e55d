//! Parsing and validation of policy files.
//!
//! The whole file is validated when it is read: each rule that it names must exist, and an exception must apply to a rule
//! that the policy enables, because otherwise it can never have an effect. All problems are reported together.

use diag::{Code, Diagnostic, Diagnostics, Location};
use disasm::Baseline;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use units::ByteSize;

use crate::codes;
use crate::image;
use crate::policy::document::PolicyDocument;
use crate::policy::rules::vector_loops;
use crate::policy::schema::{Policy, PolicyTable, StackSize};
use crate::policy::stage::Stage;
use crate::policy::table::{RULES, rule};
use elf_facts::patterns as glob;

/// The parts of a `release.toml` that determine its policy.
#[derive(Deserialize)]
struct ReleaseFile {
    gate: PolicyDocument,
    link: Option<Link>,
    product: Option<Product>,
}

#[derive(Deserialize)]
struct Link {
    stack_size: Option<ByteSize>,
}

#[derive(Deserialize)]
struct Product {
    #[serde(default)]
    targets: Vec<String>,
}

impl PolicyDocument {
    /// Parses and validates a policy file.
    pub fn parse(text: &str) -> Result<PolicyDocument, Diagnostics> {
        let parsed = parse(text).and_then(|document: PolicyDocument| document.check().map(|()| document));
        parsed.map_err(|problems| with_versions(text, problems))
    }

    /// Parses and validates a policy file, or the table `gate` of a larger TOML file. The latter is a `release.toml`, where the
    /// stack size and the machine follow from `link.stack_size` and the first of `product.targets`.
    pub fn parse_file(text: &str) -> Result<PolicyDocument, Diagnostics> {
        #[derive(Deserialize)]
        struct Probe {
            gate: Option<IgnoredAny>,
        }
        if parse::<Probe>(text)?.gate.is_none() {
            return PolicyDocument::parse(text);
        }
        let ReleaseFile { gate: mut document, link, product } = parse(text)?;
        let stack_size = link.and_then(|link| link.stack_size).map(|size| StackSize::exactly(size.bytes()));
        let target = product.and_then(|product| product.targets.into_iter().next());
        let machine = target.as_deref().and_then(|target| target.split('-').next());
        for table in document.tables_mut() {
            table.stack_size = stack_size.or(table.stack_size);
            table.machines = machine.map(|machine| vec![machine.to_string()]).or(table.machines.take());
        }
        document.check()?;
        Ok(document)
    }

    fn tables_mut(&mut self) -> [&mut PolicyTable; 6] {
        let PolicyDocument {
            gate_version: _,
            extends: _,
            every,
            object,
            linked,
            stripped,
            debug,
            packed,
            image: _,
        } = self;
        [every, object, linked, stripped, debug, packed]
    }

    /// The validation of [`PolicyDocument::parse`], for documents that are part of another file.
    pub fn check(&self) -> Result<(), Diagnostics> {
        if let Some(name) = &self.extends {
            // Without the preset the policy is unknown.
            PolicyDocument::preset(name).map_err(|error| Diagnostics(vec![error]))?;
        }
        let mut problems = Diagnostics::default();
        self.check_contradictions(&mut problems);
        self.check_exceptions(&mut problems);
        self.check_image(&mut problems);
        if problems.0.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_contradictions(&self, problems: &mut Diagnostics) {
        let mut found: Vec<(String, Vec<&str>)> = Vec::new();
        for stage in Stage::ALL {
            for contradiction in contradictions(&self.at(stage)) {
                match found.iter_mut().find(|(known, _)| *known == contradiction) {
                    Some((_, stages)) => stages.push(stage.name()),
                    None => found.push((contradiction, vec![stage.name()])),
                }
            }
        }
        for (message, stages) in found {
            let is_everywhere = stages.len() == Stage::ALL.len();
            let stages = if is_everywhere { "every".into() } else { stages.join(", ") };
            problems.push(problem(&codes::POLICY_CONTRADICTION, message).stage(stages));
        }
    }

    /// Rules on images have no key that enables them.
    fn check_image(&self, problems: &mut Diagnostics) {
        for (name, exception) in self.image.exceptions().filter(|(name, _)| image::rule(name).is_none()) {
            let known: Vec<&str> = image::RULES.iter().map(image::Rule::id).collect();
            let message = format!("{exception} of [image] names the rule `{name}`, which does not exist");
            problems.push(problem(&codes::UNKNOWN_RULE, message).expected(known.join(", ")));
        }
        let without_reason = self.image.acknowledged.iter().filter(|(_, reason)| reason.trim().is_empty());
        problems.extend(without_reason.map(|(name, _)| {
            let message = format!("the acknowledgement of `{name}` has no reason");
            problem(&codes::POLICY_MISSING_REASON, message).rule(name)
        }));
    }

    /// Checks that rules with a severity, reason or waiver exist, and are enabled at one of the stages of the exception.
    fn check_exceptions(&self, problems: &mut Diagnostics) {
        let every = [(&self.every, &Stage::ALL[..])].into_iter();
        let tables =
            every.chain(Stage::ALL.iter().map(|stage| (self.table(*stage), std::slice::from_ref(stage))));
        for (table, stages) in tables {
            let severities = table.severity.keys().map(|name| (name, "a severity"));
            let reasons = table.cannot_tell.keys().map(|name| (name, "a `cannot_tell` reason"));
            let waivers = table.waivers.iter().map(|waiver| (&waiver.rule, "a waiver"));
            for (name, exception) in severities.chain(reasons).chain(waivers) {
                let Some(rule) = rule(name) else {
                    let known: Vec<&str> = RULES.iter().map(|rule| rule.id()).collect();
                    let message = format!("{exception} names the rule `{name}`, which does not exist");
                    problems.push(problem(&codes::UNKNOWN_RULE, message).expected(known.join(", ")));
                    continue;
                };
                if !stages.iter().any(|stage| rule.applies(*stage, &self.at(*stage))) {
                    let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
                    let message =
                        format!("{exception} applies to `{name}`, which the policy does not enable");
                    let problem = problem(&codes::POLICY_UNUSED_EXCEPTION, message);
                    problems.push(problem.stage(names.join(", ")).rule(name));
                }
            }
            let waivers = table.waivers.iter().map(|waiver| (&waiver.rule, &waiver.reason));
            let without_reason =
                table.cannot_tell.iter().chain(waivers).filter(|(_, reason)| reason.trim().is_empty());
            problems.extend(without_reason.map(|(name, _)| {
                let message = format!("the exception for `{name}` has no reason");
                problem(&codes::POLICY_MISSING_REASON, message).rule(name)
            }));
        }
    }
}

/// Requirements that exclude each other.
fn contradictions(policy: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    let stack = &policy.stack_size;
    if let (Some(required), Some(ceiling)) = (stack.exact.max(stack.minimum), stack.ceiling)
        && required > ceiling
    {
        found.push(format!(
            "a stack of {required} is above the ceiling of {ceiling}, the maximum of the libc"
        ));
    }
    if let (Some(exact), Some(minimum)) = (stack.exact, stack.minimum)
        && exact < minimum
    {
        found.push(format!("a stack of exactly {exact} is below the minimum of {minimum}"));
    }
    if let Err(error) = Baseline::parse(policy.isa_baseline.iter().map(String::as_str)) {
        found.push(format!("`isa_baseline`: {error}"));
    }
    for wanted in policy.vector_loops.values().filter(|wanted| vector_loops::parse(wanted).is_none()) {
        found.push(format!(
            "`vector_loops`: `{wanted}` is no instruction and register, such as `vfmadd231ps zmm`"
        ));
    }
    for required in &policy.required_symbols {
        let matches = |forbidden: &&String| glob::matches(forbidden.as_bytes(), required.as_bytes());
        if let Some(forbidden) = policy.forbidden_symbols.iter().find(matches) {
            let by = if forbidden == required { String::new() } else { format!(" by `{forbidden}`") };
            found.push(format!("`{required}` is both required and forbidden{by}"));
        }
    }
    found
}

/// Adds to errors of a policy from another version of the gate that a newer gate may have the key or the rule.
fn with_versions(text: &str, Diagnostics(problems): Diagnostics) -> Diagnostics {
    #[derive(Deserialize)]
    struct Probe {
        gate_version: Option<String>,
    }
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let written_by = toml::from_str::<Probe>(text).ok().and_then(|probe| probe.gate_version);
    let Some(written_by) = written_by.filter(|version| version != OWN) else { return Diagnostics(problems) };
    let written_by: String = written_by.chars().take(40).collect();
    let hint = format!(
        "elf-gate {written_by} wrote the policy and this is elf-gate {OWN}: judge with that version, or with a policy of \
         your own (`--policy FILE`, `--preset NAME`)"
    );
    let of_versions =
        [&codes::POLICY_SYNTAX, &codes::UNKNOWN_RULE, &codes::UNKNOWN_PRESET].map(|code| code.id);
    let hinted = problems.into_iter().map(|problem| match of_versions.contains(&problem.code().id) {
        true => problem.hint(&*hint),
        false => problem,
    });
    hinted.collect()
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Diagnostics> {
    toml::from_str(text).map_err(|error| {
        let diagnostic = problem(&codes::POLICY_SYNTAX, error.message().trim());
        let located = match error.span() {
            Some(span) => diagnostic.at(location(text, span.start)),
            None => diagnostic,
        };
        Diagnostics(vec![located])
    })
}

/// Line and column of a byte offset.
fn location(text: &str, offset: usize) -> Location {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Location { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

fn problem(code: &'static Code, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(code, message).hint(codes::fix(code))
}
