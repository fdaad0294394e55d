//! One entry for each key of a policy: the strictest value that a file can satisfy. A test fails when a key has none.
//!
//! A value is only a candidate: it is kept when every rule that it affects passes for the file.

use elf_facts::facts::{
    Facts, FileKind, LOCAL_PATH_PREFIXES, PT_LOAD, PT_TLS, Protection, Segment, SymbolTable, abi,
};
use toml::Value;
use units::ByteSize;

use crate::policy::document::PolicyDocument;
use crate::policy::glibc_version::GlibcVersion;
use crate::policy::text::values;

/// How the value of a key follows from a file.
pub(super) struct Derivation {
    pub(super) key: &'static str,
    pub(super) candidates: Candidates,
    /// How to relax the key, for the comment.
    pub(super) relax: &'static str,
}

/// The values of a key that are tried.
pub(super) enum Candidates {
    /// From the strictest to the weakest. Kept when a rule applies because of it and every rule still passes.
    Values(fn(&Facts) -> Vec<Value>),
    /// A part of the key that follows; no rule applies because of it alone.
    PartOfNext(fn(&Facts) -> Vec<Value>),
    /// `true` disables rules that the file violates. Kept when it does.
    Relaxation,
    /// Never derived.
    Exempt(&'static str),
}
use Candidates::{Exempt, PartOfNext, Relaxation, Values};

const fn key(key: &'static str, candidates: Candidates, relax: &'static str) -> Derivation {
    Derivation { key, candidates, relax }
}

/// Relaxations first: the other keys are judged with them.
pub(super) const DERIVATIONS: &[Derivation] = &[
    key("allow_executable_stack", Relaxation, "remove the key as soon as the file has a stack without x"),
    key("allow_writable_executable_segments", Relaxation, "remove the key as soon as no segment has w and x"),
    key(
        "machines",
        Values(|facts| one(facts.header.machine.clone())),
        "add the other machines of the release",
    ),
    key("abis", Values(|facts| one(abi(facts.header.os_abi))), "add the other values of EI_OSABI"),
    key("kinds", Values(|facts| one(facts.kind.name())), "add the other kinds"),
    key("is_static", Values(yes), "remove the key"),
    key("stack_size", Values(stack_size), "replace `exact` by `minimum` and `ceiling`"),
    key(
        "segment_align_min",
        Values(|facts| align(facts, Iterator::min)),
        "use the largest page size of the target machines",
    ),
    key("segment_align_min_by_machine", Exempt("`segment_align_min` holds for the machine of the file"), ""),
    key("segment_align_max", Values(|facts| align(facts, Iterator::max)), "use a larger size"),
    key("rpaths_allowed", PartOfNext(run_paths), "add patterns such as `$ORIGIN/*`"),
    key("no_rpath", Values(yes), "remove the key"),
    key("no_text_relocations", Values(yes), "remove the key"),
    key("relro", Values(|_| vec!["full".into(), "partial".into()]), "use `partial`, or remove the key"),
    key("needed_allowed", Values(needed), "add the names of further libraries"),
    key("glibc_max", Values(glibc), "use a newer version of glibc"),
    key("undefined_symbols", Values(undefined), "add names; `*` matches any characters"),
    key("required_symbols", Values(required), "add the functions that must be linked, or remove the key"),
    key("forbidden_symbols", Values(forbidden), "remove the names that the release may contain"),
    key(
        "unique_symbols",
        Values(|facts| preset(facts, "unique_symbols")),
        "remove the names with two definitions",
    ),
    key("weak_undefined_symbols", Values(weak_undefined), "add names; `*` matches any characters"),
    key("weak_undefined_forbidden", Exempt("`weak_undefined_symbols` allows less"), ""),
    key("exclusive_symbols", Values(|facts| preset(facts, "exclusive_symbols")), "remove the key"),
    key("no_ifunc", Values(yes), "remove the key, for a libc that calls the resolvers"),
    key("no_glibc_symbols", Values(yes), "remove the key, for a program on glibc"),
    key("glibc_symbols_allowed", Exempt("`no_glibc_symbols` without exceptions allows less"), ""),
    key("no_sanitizers", Values(yes), "remove the key, for a build with a sanitizer"),
    key("no_dlopen", Values(yes), "remove the key"),
    key("allocators", Values(|facts| preset(facts, "allocators")), "add the symbol of another allocator"),
    key("jemalloc_lg_page", Exempt("the build declares it; no file shows it"), ""),
    key("jemalloc_lg_page_min", Exempt("it belongs to `jemalloc_lg_page`"), ""),
    key("tls_size_max", Values(tls_size), "use a larger size"),
    key(
        "isa_dispatched",
        Exempt("which functions are called after a check of the processor is declared"),
        "",
    ),
    key(
        "isa_baseline",
        Values(|_| (1..=4).flat_map(|level| one(format!("x86-64-v{level}"))).collect()),
        "use a higher level, or name the functions that check the processor in `isa_dispatched`",
    ),
    key("vector_loops", Exempt("which functions are compute kernels is declared"), ""),
    key("needs_stack_protector", Values(stack_protector), "remove the key"),
    key("needs_fortify", Values(fortify), "remove the key"),
    key("required_notes", Values(notes), "remove the notes that a build may omit"),
    key("local_paths", Values(local_paths), "remove a prefix, or add a waiver for a single path"),
    key("mapped_debug_paths", Values(mapped_debug_paths), "remove the key, if no debug file is published"),
    key("producers", Values(|facts| some(facts.producers.clone())), "replace the versions by `*`"),
    key("needs_auditable_dependencies", Values(yes), "remove the key"),
    key("stripped", Values(yes), "remove the key"),
    key("needs_symbols", Values(yes), "remove the key"),
    key("no_unclaimed_bytes", Values(yes), "remove the key, if a tool appends data to the file"),
    key("needs_build_id", Values(yes), "remove the key"),
    key("needs_debug_file", Values(yes), "remove the key, if the debug file is not kept beside the file"),
    key("needs_program", Values(yes), "remove the key"),
    key("size_max", Values(size_budget), "the size of this file and 10 %: use a larger one"),
    key("growth_percent_max", Exempt("it compares with a baseline release; `size_max` bounds the size"), ""),
    key("baseline_size", Exempt("it belongs to `growth_percent_max`"), ""),
];

fn one(value: impl Into<String>) -> Vec<Value> {
    vec![Value::Array(vec![Value::String(value.into())])]
}

/// A list, if it is not empty.
fn some(items: impl IntoIterator<Item = impl Into<String>>) -> Vec<Value> {
    let items: Vec<Value> = items.into_iter().map(|item| Value::String(item.into())).collect();
    if items.is_empty() { Vec::new() } else { vec![Value::Array(items)] }
}

fn yes(_: &Facts) -> Vec<Value> {
    vec![true.into()]
}

/// A file without code passes, and shows no protection.
fn stack_protector(facts: &Facts) -> Vec<Value> {
    if facts.hardening.stack_canary == Protection::NoCode { Vec::new() } else { yes(facts) }
}

/// A file that calls no function with a checked variant passes until it calls the first one.
fn fortify(facts: &Facts) -> Vec<Value> {
    let hardening = &facts.hardening;
    let shows_nothing = match hardening.fortify {
        Protection::NoCode => true,
        Protection::Absent => hardening.unchecked.is_empty(),
        Protection::Present(_) | Protection::Unknown => false,
    };
    if shows_nothing { Vec::new() } else { yes(facts) }
}

fn size(bytes: u64) -> Value {
    Value::String(ByteSize(bytes).to_string())
}

/// A size of 0 requests nothing.
fn stack_size(facts: &Facts) -> Vec<Value> {
    match facts.stack_segments()[..] {
        [Segment { memory_size_bytes, .. }] if *memory_size_bytes > 0 => {
            vec![Value::Table([("exact".to_string(), size(*memory_size_bytes))].into_iter().collect())]
        }
        _ => Vec::new(),
    }
}

fn align(facts: &Facts, bound: fn(std::vec::IntoIter<u64>) -> Option<u64>) -> Vec<Value> {
    let loads = facts.segments.iter().filter(|segment| segment.kind_number == PT_LOAD);
    let aligns: Vec<u64> = loads.map(|segment| segment.align).collect();
    bound(aligns.into_iter()).into_iter().map(size).collect()
}

fn run_paths(facts: &Facts) -> Vec<Value> {
    let paths = facts.dynamic.iter().flat_map(|dynamic| [&dynamic.rpath, &dynamic.runpath]).flatten();
    some(paths.flat_map(|path| path.split(':')))
}

fn needed(facts: &Facts) -> Vec<Value> {
    some(facts.dynamic.iter().flat_map(|dynamic| dynamic.needed.clone()))
}

fn glibc(facts: &Facts) -> Vec<Value> {
    let versions = facts.needed_versions.iter();
    let newest = versions.filter_map(|needed| GlibcVersion::of_symbol_version(&needed.version)).max();
    newest.map(|version| Value::String(version.to_string())).into_iter().collect()
}

/// Exactly the names that the file leaves to the loader, in the table that the rule reads.
fn undefined(facts: &Facts) -> Vec<Value> {
    let table = match facts.kind {
        FileKind::Relocatable => facts.symbols.as_ref(),
        _ => facts.dynamic_symbols.as_ref().or(facts.symbols.as_ref()),
    };
    undefined_in(table, false)
}

fn weak_undefined(facts: &Facts) -> Vec<Value> {
    undefined_in(facts.symbols.as_ref(), true)
}

fn undefined_in(table: Option<&SymbolTable>, is_weak: bool) -> Vec<Value> {
    let symbols = table.iter().flat_map(|table| table.entries());
    let undefined =
        symbols.filter(|symbol| !symbol.is_defined && symbol.is_weak == is_weak && !symbol.is_local);
    let mut names: Vec<&str> = undefined.filter_map(|symbol| std::str::from_utf8(symbol.name).ok()).collect();
    names.sort_unstable();
    names.dedup();
    vec![Value::Array(names.into_iter().map(Value::from).collect())]
}

/// The value of the preset for static programs on musl.
fn preset(facts: &Facts, key: &str) -> Vec<Value> {
    if !matches!(facts.kind, FileKind::StaticExecutable | FileKind::StaticPie) {
        return Vec::new();
    }
    let preset = PolicyDocument::preset("static-musl").ok().map(|preset| preset.linked);
    let values = preset.and_then(|table| values(&table).ok());
    values.and_then(|mut values| values.remove(key)).into_iter().collect()
}

/// The next power of two above the size of this file's block.
fn tls_size(facts: &Facts) -> Vec<Value> {
    let blocks = facts.segments.iter().filter(|segment| segment.kind_number == PT_TLS);
    let size_bytes = blocks.map(|block| block.memory_size_bytes).max().unwrap_or(0).max(2048);
    size_bytes.checked_next_power_of_two().map(size).into_iter().collect()
}

/// The interface of a library, up to a readable length; `main` of a program.
fn required(facts: &Facts) -> Vec<Value> {
    const NAMES_MAX: usize = 100;
    let defined = |table: &Option<SymbolTable>| -> Vec<String> {
        let symbols = table.iter().flat_map(|table| table.entries());
        let exported = symbols.filter(|symbol| symbol.is_defined && !symbol.is_local && !symbol.is_weak);
        exported.filter_map(|symbol| Some(std::str::from_utf8(symbol.name).ok()?.to_string())).collect()
    };
    if facts.kind == FileKind::SharedObject {
        let mut names = defined(&facts.dynamic_symbols);
        names.sort_unstable();
        names.dedup();
        return if names.len() > NAMES_MAX { Vec::new() } else { some(names) };
    }
    some(defined(&facts.symbols).into_iter().find(|name| name == "main"))
}

/// Instrumentation that no release contains, and in static programs the names of another libc.
fn forbidden(facts: &Facts) -> Vec<Value> {
    const INSTRUMENTATION: [&str; 7] =
        ["__asan_*", "__hwasan_*", "__msan_*", "__tsan_*", "__ubsan_*", "__gcov_*", "__llvm_profile_*"];
    const DYNAMIC_LOADER: [&str; 2] = ["dlopen", "_dl_find_object"];
    let is_static = matches!(facts.kind, FileKind::StaticExecutable | FileKind::StaticPie);
    let loader = DYNAMIC_LOADER.iter().filter(|_| is_static);
    let present = |pattern: &str| {
        let prefix = pattern.trim_end_matches('*');
        let tables = facts.symbols.iter().chain(&facts.dynamic_symbols);
        tables.flat_map(|table| table.iter()).any(|(name, _)| match pattern.ends_with('*') {
            true => name.starts_with(prefix.as_bytes()),
            false => name == prefix.as_bytes(),
        })
    };
    some(INSTRUMENTATION.iter().chain(loader).copied().filter(|pattern| !present(pattern)))
}

/// Notes without the build-id, which has a key of its own, and processor features.
fn notes(facts: &Facts) -> Vec<Value> {
    let features = &facts.features;
    let features =
        [("ibt", features.ibt), ("shstk", features.shstk), ("bti", features.bti), ("pac", features.pac)];
    some(features.into_iter().filter(|(_, is_present)| *is_present).map(|(name, _)| name))
}

fn local_paths(facts: &Facts) -> Vec<Value> {
    let found = &facts.local_paths.found;
    let is_absent = |prefix: &&str| !found.iter().any(|found| found.path.starts_with(*prefix));
    some(LOCAL_PATH_PREFIXES.iter().copied().filter(is_absent))
}

fn mapped_debug_paths(facts: &Facts) -> Vec<Value> {
    let mut debug = facts.sections.iter().filter(|section| section.is_debug() && section.has_contents());
    let is_readable = debug.clone().all(|section| !section.is_compressed());
    if debug.next().is_some() && is_readable && facts.debug_paths.is_empty() {
        yes(facts)
    } else {
        Vec::new()
    }
}

/// The size of the file and 10 %, in whole KiB.
fn size_budget(facts: &Facts) -> Vec<Value> {
    let bytes = facts.size_bytes.saturating_add(facts.size_bytes / 10);
    vec![size(bytes.div_ceil(1 << 10).saturating_mul(1 << 10))]
}
