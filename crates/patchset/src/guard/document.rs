//! `NNNN-why.guard.toml`: keys and their validation.

use std::path::Path;

use diag::{Diagnostic, Diagnostics};
use serde::{Deserialize, Serialize};
use store::is_sha256_hex;

use crate::codes::PATCH_GUARD;
use crate::toml_file;

/// The guard file of one patch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Name of the behavioural test under `tests/` that fails without the patch.
    pub test: String,
    /// One entry for each file that the patch changes.
    #[serde(rename = "file")]
    pub files: Vec<GuardedFile>,
    /// Required and forbidden references of the compiled code.
    #[serde(rename = "object")]
    pub objects: Vec<ObjectRequirement>,
}

/// One file that the patch changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardedFile {
    /// Relative to the top of the source tree.
    pub path: String,
    /// Digest before the patch.
    pub pre_sha256: String,
    /// Digest after the patch.
    pub post_sha256: String,
    /// Anchors: each text occurs exactly once before the patch.
    pub before: Vec<String>,
    /// Anchors: each text occurs exactly once after the patch.
    pub after: Vec<String>,
    /// Texts that do not occur after the patch.
    #[serde(default)]
    pub absent_after: Vec<String>,
    /// Added lines, without their indentation, that this build does not compile: for another system. Each entry excuses one
    /// line; an entry that excuses none is an error.
    #[serde(default)]
    pub allow_uncompiled: Vec<String>,
}

/// Required references of one object of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRequirement {
    /// Member of the archive.
    pub member: String,
    /// Function in the member; without it, the whole member.
    pub function: Option<String>,
    /// Symbols that it must reference.
    #[serde(default)]
    pub references: Vec<String>,
    /// Symbols of `references` that no other function of the member may reference.
    #[serde(default)]
    pub only_here: Vec<String>,
    /// Symbols that it must not reference.
    #[serde(default)]
    pub forbid_references: Vec<String>,
}

impl ObjectRequirement {
    /// `function in member`, or the member.
    pub fn place(&self) -> String {
        match &self.function {
            Some(function) => format!("{function} in {}", self.member),
            None => self.member.clone(),
        }
    }
}

impl Guard {
    /// Reads and checks a guard file.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let text = toml_file::read(path, &PATCH_GUARD)?;
        Self::parse(&text).map_err(|invalid| toml_file::in_file(path, invalid))
    }

    /// Reports all invalid entries together. A guard that checks nothing is invalid.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let guard: Self = toml_file::parse(text, &PATCH_GUARD)?;
        let problems: Diagnostics = guard.problems().into_iter().collect();
        if problems.0.is_empty() { Ok(guard) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, message: &str, entry: &str| {
            if !holds {
                problems.push(Diagnostic::new(&PATCH_GUARD, message).found(entry));
            }
        };
        require(!self.files.is_empty(), "the guard has no `[[file]]`", "none");
        require(
            !self.objects.is_empty(),
            "no `[[object]]`: nothing would show that the patch is compiled",
            "none",
        );
        for file in &self.files {
            for digest in [&file.pre_sha256, &file.post_sha256] {
                let found: &str = if digest.is_empty() { "an empty text" } else { digest };
                require(is_sha256_hex(digest), "a digest is not 64 lower-case hex digits", found);
            }
            let has_anchors = !file.before.is_empty() && !file.after.is_empty();
            require(has_anchors, "a `[[file]]` has no anchor in `before` or `after`", &file.path);
            let mut anchors = [&file.before, &file.after, &file.absent_after].into_iter().flatten();
            require(anchors.all(|text| !text.is_empty()), "an anchor is empty", &file.path);
        }
        for (index, object) in self.objects.iter().enumerate() {
            let place = match object.member.as_str() {
                // As `vendor edit` writes it for a new patch.
                "" => format!("`[[object]]` number {}, with an empty `member`", index + 1),
                member => member.to_owned(),
            };
            let requires = !(object.references.is_empty() && object.forbid_references.is_empty());
            require(requires, "an `[[object]]` has neither `references` nor `forbid_references`", &place);
            let is_subset = object.only_here.iter().all(|symbol| object.references.contains(symbol));
            require(is_subset, "a symbol of `only_here` is not in `references`", &place);
            let has_function = object.only_here.is_empty() || object.function.is_some();
            require(has_function, "`only_here` needs a `function`", &place);
        }
        problems
    }
}
