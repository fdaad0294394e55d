//! What each check of a vendored library is for, told to somebody who has just been stopped by it. A message ends in the name
//! of its check: `[preprocessor]`.

use diag::wrap;

use super::VendoredPatch;

#[derive(Debug)]
pub struct Check {
    pub name: &'static str,
    /// At which moment of a build.
    pub when: &'static str,
    pub catches: &'static str,
    /// What happened, or happens, where nobody looks.
    pub incident: &'static str,
    pub fix: &'static str,
}

/// In the order in which a build makes them.
pub const CHECKS: [Check; 20] = [
    Check {
        name: "series",
        when: "reading the vendor folder",
        catches: "a patch that vanished from its folder, a guard without a patch, a stray file",
        incident: "a re-import of a library dropped five merged patches; the build had no list that would have missed them",
        fix: "bring the file back, or take its name out of `patches` in source.toml and say why in the commit",
    },
    Check {
        name: "header",
        when: "reading the vendor folder",
        catches: "a patch that does not say why it is there, where upstream has it, since when, and what guards it",
        incident: "nobody dares to drop a patch that nobody can explain, nor notices when upstream has fixed it",
        fix: "fill the field that is named",
    },
    Check {
        name: "source-digest",
        when: "unpacking",
        catches: "a source file that is not the one on the list: changed, missing, or of another version",
        incident: "an old build tree, half of it rebuilt, sent a bisection astray",
        fix: "fetch the source again; for another version, `vendor bump`",
    },
    Check {
        name: "already-applied",
        when: "before a patch",
        catches: "a tree that has the patch in it: upstream took it, or somebody patched the tree by hand",
        incident: "tools skip such a patch in silence, and nobody learns that it can go, or that the tree is not pristine",
        fix: "compare with upstream; remove the patch when upstream has it, else fetch the source again",
    },
    Check {
        name: "elsewhere",
        when: "before a patch",
        catches: "text that moved: the hunk fits, but on another line",
        incident: "`patch` moves hunks by itself, also into the second of two equal places, where they do nothing",
        fix: "`vendor edit`, read the surroundings, `vendor refresh`",
    },
    Check {
        name: "does-not-apply",
        when: "before a patch",
        catches: "text that was rewritten; `patch` would drop lines of context until it fits",
        incident: "a hunk with its context dropped can land in a branch that is never compiled",
        fix: "see whether the defect still exists; then `vendor edit`, write it anew, `vendor refresh`",
    },
    Check {
        name: "anchor-before",
        when: "before a patch",
        catches: "a place that the patch is about and that is gone, or is there twice",
        incident: "a second site that creates threads appeared, and the patch repaired the first one only",
        fix: "read what became of the text; then correct patch and guard",
    },
    Check {
        name: "pre-image",
        when: "before a patch",
        catches: "hunks that fit a file whose other lines are not those that the patch was read against",
        incident: "the code was compiled out by an #undef at the top of the file, far from any hunk",
        fix: "read the difference between the two files; then `vendor refresh` pins the digests",
    },
    Check {
        name: "anchor-after",
        when: "after a patch",
        catches: "a patch without the text that it is there for",
        incident: "a conflict was solved by leaving out the one line that mattered",
        fix: "bring the text back, or correct `after` in the guard",
    },
    Check {
        name: "anchor-gone",
        when: "after a patch",
        catches: "text that the patch was to remove everywhere, and that is still somewhere",
        incident: "raise(SIGINT) against the own process stood at two sites; one was repaired",
        fix: "extend the patch to the site that is left",
    },
    Check {
        name: "post-image",
        when: "after a patch",
        catches: "a patch, or its guard, that was changed without the other",
        incident: "a patch was edited by hand, and the review read the old one",
        fix: "read the difference; then `vendor refresh` pins the digest",
    },
    Check {
        name: "compiled",
        when: "after the compile, from the compiler calls of its log",
        catches: "a patched file that nothing compiles",
        incident: "a build without threads leaves blas_server.c out, and every patch in it",
        fix: "look in the compile log for what is compiled instead",
    },
    Check {
        name: "preprocessor",
        when: "after the compile, with the flags of the real calls",
        catches: "added lines that are inside an #if that is off",
        incident: "the first repair of the thread stacks stood inside #ifdef NEED_STACKATTR, which the same file undefines; \
                   two greps found it there",
        fix: "move the code out of the #if; a line that is for another system is named in `dead` of the guard",
    },
    Check {
        name: "object",
        when: "after the compile, against a compile without the patch",
        catches: "a patch that the compiler sees and that changes no code: dead, or optimised away",
        incident: "an attribute was set on a copy that nobody passed on",
        fix: "name the function that really changes in `[[object]]`, or find out why none does",
    },
    Check {
        name: "member",
        when: "in the archive",
        catches: "an object that is not in the archive, or is there twice",
        incident: "with two members of one name the linker takes the first, and the patch may be in the second",
        fix: "read the end of the compile log, where the archive is made",
    },
    Check {
        name: "function",
        when: "in the archive",
        catches: "a function of the guard that is not in its object: inlined, renamed or compiled out",
        incident: "nothing to look at was taken for nothing to complain about",
        fix: "mark it `noinline` in the patch, or name the function that holds the code",
    },
    Check {
        name: "reference",
        when: "in the archive, by relocations",
        catches: "a function that does not use what the patch has it use",
        incident: "pthread_create without pthread_attr_setstacksize gives 128 KiB on musl, and SIGSEGV under load",
        fix: "follow the code of the function; the patch is not effective",
    },
    Check {
        name: "only-here",
        when: "in the archive, by relocations",
        catches: "a second place that does the same without the patch",
        incident: "the workers are created at two sites; only one of them was guarded",
        fix: "patch that place too, or have it call the function of the guard",
    },
    Check {
        name: "never",
        when: "in the archive, by relocations",
        catches: "a use of what the patch took away",
        incident: "exit() from a library runs destructors beside running work",
        fix: "patch the place that still uses it",
    },
    Check {
        name: "linked",
        when: "in the linked binary, by its symbols",
        catches: "patched code that does not get into the product",
        incident: "a system library of the same name stood earlier on the link line",
        fix: "`cargo xtask build-native` names the archive; look whether its member is linked at all",
    },
];

