//! What a policy can demand: the resolved [`Policy`] of one stage, and the [`Layer`] by which a file sets parts of it.
//! Both come from one list of fields, so that a policy file can set whatever the judge looks at and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::quantity::{GlibcVersion, Size};
use super::{Severity, Waiver};
use crate::facts::{Form, Relro};

macro_rules! demands {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// What is demanded of a file at one stage. The default demands what holds for every program: no executable
        /// stack, no segment that is writable and executable. What loosens that has a long name.
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        pub struct Policy {
            $($(#[$doc])* pub $field: $type,)*
            /// By rule; whatever is not named here is an error.
            pub severity: BTreeMap<String, Severity>,
            /// By rule: why its "cannot tell" may stand.
            pub cannot_tell: BTreeMap<String, String>,
            pub waivers: Vec<Waiver>,
        }

        /// The part of a policy that one table of a policy file sets. What it leaves out stays as it was below.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Layer {
            $(#[serde(skip_serializing_if = "Option::is_none")] $(#[$doc])* pub $field: Option<$type>,)*
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub severity: BTreeMap<String, Severity>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub cannot_tell: BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub waivers: Vec<Waiver>,
        }

        impl Layer {
            /// Values and lists replace, tables by rule and waivers add up.
            pub(super) fn onto(&self, policy: &mut Policy) {
                $(if let Some(value) = &self.$field {
                    policy.$field = value.clone();
                })*
                policy.severity.extend(self.severity.clone());
                policy.cannot_tell.extend(self.cannot_tell.clone());
                policy.waivers.extend(self.waivers.iter().cloned());
            }
        }
    };
}

demands! {
    /// Any of them, such as `x86_64` or `aarch64`.
    machines: Vec<String>,
    /// Any of them: EI_OSABI, such as `sysv` or `gnu`.
    abis: Vec<String>,
    /// Any of them.
    kinds: Vec<Form>,
    stack_size: StackSize,
    is_static: bool,
    no_rpath: bool,
    /// Entries of a run path that `no_rpath` lets stand, such as `$ORIGIN*`.
    rpaths_allowed: Vec<String>,
    no_text_relocations: bool,
    /// At least this much.
    relro: Relro,
    /// Shared libraries that may be asked for; anything else is refused.
    needed_allowed: Vec<String>,
    /// The newest version of glibc's symbols that may be asked for.
    glibc_max: Option<GlibcVersion>,
    /// Must be defined. `*` stands for any characters; a pattern with `::`, `(` or a space is matched against
    /// demangled names.
    required_symbols: Vec<String>,
    /// Must not appear, neither defined nor as a reference.
    forbidden_symbols: Vec<String>,
    /// Nothing else may be undefined, except weakly. Not judged unless the list is there; it may be empty.
    undefined_symbols: Option<Vec<String>>,
    needs_stack_protector: bool,
    needs_fortify: bool,
    /// Places of a build machine that must not be in the bytes, such as `/home/`.
    local_paths: Vec<String>,
    /// Every line of `.comment` must match one of them.
    producers: Vec<String>,
    needs_auditable_dependencies: bool,
    /// `build-id`, `ibt`, `shstk`, `bti`, `pac`, or `OWNER/TYPE` such as `GNU/1`.
    required_notes: Vec<String>,
    size_max: Option<Size>,
    /// Against the previous release, in percent.
    growth_percent_max: Option<u32>,
    /// Of every PT_LOAD: no less than the largest page of the machines that run it.
    segment_align_min: Option<Size>,
    segment_align_max: Option<Size>,
    stripped: bool,
    needs_build_id: bool,
    /// The split debug file must be shown and belong to this file.
    needs_debug_file: bool,
    /// The program that a debug file was split from must be shown, and name it.
    needs_owner: bool,
    allow_executable_stack: bool,
    allow_writable_executable_segments: bool,
}

/// Bounds on the memory size of PT_GNU_STACK, from which musl takes the default size of thread stacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StackSize {
    pub exact: Option<Size>,
    pub minimum: Option<Size>,
    /// What the libc gives at most. More than that is a promise that it does not keep: musl stops at 8 MiB.
    pub ceiling: Option<Size>,
}

impl StackSize {
    pub fn exactly(bytes: u64) -> StackSize {
        StackSize { exact: Some(Size(bytes)), ..StackSize::default() }
    }

    pub(super) fn is_demanded(&self) -> bool {
        *self != StackSize::default()
    }
}
