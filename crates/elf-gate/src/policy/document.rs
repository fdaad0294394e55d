//! Policy files: an optional preset, requirements for every stage, and requirements for single stages.

use std::sync::LazyLock;

use diag::Diagnostic;
use elf_facts::facts::{LOCAL_PATH_PREFIXES, LocalPathSearch};
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::image::ImagePolicy;
use crate::policy::presets::PRESETS;
use crate::policy::schema::{Policy, PolicyTable, StackSize};
use crate::policy::stage::Stage;
use crate::policy::table::rule;
use crate::policy::waiver::Waiver;
use elf_facts::patterns as glob;

/// A policy file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDocument {
    /// The version of the gate that wrote the document. Errors of other versions name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate_version: Option<String>,
    /// The preset that this document changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Requirements at every stage.
    pub every: PolicyTable,
    /// Requirements for object files.
    pub object: PolicyTable,
    /// Requirements for linked files.
    pub linked: PolicyTable,
    /// Requirements for stripped files.
    pub stripped: PolicyTable,
    /// Requirements for debug files.
    pub debug: PolicyTable,
    /// Requirements for packed files.
    pub packed: PolicyTable,
    /// Exceptions for the rules on images.
    pub image: ImagePolicy,
}

/// Parsed once, because a run over thousands of files uses them repeatedly. A test parses all of them.
fn parsed_preset(name: &str) -> Option<&'static PolicyDocument> {
    static PARSED: LazyLock<Vec<(&str, PolicyDocument)>> = LazyLock::new(|| {
        let parsed = PRESETS.iter().filter_map(|(name, text)| Some((*name, toml::from_str(text).ok()?)));
        parsed.collect()
    });
    PARSED.iter().find(|(known, _)| *known == name).map(|(_, document)| document)
}

impl PolicyDocument {
    /// A built-in policy.
    pub fn preset(name: &str) -> Result<PolicyDocument, Diagnostic> {
        parsed_preset(name).cloned().ok_or_else(|| {
            let known: Vec<String> = PRESETS.iter().map(|(name, _)| format!("`{name}`")).collect();
            Diagnostic::new(&codes::UNKNOWN_PRESET, format!("no preset is named `{name}`"))
                .expected(known.join(", "))
                .hint(codes::fix(&codes::UNKNOWN_PRESET))
        })
    }

    /// The document of these requirements. It extends no preset, so a gate with other presets judges alike.
    pub fn of_stages(requirements: impl Fn(Stage) -> Policy, image: ImagePolicy) -> PolicyDocument {
        let mut tables = Stage::ALL.map(|stage| {
            let mut policy = requirements(stage);
            // An exception for a rule that is off would be refused as one without effect.
            let enabled = policy.clone();
            let applies = |name: &str| rule(name).is_some_and(|rule| rule.applies(stage, &enabled));
            policy.severity.retain(|name, _| applies(name));
            policy.cannot_tell.retain(|name, _| applies(name));
            policy.waivers.retain(|waiver| applies(&waiver.rule));
            PolicyTable::of(&policy)
        });
        let every = PolicyTable::take_common(&mut tables);
        let [object, linked, stripped, debug, packed] = tables;
        let gate_version = Some(env!("CARGO_PKG_VERSION").to_string());
        PolicyDocument { gate_version, extends: None, every, object, linked, stripped, debug, packed, image }
    }

    /// The requirements at a stage.
    pub fn at(&self, stage: Stage) -> Policy {
        let mut policy = Policy::default();
        self.merge_into(stage, &mut policy);
        policy
    }

    /// The exceptions for images.
    pub fn for_images(&self) -> ImagePolicy {
        let base = self.extends.as_deref().and_then(parsed_preset);
        let mut policy = base.map(PolicyDocument::for_images).unwrap_or_default();
        self.image.merge_into(&mut policy);
        policy
    }

    /// The search that `no-local-paths` needs at all stages.
    pub fn local_paths(&self) -> LocalPathSearch {
        let mut prefixes: Vec<String> = LOCAL_PATH_PREFIXES.iter().map(|prefix| prefix.to_string()).collect();
        for prefix in Stage::ALL.into_iter().flat_map(|stage| self.at(stage).local_paths) {
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        LocalPathSearch::new(prefixes)
    }

    /// Waivers whose `file` matches none of `files`. [`judge`](crate::judge) sees one file at a time and cannot detect them.
    pub fn waivers_without_file(&self, files: &[&str]) -> Vec<Diagnostic> {
        let mut waivers: Vec<Waiver> = Vec::new();
        for waiver in Stage::ALL.into_iter().flat_map(|stage| self.at(stage).waivers) {
            if !waivers.contains(&waiver) {
                waivers.push(waiver);
            }
        }
        let matches_none =
            |pattern: &str| !files.iter().any(|file| glob::matches(pattern.as_bytes(), file.as_bytes()));
        let unused = waivers.iter().filter_map(|waiver| {
            let pattern = waiver.file.as_deref().filter(|pattern| matches_none(pattern))?;
            let message =
                format!("the waiver for `{}` names `{pattern}`, which matches no file", waiver.rule);
            let code = &codes::WAIVER_WITHOUT_FILE;
            Some(Diagnostic::new(code, message).rule(&waiver.rule).hint(codes::fix(code)))
        });
        unused.collect()
    }

    /// The table of a stage.
    pub fn table(&self, stage: Stage) -> &PolicyTable {
        match stage {
            Stage::Object => &self.object,
            Stage::Linked => &self.linked,
            Stage::Stripped => &self.stripped,
            Stage::Debug => &self.debug,
            Stage::Packed => &self.packed,
        }
    }

    fn merge_into(&self, stage: Stage, policy: &mut Policy) {
        // `check` verifies the name; without that check, an unknown preset adds nothing.
        if let Some(base) = self.extends.as_deref().and_then(parsed_preset) {
            base.merge_into(stage, policy);
        }
        self.every.merge_into(policy);
        self.table(stage).merge_into(policy);
    }
}

impl Policy {
    /// The requirements of a preset at a stage.
    pub fn preset(name: &str, stage: Stage) -> Result<Policy, Diagnostic> {
        Ok(PolicyDocument::preset(name)?.at(stage))
    }

    /// A fully static program on musl with a fixed stack size, such as a Rust binary of a `*-linux-musl` target.
    pub fn static_musl(stage: Stage, stack_size_bytes: u64) -> Policy {
        // A test parses every preset, so the default is never used.
        let preset = Policy::preset("static-musl", stage).unwrap_or_default();
        Policy { stack_size: StackSize::exactly(stack_size_bytes), ..preset }
    }
}
