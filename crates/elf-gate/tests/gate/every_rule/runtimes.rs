//! The runtimes that are linked in: duplicates, libc, sanitizers, allocators, thread-local data.

use super::{CANNOT_TELL, LINKED, OBJECT, PACKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let rule = "unique-symbols";
    let unique = r#"unique_symbols = ["_start", "malloc", "crt1.c", "__aarch64_*"]"#;
    table.check(rule, LINKED, unique, &f("rules/single"), PASS);
    // A hidden definition becomes local; an alias of one definition is not a second one.
    table.check(rule, LINKED, unique, &f("rules/two-copies"), VIOLATION);
    // The linker kept one name of each symbol and both copies of the code.
    let merged = f("rules/multiple-definitions");
    table.check(rule, LINKED, unique, &merged, VIOLATION);
    table.check(rule, LINKED, r#"unique_symbols = ["_start", "malloc"]"#, &merged, PASS);
    table.check(rule, LINKED, unique, &f("stripped"), CANNOT_TELL);

    let rule = "weak-undefined-symbols";
    let bad = f("rules/incidents");
    table.check(rule, LINKED, "weak_undefined_symbols = []", &f("rules/single"), PASS);
    table.check(rule, LINKED, "weak_undefined_symbols = []", &bad, VIOLATION);
    let allowed = r#"weak_undefined_symbols = ["optional_*", "pthread_cancel"]"#;
    table.check(rule, LINKED, allowed, &bad, PASS);
    let forbidden = r#"weak_undefined_forbidden = ["pthread_*"]"#;
    table.check(rule, LINKED, forbidden, &bad, VIOLATION);
    table.check(rule, LINKED, forbidden, &f("rules/single"), PASS);
    table.check(rule, LINKED, forbidden, &f("stripped"), CANNOT_TELL);

    let rule = "exclusive-symbols";
    let cpp = r#"exclusive_symbols = [{ "libc++" = ["_ZNSt3__1*"], "libstdc++" = ["_ZNSt7__cxx11*"] }]"#;
    table.check(rule, LINKED, cpp, &f("rules/single"), PASS);
    table.check(rule, LINKED, cpp, &bad, VIOLATION);
    table.check(rule, LINKED, cpp, &f("stripped"), CANNOT_TELL);

    let rule = "no-ifunc";
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/single"), PASS);
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/ifunc"), VIOLATION);
    let stripped = f("rules/ifunc-stripped");
    table.check(rule, STRIPPED, "no_ifunc = true", &stripped, VIOLATION);
    table.check(rule, OBJECT, "no_ifunc = true", &f("rules/ifunc.o"), VIOLATION);
    let without_sections = edited("static-pie", |bytes| bytes[40..48].fill(0));
    table.check(rule, LINKED, "no_ifunc = true", &without_sections, CANNOT_TELL);

    let rule = "glibc-symbols";
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/plain.o"), PASS);
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/canary.o"), VIOLATION);
    let allowed = "no_glibc_symbols = true\nglibc_symbols_allowed = [\"__memcpy_chk\"]";
    table.check(rule, OBJECT, allowed, &f("rules/canary.o"), PASS);
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/incidents.o"), VIOLATION);
    // A program may define `open64`, and the compiler_rt of zig defines `__memcpy_chk`.
    table.check(rule, LINKED, "no_glibc_symbols = true", &bad, VIOLATION);
    table.check(rule, LINKED, "no_glibc_symbols = true", &f("rules/single"), PASS);

    let rule = "no-sanitizer-runtime";
    table.check(rule, LINKED, "no_sanitizers = true", &f("rules/single"), PASS);
    table.check(rule, LINKED, "no_sanitizers = true", &bad, VIOLATION);
    let object = f("rules/incidents.o");
    table.check(rule, OBJECT, "no_sanitizers = true", &object, VIOLATION);
    table.check(rule, LINKED, "no_sanitizers = true", &f("stripped"), CANNOT_TELL);

    let rule = "no-dlopen";
    table.check(rule, LINKED, "no_dlopen = true", &f("rules/single"), PASS);
    table.check(rule, LINKED, "no_dlopen = true", &bad, VIOLATION);
    table.check(rule, OBJECT, "no_dlopen = true", &object, VIOLATION);
    // The archive that defines it is not the culprit.
    table.check(rule, OBJECT, "no_dlopen = true", &f("rules/stubs.o"), PASS);

    let rule = "allocator";
    let any = r#"allocators = ["mi_malloc", "rpmalloc"]"#;
    table.check(rule, LINKED, any, &f("linked"), PASS);
    table.check(rule, LINKED, any, &bad, VIOLATION);
    table.check(rule, LINKED, r#"allocators = ["rpmalloc", "mallo*"]"#, &bad, PASS);
    table.check(rule, LINKED, any, &f("stripped"), CANNOT_TELL);

    let rule = "jemalloc-page-size";
    let as_arm64 = |name: &str| edited(name, |bytes| bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()));
    let arm64 = as_arm64("rules/incidents");
    let declared = |page: u32| format!("jemalloc_lg_page_min = 16\njemalloc_lg_page = {page}");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &bad, PASS);
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &as_arm64("linked"), PASS);
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &arm64, CANNOT_TELL);
    table.check(rule, LINKED, &declared(12), &arm64, VIOLATION);
    table.check(rule, LINKED, &declared(16), &arm64, PASS);

    let rule = "tls-size";
    table.check(rule, STRIPPED, r#"tls_size_max = "4 KiB""#, &f("stripped"), PASS);
    table.check(rule, LINKED, r#"tls_size_max = "8 KiB""#, &bad, PASS);
    table.check(rule, LINKED, r#"tls_size_max = "4 KiB""#, &bad, VIOLATION);

    let rule = "has-symbols";
    table.check(rule, LINKED, "needs_symbols = true", &f("linked"), PASS);
    table.check(rule, LINKED, "needs_symbols = true", &f("stripped"), VIOLATION);

    let by_machine = r#"segment_align_min_by_machine = { aarch64 = "64 KiB" }"#;
    table.check("segment-align", LINKED, by_machine, &f("arm64"), PASS);
    table.check("segment-align", LINKED, by_machine, &f("linked"), PASS);
    let small = edited("arm64", |bytes| ProgramHeader::load(bytes).set_align(bytes, 4096));
    table.check("segment-align", LINKED, by_machine, &small, VIOLATION);
    table.check("inner-segment-align", PACKED, by_machine, &f("packed-arm64"), PASS);
    let (packed, min) = (f("packed-nrv2b"), r#"segment_align_min = "16 KiB""#);
    table.check("inner-segment-align", PACKED, min, &packed, VIOLATION);
}
