//! Symbol names, and the protections that they show.

use super::{CANNOT_TELL, LINKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::fixture;

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let rule = "required-symbols";
    let wanted = r#"required_symbols = ["_sta*", "engine::forward", "blas::gemm(int, float const*)"]"#;
    table.check(rule, LINKED, wanted, &f("rules/hardened"), PASS);
    table.check(
        rule,
        LINKED,
        r#"required_symbols = ["engine::*", "engine::backward"]"#,
        &f("rules/hardened"),
        VIOLATION,
    );
    // A reference is not a definition.
    table.check(
        rule,
        LINKED,
        r#"required_symbols = ["missing_function"]"#,
        &f("rules/liblibrary.so"),
        VIOLATION,
    );
    table.check(rule, STRIPPED, r#"required_symbols = ["x"]"#, &f("stripped"), CANNOT_TELL);

    let rule = "forbidden-symbols";
    table.check(rule, LINKED, r#"forbidden_symbols = ["dlopen", "std::*"]"#, &f("rules/hardened"), PASS);
    table.check(rule, LINKED, r#"forbidden_symbols = ["blas::gemm(*"]"#, &f("rules/hardened"), VIOLATION);
    table.check(rule, LINKED, r#"forbidden_symbols = ["missing_*"]"#, &f("rules/liblibrary.so"), VIOLATION);
    // Without .symtab, only the symbols of .dynsym are known.
    table.check(rule, STRIPPED, r#"forbidden_symbols = ["needed"]"#, &f("dynamic"), VIOLATION);
    table.check(rule, STRIPPED, r#"forbidden_symbols = ["dlopen"]"#, &f("dynamic"), CANNOT_TELL);

    let rule = "undefined-symbols";
    table.check(rule, LINKED, "undefined_symbols = []", &f("linked"), PASS);
    table.check(rule, STRIPPED, "undefined_symbols = []", &f("stripped"), PASS);
    // The weak symbol is accepted.
    table.check(rule, LINKED, "undefined_symbols = []", &f("rules/liblibrary.so"), VIOLATION);
    table.check(rule, LINKED, r#"undefined_symbols = ["missing_*"]"#, &f("rules/liblibrary.so"), PASS);
    table.check(rule, LINKED, "undefined_symbols = []", &f("rules/plain.o"), VIOLATION);

    let rule = "stack-protector";
    let policy = "needs_stack_protector = true";
    table.check(rule, LINKED, policy, &f("rules/hardened"), PASS);
    table.check(rule, LINKED, policy, &f("rules/canary.o"), PASS);
    table.check(rule, LINKED, policy, &f("rules/careless"), VIOLATION);
    table.check(rule, LINKED, policy, &f("rules/plain.o"), VIOLATION);
    table.check(rule, STRIPPED, policy, &f("stripped"), CANNOT_TELL);
    let rule = "fortify";
    table.check(rule, LINKED, "needs_fortify = true", &f("rules/canary.o"), PASS);
    table.check(rule, LINKED, "needs_fortify = true", &f("rules/careless"), VIOLATION);
    table.check(rule, LINKED, "needs_fortify = true", &f("linked"), PASS);
    table.check(rule, STRIPPED, "needs_fortify = true", &f("stripped"), CANNOT_TELL);

    let rule = "required-notes";
    let cet = r#"required_notes = ["build-id", "ibt", "shstk", "GNU/5"]"#;
    table.check(rule, LINKED, cet, &f("rules/hardened"), PASS);
    table.check(rule, LINKED, cet, &f("rules/careless"), VIOLATION);
    table.check(rule, LINKED, r#"required_notes = ["bti", "pac"]"#, &f("rules/arm64-protected.o"), PASS);
    table.check(rule, LINKED, r#"required_notes = ["bti", "pac"]"#, &f("arm64"), VIOLATION);
}
