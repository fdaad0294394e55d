//! Rules on the runtimes inside of a program: two copies of one, two that exclude each other, those of another libc, and
//! instrumentation. Symbol names show them, so the linked file and its objects are judged.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use elf_facts::facts::{FileKind, NamedSymbol, SymbolTable};

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::glibc_names::{OF_COMPILER_RT, OF_EVERY_LIBC, OF_GLIBC_ONLY, REFERENCES_TO_GLIBC};
use crate::policy::rules::symbols::{NO_TABLE, NO_TABLE_HINT, display_name};
use elf_facts::patterns::Patterns;

rules! {
    "unique-symbols" at LINKED, enabled by "`unique_symbols`" if |policy| !policy.unique_symbols.is_empty() => unique {
        detects: "more than one definition of a symbol, at different addresses, or a source file that was linked twice",
        rationale: "two copies of a libc, a start file or an unwinder each have their own state: one is initialised, the other is used; with `--allow-multiple-definition` the linker keeps one name and both copies, so patterns also match the names of source files (`crt1.c`)",
        incident: "two libcs or two `_start` in one program, hidden by `--allow-multiple-definition` (ziglang/zig#5320, elodin-sys/elodin#661, nagisa/rust_libloading#131); missing or duplicate `__aarch64_*` functions (git2-rs#706, rust-lang/rust#89626)",
        other_tools: "ld reports duplicate symbols, except with `--allow-multiple-definition`; none of the others looks for copies in a linked file",
        fix: "remove `--allow-multiple-definition` and `-z muldefs`, read the error of the linker, and drop one copy; for Rust with zig use `-C link-self-contained=no`",
    }
    "weak-undefined-symbols" at LINKED, enabled by "`weak_undefined_symbols` (it may be empty), `weak_undefined_forbidden`" if |policy| policy.weak_undefined_symbols.is_some() || !policy.weak_undefined_forbidden.is_empty() => weak_undefined {
        detects: "a weak reference that stayed undefined and is not in `weak_undefined_symbols`, or is in `weak_undefined_forbidden`",
        rationale: "in a static program nothing defines it later: its address stays 0, and a program that takes another symbol as proof of its presence calls address 0; GNU ld drops such names from the .symtab of a static program, lld keeps them",
        incident: "old versions of libstdc++ refer to the pthread functions weakly (`__gthrw_*`); in static programs some stayed 0, and `std::thread` crashed",
        other_tools: "`nm` shows them as `w`; none fails",
        fix: "link the library as a whole (`-Wl,--whole-archive -lpthread -Wl,--no-whole-archive`) or name the symbol on the link line (`-u NAME`); add expected names to `weak_undefined_symbols`",
    }
    "exclusive-symbols" at COMPILED, enabled by "`exclusive_symbols`: a list of tables, each from a name to its patterns" if |policy| !policy.exclusive_symbols.is_empty() => exclusive {
        detects: "symbols of two alternatives that exclude each other, such as libc++ and libstdc++",
        rationale: "two C++ runtimes in one program have two sets of streams, locales and exception types; an object of one that reaches the other is undefined behaviour",
        incident: "libstdc++ and libc++ in one file, with a missing `__dso_handle` (rust-rocksdb#440)",
        other_tools: "none; `nm -C` shows `std::__1::` and `std::__cxx11::`",
        fix: "set `CXXSTDLIB=c++` for every build script, and remove `-lstdc++` from the link line",
    }
    "no-ifunc" at BEFORE_PACKING, enabled by "`no_ifunc`" if |policy| policy.no_ifunc => no_ifunc {
        detects: "a symbol of the type STT_GNU_IFUNC, or a loaded relocation R_*_IRELATIVE",
        rationale: "the start code of the libc must call the resolvers; glibc does, musl does not, so the first call jumps to an address that was never filled in",
        incident: "a static library with IFUNC was linked into a musl program, which crashed at the first call; the linker gave no warning",
        other_tools: "`readelf -sW` and `readelf -rW` show them; none fails",
        fix: "find the object with `readelf -sW *.o | grep IFUNC`, and choose the function at run time through a pointer, or disable the dispatch there",
    }
    "glibc-symbols" at COMPILED, enabled by "`no_glibc_symbols`, less `glibc_symbols_allowed`" if |policy| policy.no_glibc_symbols => glibc_symbols {
        detects: "a name that only glibc has, such as `__memcpy_chk`, `__isoc23_strtol`, `_dl_find_object` or `open64`; names that other libraries define too count only as an undefined reference, and in objects all names do",
        rationale: "an object that was compiled against the headers of glibc has other structures and calls; the link fails, or a replacement of the missing function hides the error",
        incident: "`__fprintf_chk` (rust-rocksdb#635, rust-rdkafka#170), `__isoc23_strtol` in prebuilt objects (JRufer/VoxCtrl#62), `open64` since musl 1.2.4 (ziglang/zig#15610, rust-lang/rust#111285, cargo-zigbuild#157), `__res_ninit` (rdkafka#447)",
        other_tools: "auditwheel reads the symbol versions of glibc in shared objects; none judges objects and archives for musl",
        fix: "compile the library for the musl target: set CC and CFLAGS for its build script, no `-I/usr/include`, no prebuilt objects; `nm -A *.a | grep NAME` names the object",
    }
    "no-sanitizer-runtime" at COMPILED, enabled by "`no_sanitizers`" if |policy| policy.no_sanitizers => no_sanitizers {
        detects: "a reference to the runtime of a sanitizer: `__ubsan_*`, `__asan_*`, `__tsan_*`, `__msan_*` and others; weak references that stay undefined are accepted",
        rationale: "the runtime is missing at link time or ends the program with SIGILL; the trapping form of UBSan has no symbol, so a pass does not exclude it",
        incident: "`zig cc` without `-O` inserts calls of `__ubsan_handle_*` (cargo-zigbuild#333, apache/opendal#5935, PyO3/maturin-action#335)",
        other_tools: "checksec shows some names; none fails",
        fix: "compile C with `-O2` or `-fno-sanitize=all`",
    }
    "no-dlopen" at COMPILED, enabled by "`no_dlopen`" if |policy| policy.no_dlopen => no_dlopen {
        detects: "`dlopen`, `dlmopen` or the crate libloading, referenced by an object or linked into a program",
        rationale: "in a static musl program dlopen is a stub that always fails; the linker adds it only for a reference, so its presence shows that some code calls it",
        incident: "`Dynamic loading not supported` at run time (vectordotdev/vector#1433); `load_extension` of a bundled SQLite can never work (rusqlite#990)",
        other_tools: "ld warns for glibc only; none fails",
        fix: "disable the feature that loads libraries (`nm -A *.a | grep dlopen` names the object), or link dynamically",
    }
    "allocator" at LINKED, enabled by "`allocators`" if |policy| !policy.allocators.is_empty() => allocator {
        detects: "a program with threads (`pthread_create` is defined) without any of the listed allocators",
        rationale: "the allocator of musl takes one lock for all threads, so threads that allocate wait for each other; the presets report it as a warning",
        incident: "7 to 90 times slower with threads (bram209/leptosfmt#191, EmbarkStudios/texture-synthesis#8, firezone#13909)",
        other_tools: "none",
        fix: "set a `#[global_allocator]` such as mimalloc, or link one that defines `malloc`; for a program that allocates little, set `allocators = []`",
    }
    "jemalloc-page-size" at LINKED, enabled by "`jemalloc_lg_page_min` above 0, if `machines` is empty or has `aarch64`" if |policy| policy.jemalloc_lg_page_min > 0 && (policy.machines.is_empty() || policy.machines.iter().any(|machine| machine == AARCH64)) => jemalloc_page_size {
        detects: "an aarch64 program with jemalloc whose declared `jemalloc_lg_page` is too small; `cannot tell` without a declaration",
        rationale: "jemalloc has the page size of the build machine compiled in, and the bytes do not show it; kernels of aarch64 have pages of 4, 16 or 64 KiB",
        incident: "`<jemalloc>: Unsupported system page size` at the start on kernels with larger pages (tikv/jemallocator#80, Wilfred/difftastic#850, microsoft/ripgrep-prebuilt#26)",
        other_tools: "none",
        fix: "build with `JEMALLOC_SYS_WITH_LG_PAGE=16` and declare `jemalloc_lg_page = 16` in the policy",
    }
}

