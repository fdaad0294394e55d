//! The runtimes that are linked in: duplicates, libc, sanitizers, allocators, thread-local data.

use super::{CANNOT_TELL, LINKED, OBJECT, PACKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let no_table = "no .symtab";
    let rule = "unique-symbols";
    let unique = r#"unique_symbols = ["_start", "malloc", "crt1.c", "__aarch64_*"]"#;
    table.check(rule, LINKED, unique, &f("rules/single"), PASS, "none");
    // A hidden definition becomes local; an alias of one definition is not a second one.
    table.check(rule, LINKED, unique, &f("rules/two-copies"), VIOLATION, "malloc at 0x");
    // The linker kept one name of each symbol and both copies of the code.
    let merged = f("rules/multiple-definitions");
    table.check(rule, LINKED, unique, &merged, VIOLATION, "crt1.c of 2 objects");
    table.check(rule, LINKED, r#"unique_symbols = ["_start", "malloc"]"#, &merged, PASS, "none");
    table.check(rule, LINKED, unique, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "weak-undefined-symbols";
    let bad = f("rules/incidents");
    table.check(rule, LINKED, "weak_undefined_symbols = []", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "weak_undefined_symbols = []", &bad, VIOLATION, "optional_hook");
    let allowed = r#"weak_undefined_symbols = ["optional_*", "pthread_cancel"]"#;
    table.check(rule, LINKED, allowed, &bad, PASS, "none");
    let forbidden = r#"weak_undefined_forbidden = ["pthread_*"]"#;
    table.check(rule, LINKED, forbidden, &bad, VIOLATION, "pthread_cancel");
    table.check(rule, LINKED, forbidden, &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, forbidden, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "exclusive-symbols";
    let cpp = r#"exclusive_symbols = [{ "libc++" = ["_ZNSt3__1*"], "libstdc++" = ["_ZNSt7__cxx11*"] }]"#;
    table.check(rule, LINKED, cpp, &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, cpp, &bad, VIOLATION, "libc++ (`std::__1::");
    table.check(rule, LINKED, cpp, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "no-ifunc";
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/ifunc"), VIOLATION, "1 relocations R_*_IRELATIVE");
    let stripped = f("rules/ifunc-stripped");
    table.check(rule, STRIPPED, "no_ifunc = true", &stripped, VIOLATION, "1 relocations R_*_IRELATIVE");
    table.check(rule, OBJECT, "no_ifunc = true", &f("rules/ifunc.o"), VIOLATION, "dispatched");
    let without_sections = edited("static-pie", |bytes| bytes[40..48].fill(0));
    table.check(rule, LINKED, "no_ifunc = true", &without_sections, CANNOT_TELL, "no section headers");

    let rule = "glibc-symbols";
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/plain.o"), PASS, "none");
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/canary.o"), VIOLATION, "__memcpy_chk");
    let allowed = "no_glibc_symbols = true\nglibc_symbols_allowed = [\"__memcpy_chk\"]";
    table.check(rule, OBJECT, allowed, &f("rules/canary.o"), PASS, "none");
    let names = "__isoc23_strtol, gnu_get_libc_version, open64";
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/incidents.o"), VIOLATION, names);
    // A program may define `open64`, and the compiler_rt of zig defines `__memcpy_chk`.
    table.check(rule, LINKED, "no_glibc_symbols = true", &bad, VIOLATION, "__isoc23_strtol, gnu_get_libc");
    table.check(rule, LINKED, "no_glibc_symbols = true", &f("rules/single"), PASS, "none");

    let rule = "no-sanitizer-runtime";
    table.check(rule, LINKED, "no_sanitizers = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_sanitizers = true", &bad, VIOLATION, "__ubsan_handle_add_overflow");
    let object = f("rules/incidents.o");
    table.check(rule, OBJECT, "no_sanitizers = true", &object, VIOLATION, "__ubsan_handle_add_overflow");
    table.check(rule, LINKED, "no_sanitizers = true", &f("stripped"), CANNOT_TELL, no_table);

    let rule = "no-dlopen";
    table.check(rule, LINKED, "no_dlopen = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_dlopen = true", &bad, VIOLATION, "dlopen");
    table.check(rule, OBJECT, "no_dlopen = true", &object, VIOLATION, "dlopen");
    // The archive that defines it is not the culprit.
    table.check(rule, OBJECT, "no_dlopen = true", &f("rules/stubs.o"), PASS, "none");

    let rule = "allocator";
    let any = r#"allocators = ["mi_malloc", "rpmalloc"]"#;
    table.check(rule, LINKED, any, &f("linked"), PASS, "no threads");
    table.check(rule, LINKED, any, &bad, VIOLATION, "only the allocator of the libc");
    table.check(rule, LINKED, r#"allocators = ["rpmalloc", "mallo*"]"#, &bad, PASS, "malloc");
    table.check(rule, LINKED, any, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "jemalloc-page-size";
    let as_arm64 = |name: &str| edited(name, |bytes| bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()));
    let arm64 = as_arm64("rules/incidents");
    let declared = |page: u32| format!("jemalloc_lg_page_min = 16\njemalloc_lg_page = {page}");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &bad, PASS, "x86_64");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &as_arm64("linked"), PASS, "no jemalloc");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &arm64, CANNOT_TELL, "no declared page size");
    table.check(rule, LINKED, &declared(12), &arm64, VIOLATION, "`_rjem_malloc`, declared");
    table.check(rule, LINKED, &declared(16), &arm64, PASS, "jemalloc_lg_page = 16");

    let rule = "tls-size";
    table.check(rule, STRIPPED, r#"tls_size_max = "4 KiB""#, &f("stripped"), PASS, "0 bytes");
    table.check(rule, LINKED, r#"tls_size_max = "8 KiB""#, &bad, PASS, "8192 bytes");
    table.check(rule, LINKED, r#"tls_size_max = "4 KiB""#, &bad, VIOLATION, "8192 bytes");

    let rule = "has-symbols";
    table.check(rule, LINKED, "needs_symbols = true", &f("linked"), PASS, "symbols");
    table.check(rule, LINKED, "needs_symbols = true", &f("stripped"), VIOLATION, "none");

    let by_machine = r#"segment_align_min_by_machine = { aarch64 = "64 KiB" }"#;
    table.check("segment-align", LINKED, by_machine, &f("arm64"), PASS, "64 KiB");
    table.check("segment-align", LINKED, by_machine, &f("linked"), PASS, "4 KiB");
    let small = edited("arm64", |bytes| ProgramHeader::load(bytes).set_align(bytes, 4096));
    table.check("segment-align", LINKED, by_machine, &small, VIOLATION, "with 4 KiB");
    table.check("inner-segment-align", PACKED, by_machine, &f("packed-arm64"), PASS, "64 KiB");
    let (packed, min) = (f("packed-nrv2b"), r#"segment_align_min = "16 KiB""#);
    table.check("inner-segment-align", PACKED, min, &packed, VIOLATION, "segment 0 with");
}