/// The last link: programs that run. Not told in brackets, because a test fails by its own name.
pub const BEHAVIOUR: Check = Check {
    name: "behaviour",
    when: "in `cargo xtask test`, against archives with and without the patch",
    catches: "a patch that is live and does not help, and a test that passes without it",
    incident: "a text was there, was compiled, was linked, and the thread still had 128 KiB",
    fix: "run the named program by itself; vendor/*/README.md says how",
};

pub fn all() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().chain([&BEHAVIOUR])
}

/// For a terminal.
pub fn explain(check: &Check) -> String {
    let parts = [
        ("when", check.when),
        ("catches", check.catches),
        ("incident", check.incident),
        ("what to do", check.fix),
    ];
    parts.iter().fold(format!("{}\n", check.name), |text, (label, part)| {
        text + &format!("  {label:10}  {}\n", wrap(part, 14))
    })
}

/// What the guard of one patch demands, each demand with the name of its check.
pub fn explain_guard(patch: &VendoredPatch) -> String {
    let guard = &patch.guard;
    let mut text = format!("{}\n  why         {}\n", patch.name, wrap(&patch.why, 14));
    let mut line = |check: &str, what: String| {
        text += &format!("  {check:14}  {}\n", wrap(&what, 18));
    };
    let quoted = |anchors: &[String]| {
        let first = |anchor: &String| format!("`{}`", anchor.trim().lines().next().unwrap_or_default());
        anchors.iter().map(first).collect::<Vec<_>>().join(", ")
    };
    for file in &guard.files {
        line("pre-image", format!("{}: sha256 {}…", file.path, &file.pre_sha256[..16]));
        line("anchor-before", format!("once: {}", quoted(&file.before)));
        line("post-image", format!("{}: sha256 {}…", file.path, &file.post_sha256[..16]));
        line("anchor-after", format!("once: {}", quoted(&file.after)));
        if !file.gone.is_empty() {
            line("anchor-gone", format!("nowhere any more: {}", quoted(&file.gone)));
        }
        line("compiled", format!("the build compiles {}, or a source that includes it", file.path));
        let dead =
            if file.dead.is_empty() { String::new() } else { format!(", but for {}", quoted(&file.dead)) };
        line("preprocessor", format!("every added line of code is in what the compiler sees{dead}"));
    }
    for proof in &guard.objects {
        let place = match &proof.function {
            Some(function) => format!("{function} in {}", proof.member),
            None => proof.member.clone(),
        };
        line("member", format!("{} is in the archive, once", proof.member));
        line("object", format!("the code of {place} is another without the patch"));
        if let Some(function) = &proof.function {
            line("function", format!("{function} has code of its own"));
            line("linked", format!("{function} is in the linked binary"));
        }
        for (check, symbols, what) in [
            ("reference", &proof.references, "uses"),
            ("only-here", &proof.only_here, "is alone in using"),
            ("never", &proof.never, "does not use"),
        ] {
            if !symbols.is_empty() {
                line(check, format!("{place} {what} {}", symbols.join(", ")));
            }
        }
    }
    line("behaviour", format!("tests/{}.c fails without the patch and passes with it", patch.test));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that tell violations.
    const TELLERS: [&str; 7] = [
        include_str!("guard.rs"),
        include_str!("liveness.rs"),
        include_str!("manifest.rs"),
        include_str!("lib.rs"),
        include_str!("patch.rs"),
        include_str!("series.rs"),
        include_str!("../../release/src/native/mod.rs"),
    ];

    #[test]
    fn every_check_is_told_by_its_name() {
        for check in &CHECKS {
            // the two kinds of anchors that must stand once share a message
            let name =
                check.name.replace("anchor-before", "anchor-{when}").replace("anchor-after", "anchor-{when}");
            assert!(
                TELLERS.iter().any(|text| text.contains(&format!("[{name}]"))),
                "nothing tells `{}`",
                check.name
            );
            for part in [check.when, check.catches, check.incident, check.fix] {
                assert!(!part.is_empty(), "{}", check.name);
            }
        }
    }

    #[test]
    fn every_real_guard_is_explained_to_its_last_demand() {
        let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
        for patch in crate::Vendored::read(&vendor).unwrap().patches() {
            let told = explain_guard(patch).split_whitespace().collect::<Vec<_>>().join(" ");
            let proofs = &patch.guard.objects;
            for symbol in proofs.iter().flat_map(|p| p.references.iter().chain(&p.never).chain(&p.only_here))
            {
                assert!(told.contains(symbol.as_str()), "{symbol}: {told}");
            }
            assert!(told.contains(&patch.test));
        }
    }
}
