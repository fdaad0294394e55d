//! What the build leaves in the file: paths, producers, dependencies, size.

use elf_gate::facts::LocalPathSearch;
use elf_gate::policy::PolicyDocument;
use elf_gate::{Evidence, inspect_for, judge};

use super::{CANNOT_TELL, DEBUG, LINKED, OBJECT, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::fixture;

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let rule = "no-local-paths";
    let homes = r#"local_paths = ["/home/", "/root/"]"#;
    table.check(rule, STRIPPED, homes, &f("rules/hardened"), PASS);
    table.check(rule, STRIPPED, homes, &f("rules/careless"), VIOLATION);
    table.check(rule, STRIPPED, r#"local_paths = ["/root/"]"#, &f("rules/careless"), PASS);
    table.check(rule, STRIPPED, r#"local_paths = ["/another/folder/"]"#, &f("linked"), CANNOT_TELL);

    let folders = ["/home/somebody/project/".to_string()];
    let evidence = Evidence { build_folders: &folders, ..Evidence::default() };
    let search = LocalPathSearch::new(["/root/", "/home/somebody/project/"]);
    let policy = PolicyDocument::parse("[every]\nlocal_paths = ['/root/']").unwrap().at(STRIPPED);
    let facts = inspect_for(&f("rules/careless"), &search).unwrap();
    let outcomes = judge(&facts, STRIPPED, &policy, &evidence);
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!(outcome.verdict, VIOLATION);
    // What is expected names no folder of the machine that built the file.
    insta::assert_snapshot!(format!("expected {}\nfound {}", outcome.expected, outcome.found), @"
    expected no path below /root/, nor below the 1 folders of this build
    found /home/somebody/project/src/main.c
    ");

    let rule = "mapped-debug-paths";
    let below = |folder: &str| format!("local_paths = ['{folder}']\nmapped_debug_paths = true");
    table.check(rule, OBJECT, &below("/build/"), &f("rules/arm64-protected.o"), VIOLATION);
    table.check(rule, OBJECT, &below("/root/"), &f("rules/arm64-protected.o"), PASS);
    table.check(rule, LINKED, &below("/root/"), &f("linked"), PASS);
    table.check(rule, DEBUG, &below("/root/"), &f("stripped.debug"), PASS);
    table.check(rule, DEBUG, &below("/another/folder/"), &f("stripped.debug"), CANNOT_TELL);
    let mut facts = inspect_for(&f("linked"), &LocalPathSearch::new(["/root/"])).unwrap();
    facts.sections.iter_mut().find(|section| section.name == ".debug_str").unwrap().flags_number |= 0x800;
    let policy = PolicyDocument::parse(&format!("[every]\n{}", below("/root/"))).unwrap().at(LINKED);
    let outcomes = judge(&facts, LINKED, &policy, &Evidence::default());
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!((outcome.verdict, &*outcome.found), (CANNOT_TELL, "compressed: .debug_str"));

    let rule = "producers";
    table.check(rule, LINKED, r#"producers = ["GCC: *"]"#, &f("linked"), PASS);
    table.check(rule, LINKED, r#"producers = ["clang *"]"#, &f("linked"), VIOLATION);
    table.check(rule, LINKED, r#"producers = ["clang *"]"#, &f("rules/no-stack-note.o"), CANNOT_TELL);

    let rule = "auditable-dependencies";
    let policy = "needs_auditable_dependencies = true";
    table.check(rule, LINKED, policy, &f("rules/auditable.o"), PASS);
    table.check(rule, LINKED, policy, &f("rules/auditable-cut.o"), VIOLATION);
    table.check(rule, LINKED, policy, &f("linked"), VIOLATION);

    let size = f("stripped").len();
    table.check("size-budget", STRIPPED, &format!("size_max = \"{size} B\""), &f("stripped"), PASS);
    table.check(
        "size-budget",
        STRIPPED,
        &format!("size_max = \"{} B\"", size - 1),
        &f("stripped"),
        VIOLATION,
    );
    let mut growth = |baseline: Option<usize>, verdict| {
        let evidence =
            Evidence { baseline_size_bytes: baseline.map(|bytes| bytes as u64), ..Evidence::default() };
        let policy = "growth_percent_max = 10";
        table.check_with("size-growth", STRIPPED, policy, &fixture("stripped"), &evidence, verdict);
    };
    growth(Some(size), PASS);
    growth(Some(size + 100), PASS);
    growth(Some(size - 2000), VIOLATION);
    growth(None, CANNOT_TELL);
}
