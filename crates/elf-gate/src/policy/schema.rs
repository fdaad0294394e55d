//! The keys of a policy: the resolved [`Policy`] of one stage, and the [`PolicyTable`] of a policy file. Both come from one
//! list of fields, so that a policy file can set exactly the values that the rules use.

use std::collections::BTreeMap;

use elf_facts::facts::{FileKind, Relro};
use serde::{Deserialize, Serialize};

use units::ByteSize;

use crate::policy::glibc_version::GlibcVersion;
use crate::policy::outcome::Severity;
use crate::policy::waiver::Waiver;

macro_rules! schema {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// The requirements for a file at one stage. The default contains the requirements for every program: no
        /// executable stack, and no segment that is writable and executable. Keys that relax it start with `allow_`.
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        pub struct Policy {
            $($(#[$doc])* pub $field: $type,)*
            /// Severities by rule. The default is `error`.
            pub severity: BTreeMap<String, Severity>,
            /// Reasons by rule that accept the verdict "cannot tell".
            pub cannot_tell: BTreeMap<String, String>,
            /// Exceptions with an end.
            pub waivers: Vec<Waiver>,
        }

        /// One table of a policy file. Keys that it omits keep their value.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct PolicyTable {
            $(#[serde(skip_serializing_if = "Option::is_none")] $(#[$doc])* pub $field: Option<$type>,)*
            /// Severities by rule.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub severity: BTreeMap<String, Severity>,
            /// Reasons by rule that accept the verdict "cannot tell".
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub cannot_tell: BTreeMap<String, String>,
            /// Exceptions with an end.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub waivers: Vec<Waiver>,
        }

        impl PolicyTable {
            /// The names of all keys, less `severity`, `cannot_tell` and `waivers`, which are exceptions.
            pub const KEYS: &[&str] = &[$(stringify!($field),)*];

            /// A table with every value of `policy` that is not the default.
            pub(super) fn of(policy: &Policy) -> PolicyTable {
                let default = Policy::default();
                PolicyTable {
                    $($field: (policy.$field != default.$field).then(|| policy.$field.clone()),)*
                    severity: policy.severity.clone(),
                    cannot_tell: policy.cannot_tell.clone(),
                    waivers: policy.waivers.clone(),
                }
            }

            /// Moves the values that all tables share into a table of their own. Exceptions stay.
            pub(super) fn take_common(tables: &mut [PolicyTable]) -> PolicyTable {
                let mut common = PolicyTable::default();
                $(if let [first, rest @ ..] = &*tables
                    && rest.iter().all(|table| table.$field == first.$field)
                {
                    common.$field = first.$field.clone();
                    tables.iter_mut().for_each(|table| table.$field = None);
                })*
                common
            }

            /// Replaces values and lists; extends tables by rule, and waivers.
            pub(super) fn merge_into(&self, policy: &mut Policy) {
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

schema! {
    /// Allowed machines, such as `x86_64` or `aarch64`.
    machines: Vec<String>,
    /// Allowed values of EI_OSABI, such as `sysv` or `gnu`.
    abis: Vec<String>,
    /// Allowed kinds of files.
    kinds: Vec<FileKind>,
    /// Bounds of PT_GNU_STACK.
    stack_size: StackSize,
    /// Neither a loader nor shared libraries.
    is_static: bool,
    /// Neither DT_RPATH nor DT_RUNPATH.
    no_rpath: bool,
    /// Patterns of run path entries that `no_rpath` accepts, such as `$ORIGIN*`.
    rpaths_allowed: Vec<String>,
    /// No DT_TEXTREL.
    no_text_relocations: bool,
    /// Minimum: `partial` or `full`.
    relro: Relro,
    /// Patterns of allowed shared libraries.
    needed_allowed: Vec<String>,
    /// The newest allowed version of glibc symbols.
    glibc_max: Option<GlibcVersion>,
    /// Patterns of symbols that must be defined. `*` matches any characters; a pattern with `::`, `(` or a space matches
    /// demangled names.
    required_symbols: Vec<String>,
    /// Patterns of symbols that must be neither defined nor referenced.
    forbidden_symbols: Vec<String>,
    /// Patterns of symbols that may be undefined, besides weak ones. The rule is off without the list; it may be empty.
    undefined_symbols: Option<Vec<String>>,
    /// Patterns of symbols with at most one definition. A pattern also matches the names of source files, such as `crt1.c`.
    unique_symbols: Vec<String>,
    /// Patterns of weak symbols that may stay undefined. Without the list all may; it may be empty.
    weak_undefined_symbols: Option<Vec<String>>,
    /// Patterns of weak symbols that must not stay undefined.
    weak_undefined_forbidden: Vec<String>,
    /// Alternatives that exclude each other: each table has names, and the patterns of their symbols.
    exclusive_symbols: Vec<BTreeMap<String, Vec<String>>>,
    /// Neither symbols of the type STT_GNU_IFUNC nor relocations R_*_IRELATIVE.
    no_ifunc: bool,
    /// No names that only glibc has.
    no_glibc_symbols: bool,
    /// Patterns of names that `no_glibc_symbols` accepts.
    glibc_symbols_allowed: Vec<String>,
    /// No runtime of a sanitizer.
    no_sanitizers: bool,
    /// Neither dlopen nor a reference to it.
    no_dlopen: bool,
    /// Patterns of symbols of allocators; a program with threads must define one of them.
    allocators: Vec<String>,
    /// The page size for which jemalloc was built, as an exponent of 2: the value of `JEMALLOC_SYS_WITH_LG_PAGE`.
    jemalloc_lg_page: Option<u32>,
    /// The smallest `jemalloc_lg_page` on aarch64; 0 disables the rule.
    jemalloc_lg_page_min: u32,
    /// Largest memory size of PT_TLS.
    tls_size_max: Option<ByteSize>,
    /// Levels and features that code may use without a check at run time, such as `x86-64-v2` or `avx2`.
    isa_baseline: Vec<String>,
    /// Patterns of functions that are called only after a check of the processor, and may use more.
    isa_dispatched: Vec<String>,
    /// Instruction and registers (`vfmadd231ps zmm`) of the computing loops of functions, by patterns of their names.
    vector_loops: BTreeMap<String, String>,
    /// Code was compiled with stack canaries.
    needs_stack_protector: bool,
    /// Code was compiled with `_FORTIFY_SOURCE`.
    needs_fortify: bool,
    /// Path prefixes that must not be in the bytes, such as `/home/`.
    local_paths: Vec<String>,
    /// Apply `local_paths` to debug sections, too.
    mapped_debug_paths: bool,
    /// Patterns; every line of `.comment` must match one.
    producers: Vec<String>,
    /// A dependency list of `cargo auditable`.
    needs_auditable_dependencies: bool,
    /// `build-id`, `ibt`, `shstk`, `bti`, `pac`, or `OWNER/TYPE` such as `GNU/1`.
    required_notes: Vec<String>,
    /// Largest allowed size of the file.
    size_max: Option<ByteSize>,
    /// Largest allowed growth since the baseline release, in percent.
    growth_percent_max: Option<u32>,
    /// Size of the same file in the baseline release, for `growth_percent_max`. A baseline that is given with the file
    /// replaces it.
    baseline_size: Option<ByteSize>,
    /// Smallest alignment of every PT_LOAD: the largest page size of the target machines.
    segment_align_min: Option<ByteSize>,
    /// Smallest alignment of every PT_LOAD by machine, for machines with pages of several sizes.
    segment_align_min_by_machine: BTreeMap<String, ByteSize>,
    /// Largest alignment of every PT_LOAD.
    segment_align_max: Option<ByteSize>,
    /// Neither .symtab nor .debug_* sections.
    stripped: bool,
    /// A .symtab, before `strip`: without it the rules on symbols cannot tell.
    needs_symbols: bool,
    /// A GNU build-id.
    needs_build_id: bool,
    /// The split debug file must be given and belong to this file.
    needs_debug_file: bool,
    /// The program of a debug file must be given and name this file.
    needs_program: bool,
    /// No bytes outside of headers, sections and padding.
    no_unclaimed_bytes: bool,
    /// Disables `stack-not-executable`.
    allow_executable_stack: bool,
    /// Disables `no-writable-executable-segment`.
    allow_writable_executable_segments: bool,
}

/// Bounds of the memory size of PT_GNU_STACK, from which musl takes the default size of thread stacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StackSize {
    /// Exact size.
    pub exact: Option<ByteSize>,
    /// Smallest size.
    pub minimum: Option<ByteSize>,
    /// Largest size: the limit of the libc, which is 8 MiB for musl.
    pub ceiling: Option<ByteSize>,
}

impl StackSize {
    /// Requires exactly this size.
    pub fn exactly(bytes: u64) -> StackSize {
        StackSize { exact: Some(ByteSize(bytes)), ..StackSize::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == StackSize::default()
    }
}
