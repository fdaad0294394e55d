//! What the build leaves in the file: paths, producers, dependencies, size.

use elf_gate::facts::LocalPathSearch;
use elf_gate::policy::PolicyDocument;
use elf_gate::{Evidence, inspect_for, judge};

use super::{CANNOT_TELL, LINKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::fixture;

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let rule = "no-local-paths";
    let homes = r#"local_paths = ["/home/", "/root/"]"#;
    table.check(rule, STRIPPED, homes, &f("rules/hardened"), PASS, "none");
    table.check(rule, STRIPPED, homes, &f("rules/careless"), VIOLATION, "/home/somebody/project/src/main.c");
    table.check(rule, STRIPPED, r#"local_paths = ["/root/"]"#, &f("rules/careless"), PASS, "none");
    table.check(
        rule,
        STRIPPED,
        r#"local_paths = ["/another/folder/"]"#,
        &f("linked"),
        CANNOT_TELL,
        "not searched for",
    );

    let folders = ["/home/somebody/project/".to_string()];
    let evidence = Evidence { build_folders: &folders, ..Evidence::default() };
    let search = LocalPathSearch::new(["/root/", "/home/somebody/project/"]);
    let policy = PolicyDocument::parse("[every]\nlocal_paths = ['/root/']").unwrap().at(STRIPPED);
    let facts = inspect_for(&f("rules/careless"), &search).unwrap();
    let outcomes = judge(&facts, STRIPPED, &policy, &evidence);
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!(outcome.verdict, VIOLATION);
    assert!(!outcome.expected.contains("somebody") && outcome.found.contains("somebody"), "{outcome:?}");

    let rule = "producers";
    table.check(rule, LINKED, r#"producers = ["GCC: *"]"#, &f("linked"), PASS, "GCC");
    table.check(rule, LINKED, r#"producers = ["clang *"]"#, &f("linked"), VIOLATION, "GCC");
    table.check(
        rule,
        LINKED,
        r#"producers = ["clang *"]"#,
        &f("rules/no-stack-note.o"),
        CANNOT_TELL,
        "no .comment",
    );

    let rule = "auditable-dependencies";
    let policy = "needs_auditable_dependencies = true";
    table.check(rule, LINKED, policy, &f("rules/auditable.o"), PASS, "1 packages");
    table.check(rule, LINKED, policy, &f("rules/auditable-cut.o"), VIOLATION, "does not decompress");
    table.check(rule, LINKED, policy, &f("linked"), VIOLATION, "no .dep-v0");

    let size = f("stripped").len();
    table.check("size-budget", STRIPPED, &format!("size_max = \"{size} B\""), &f("stripped"), PASS, "");
    table.check(
        "size-budget",
        STRIPPED,
        &format!("size_max = \"{} B\"", size - 1),
        &f("stripped"),
        VIOLATION,
        "",
    );
    let mut growth = |baseline: Option<usize>, verdict, found| {
        let evidence =
            Evidence { baseline_size_bytes: baseline.map(|bytes| bytes as u64), ..Evidence::default() };
        let policy = "growth_percent_max = 10";
        table.check_with("size-growth", STRIPPED, policy, &fixture("stripped"), &evidence, verdict, found);
    };
    growth(Some(size), PASS, "(+0)");
    growth(Some(size + 100), PASS, "(-100)");
    growth(Some(size - 2000), VIOLATION, "(+2000)");
    growth(None, CANNOT_TELL, "no baseline");
}