const AARCH64: &str = "aarch64";

/// The table of all symbols of a linked file or an object; `.dynsym` repeats parts of it. An object without a table refers to
/// nothing: some members of musl's libc.a are empty.
fn table<'a>(input: &RuleInput<'a>) -> Option<&'a SymbolTable> {
    static EMPTY: LazyLock<SymbolTable> = LazyLock::new(SymbolTable::default);
    match &input.facts.symbols {
        None if is_object(input) && !input.facts.sections.is_empty() => Some(&EMPTY),
        table => table.as_ref(),
    }
}

fn is_object(input: &RuleInput) -> bool {
    input.facts.kind == FileKind::Relocatable
}

/// Whether the symbol shows a use: a reference in an object, or what the linker added to a program for a reference. The
/// archive that defines it is no violation, and neither is a weak reference that stays undefined.
fn shows_use(input: &RuleInput, symbol: &NamedSymbol) -> bool {
    match symbol.is_defined {
        true => !is_object(input),
        false => !symbol.is_weak,
    }
}

fn no_table(expected: impl Into<String>) -> CheckResult {
    CheckResult::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT)
}

/// The names of symbols that are matched, sorted and without repetitions.
fn names<'a>(symbols: impl Iterator<Item = NamedSymbol<'a>>) -> Vec<String> {
    symbols.map(|symbol| display_name(symbol.name)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Counts addresses: aliases of one definition have several names or bindings, and one address. Local definitions count,
/// because linkers make hidden symbols local.
fn unique(input: &RuleInput) -> CheckResult {
    let wanted = &input.policy.unique_symbols;
    let expected = format!("at most one definition: {}", list(wanted));
    let Some(table) = table(input) else { return no_table(expected) };
    let patterns = Patterns::of(wanted);
    let defined = patterns.find(table).into_iter().filter(|symbol| symbol.is_defined);
    let mut definitions: Vec<(&[u8], u64)> = defined.map(|symbol| (symbol.name, symbol.value)).collect();
    definitions.sort_unstable();
    definitions.dedup();
    let mut files: Vec<&[u8]> = table.source_files().filter(|name| patterns.match_any(name)).collect();
    files.sort_unstable();
    let at_addresses = definitions.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1).map(|same| {
        let addresses: Vec<String> = same.iter().map(|(_, value)| format!("{value:#x}")).collect();
        format!("{} at {}", display_name(same[0].0), list(&addresses))
    });
    let files = files.chunk_by(|a, b| a == b).filter(|same| same.len() > 1);
    let files = files.map(|same| format!("{} of {} objects", String::from_utf8_lossy(same[0]), same.len()));
    CheckResult::pass_if_none(at_addresses.chain(files).collect(), expected)
}

fn weak_undefined(input: &RuleInput) -> CheckResult {
    let (allowed, forbidden) = (&input.policy.weak_undefined_symbols, &input.policy.weak_undefined_forbidden);
    let mut expected = match allowed {
        Some(allowed) => format!("no weak undefined symbol except {}", list(allowed)),
        None => String::new(),
    };
    if !forbidden.is_empty() {
        let separator = if expected.is_empty() { "" } else { "; " };
        expected.push_str(&format!("{separator}never {}", list(forbidden)));
    }
    let Some(table) = table(input) else { return no_table(expected) };
    let allowed = allowed.as_ref().map(|allowed| Patterns::of(allowed));
    let forbidden = Patterns::of(forbidden);
    let weak = table.undefined().into_iter().filter(|symbol| symbol.is_weak);
    let wrong = weak.filter(|symbol| {
        forbidden.match_any(symbol.name)
            || allowed.as_ref().is_some_and(|allowed| !allowed.match_any(symbol.name))
    });
    CheckResult::pass_if_none(names(wrong), expected)
}

fn exclusive(input: &RuleInput) -> CheckResult {
    let groups = &input.policy.exclusive_symbols;
    let describe = |names: &[&str]| format!("only one of {}", names.join(" and "));
    let all: Vec<String> =
        groups.iter().map(|group| describe(&group.keys().map(String::as_str).collect::<Vec<_>>())).collect();
    let expected = all.join("; ");
    let Some(table) = table(input) else { return no_table(expected) };
    let mut wrong = Vec::new();
    for group in groups {
        let mut present = Vec::new();
        for (name, patterns) in group {
            let patterns = Patterns::of(patterns);
            if let Some(symbol) = patterns.find(table).first() {
                present.push(format!("{name} (`{}`)", display_name(symbol.name)));
            }
        }
        if present.len() > 1 {
            wrong.push(present.join(" and "));
        }
    }
    CheckResult::pass_if_none(wrong, expected)
}

fn no_ifunc(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "no STT_GNU_IFUNC, no R_*_IRELATIVE";
    let facts = input.facts;
    let tables = facts.symbols.iter().chain(&facts.dynamic_symbols);
    let mut found = names(tables.flat_map(SymbolTable::ifuncs));
    if facts.irelative_relocations > 0 {
        found.push(format!("{} relocations R_*_IRELATIVE", facts.irelative_relocations));
    }
    if found.is_empty() && facts.sections.is_empty() {
        return CheckResult::cannot_tell(
            EXPECTED,
            "no section headers",
            "keep the section headers (do not use `sstrip`)",
        );
    }
    CheckResult::pass_if_none(found, EXPECTED)
}

fn glibc_symbols(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "no name that only glibc has";
    let allowed = &input.policy.glibc_symbols_allowed;
    let expected = match allowed.is_empty() {
        true => EXPECTED.to_string(),
        false => format!("{EXPECTED}, except {}", list(allowed)),
    };
    let Some(table) = table(input) else { return no_table(expected) };
    let (always, references) = (Patterns::of(&OF_GLIBC_ONLY), Patterns::of(&REFERENCES_TO_GLIBC));
    let (of_every_libc, of_compiler_rt) = (Patterns::of(&OF_EVERY_LIBC), Patterns::of(&OF_COMPILER_RT));
    let allowed = Patterns::of(allowed);
    let only_glibc = always.find(table).into_iter().filter(|symbol| match symbol.is_defined {
        true => !is_object(input) && !of_compiler_rt.match_any(symbol.name),
        false => true,
    });
    let references = references.find(table).into_iter().filter(|symbol| !symbol.is_defined);
    let wrong = only_glibc
        .chain(references)
        .filter(|symbol| !of_every_libc.match_any(symbol.name) && !allowed.match_any(symbol.name));
    CheckResult::pass_if_none(names(wrong), expected)
}

fn no_sanitizers(input: &RuleInput) -> CheckResult {
    const NAMES: [&str; 9] = [
        "__ubsan_*",
        "__asan_*",
        "__hwasan_*",
        "__lsan_*",
        "__msan_*",
        "__tsan_*",
        "__dfsan_*",
        "__sanitizer_*",
        "__rtsan_*",
    ];
    const EXPECTED: &str = "no `__ubsan_*`, `__asan_*` or other sanitizer";
    let Some(table) = table(input) else { return no_table(EXPECTED) };
    let patterns = Patterns::of(&NAMES);
    let used = patterns.find(table).into_iter().filter(|symbol| shows_use(input, symbol));
    CheckResult::pass_if_none(names(used), EXPECTED)
}

fn no_dlopen(input: &RuleInput) -> CheckResult {
    /// Legacy mangling of paths in the crate libloading. A name in the v0 mangling has no fixed start; the crate calls dlopen.
    const NAMES: [&str; 3] = ["dlopen", "dlmopen", "_ZN10libloading*"];
    const EXPECTED: &str = "no `dlopen`, `dlmopen` or libloading";
    let Some(table) = table(input) else { return no_table(EXPECTED) };
    let patterns = Patterns::of(&NAMES);
    let used = patterns.find(table).into_iter().filter(|symbol| shows_use(input, symbol));
    CheckResult::pass_if_none(names(used), EXPECTED)
}

fn allocator(input: &RuleInput) -> CheckResult {
    const THREADS: [&str; 1] = ["pthread_create"];
    let allowed = &input.policy.allocators;
    let expected = format!("one of {}", list(allowed));
    let Some(table) = table(input) else { return no_table(expected) };
    let (threads, allocators) = (Patterns::of(&THREADS), Patterns::of(allowed));
    let defined = |patterns: &Patterns| patterns.find(table).into_iter().find(|symbol| symbol.is_defined);
    match defined(&allocators) {
        Some(symbol) => CheckResult::pass_if(true, expected, display_name(symbol.name)),
        None if defined(&threads).is_some() => {
            CheckResult::pass_if(false, expected, "`pthread_create`, and only the allocator of the libc")
        }
        None => CheckResult::pass_if(true, expected, "no threads"),
    }
}

fn jemalloc_page_size(input: &RuleInput) -> CheckResult {
    const NAMES: [&str; 4] = ["_rjem_*", "je_malloc*", "je_arena*", "je_sdallocx"];
    let min = input.policy.jemalloc_lg_page_min;
    let expected = format!("jemalloc built for pages of 2^{min} bytes or more");
    let machine = &input.facts.header.machine;
    if machine != AARCH64 {
        return CheckResult::pass_if(true, expected, format!("{machine}, whose pages have one size"));
    }
    let Some(table) = table(input) else { return no_table(expected) };
    let patterns = Patterns::of(&NAMES);
    let Some(symbol) = patterns.find(table).into_iter().find(|symbol| symbol.is_defined) else {
        return CheckResult::pass_if(true, expected, "no jemalloc");
    };
    let name = display_name(symbol.name);
    match input.policy.jemalloc_lg_page {
        Some(declared) => CheckResult::pass_if(
            declared >= min,
            expected,
            format!("`{name}`, declared `jemalloc_lg_page = {declared}`"),
        ),
        None => CheckResult::cannot_tell(
            expected,
            format!("`{name}`, no declared page size"),
            "build with `JEMALLOC_SYS_WITH_LG_PAGE=16` and declare `jemalloc_lg_page = 16` in the policy",
        ),
    }
}
