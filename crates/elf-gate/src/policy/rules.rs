//! The table of rules: each with its name, the stages where it applies, what it catches, why that matters, and the fix.

use super::{Case, Finding, Policy, Stage, load, packed, strip, symbols};

pub struct Rule {
    /// Stable, kebab-case: manifests, waivers and scripts refer to it.
    pub id: &'static str,
    pub stages: &'static [Stage],
    pub catches: &'static str,
    pub why: &'static str,
    pub fix: &'static str,
    pub(super) is_demanded: fn(&Policy) -> bool,
    pub(super) check: fn(&Case) -> Finding,
}

/// The rule of that name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

const EVERY: &[Stage] = &Stage::ALL;
const UNPACKED: &[Stage] = &[Stage::Linked, Stage::Stripped];
const LINKED: &[Stage] = &[Stage::Linked];
const STRIPPED: &[Stage] = &[Stage::Stripped];
const PACKED: &[Stage] = &[Stage::Packed];

fn always(_: &Policy) -> bool {
    true
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "machine",
        stages: EVERY,
        catches: "a binary for another processor",
        why: "a wrong target in one build step ships a file that no host of the release can start",
        fix: "build with the `--target` of the release, and look at `readelf -h FILE`",
        is_demanded: |policy| policy.machine.is_some(),
        check: load::machine,
    },
    Rule {
        id: "stack-size",
        stages: EVERY,
        catches: "a PT_GNU_STACK that is missing, doubled, or whose size is not exactly the promised one",
        why: "musl takes the default size of thread stacks from it, between 128 KiB and 8 MiB; without it C threads \
              get 128 KiB and crash when a library needs more",
        fix: "link with `-Wl,-z,stack-size=BYTES`; RUSTFLAGS in the environment silently replaces the flags in \
              .cargo/config.toml",
        is_demanded: |policy| policy.stack_size_bytes.is_some(),
        check: load::stack_size,
    },
    Rule {
        id: "stack-not-executable",
        stages: EVERY,
        catches: "a PT_GNU_STACK with the executable flag, or none at all",
        why: "one assembly file without a .note.GNU-stack section makes the stack of the whole process executable",
        fix: "find the object without .note.GNU-stack (`readelf -SW *.o`), or link with `-Wl,-z,noexecstack`",
        is_demanded: |policy| !policy.allow_executable_stack,
        check: load::stack_not_executable,
    },
    Rule {
        id: "no-writable-executable-segment",
        stages: EVERY,
        catches: "a PT_LOAD that is writable and executable",
        why: "it turns every stray write into code that can run",
        fix: "drop `-N`/`--omagic` and linker scripts that merge .text and .data",
        is_demanded: |policy| !policy.allow_writable_executable_segments,
        check: load::no_writable_executable_segment,
    },
    Rule {
        id: "no-interpreter",
        stages: EVERY,
        catches: "a PT_INTERP",
        why: "the file then needs a run-time loader that a scratch image does not have: `no such file or directory`",
        fix: "link statically: `-C target-feature=+crt-static` for Rust, `-static` or `-static-pie` for C",
        is_demanded: |policy| policy.is_static,
        check: load::no_interpreter,
    },
    Rule {
        id: "no-needed",
        stages: EVERY,
        catches: "a DT_NEEDED entry in any PT_DYNAMIC",
        why: "a shared library is needed that the release does not carry",
        fix: "link the named library statically, or drop it",
        is_demanded: |policy| policy.is_static,
        check: load::no_needed,
    },
    Rule {
        id: "required-symbols",
        stages: LINKED,
        catches: "a symbol that should be linked in and is not defined",
        why: "a kernel or a patched function that was dropped in silence leaves a binary that works, slowly or wrongly",
        fix: "look at the archive with `nm --defined-only`, and at the link line; the part was not built or not pulled in",
        is_demanded: |policy| !policy.required_symbols.is_empty(),
        check: symbols::required,
    },
    Rule {
        id: "forbidden-symbols",
        stages: LINKED,
        catches: "a symbol that must not be in the file",
        why: "test hooks, another allocator, dlopen in a static binary: they arrive through a dependency unasked",
        fix: "`nm -A *.a | grep NAME` shows which library brings it; switch off the feature that pulls it in",
        is_demanded: |policy| !policy.forbidden_symbols.is_empty(),
        check: symbols::forbidden,
    },
    Rule {
        id: "build-id",
        stages: UNPACKED,
        catches: "a file without a GNU build-id",
        why: "without it a crash report cannot be matched with its debug file",
        fix: "link with `-Wl,--build-id=sha1`",
        is_demanded: |policy| policy.needs_build_id,
        check: strip::build_id,
    },
    Rule {
        id: "not-packed",
        stages: UNPACKED,
        catches: "a packed file judged as an unpacked one",
        why: "the outer headers of a packed file can say anything; the program sees the inner ones",
        fix: "judge it with `--stage packed`",
        is_demanded: always,
        check: strip::not_packed,
    },
    Rule {
        id: "stripped",
        stages: STRIPPED,
        catches: ".symtab or .debug_* sections that are still there",
        why: "they double the size of what ships, and leak names and paths of the build machine",
        fix: "`objcopy --only-keep-debug FILE FILE.debug`, then `strip FILE`",
        is_demanded: |policy| policy.stripped,
        check: strip::stripped,
    },
    Rule {
        id: "debug-file-matches",
        stages: STRIPPED,
        catches: "a debug file with another build-id, another name or other bytes than .gnu_debuglink says",
        why: "debuggers refuse or, worse, accept the wrong file, and production backtraces name wrong lines",
        fix: "split, strip and link in one go: `objcopy --only-keep-debug`, `strip`, `objcopy --add-gnu-debuglink=`; \
              do not touch the debug file afterwards",
        is_demanded: |policy| policy.needs_debug_file,
        check: strip::debug_file_matches,
    },
    Rule {
        id: "packed-by-upx",
        stages: PACKED,
        catches: "a file that is not packed, or packed in a format that is not known here",
        why: "everything below is read from UPX's own structures",
        fix: "pack it with UPX 4.2.x; or judge it with `--stage stripped`",
        is_demanded: always,
        check: packed::by_upx,
    },
    Rule {
        id: "upx-structure",
        stages: PACKED,
        catches: "headers, blocks, end marker or trailer that do not fit together, or sizes that do not add up",
        why: "a cut trailer still runs but cannot be unpacked; a patched header is a sign of tampering",
        fix: "pack the stripped file again and do not edit the result; `strip` must run before UPX",
        is_demanded: always,
        check: packed::structure,
    },
    Rule {
        id: "upx-stub-checksum",
        stages: PACKED,
        catches: "a changed byte in the stub, by l_checksum",
        why: "the stub is the code that runs first; UPX never checks this sum, so `upx -t` passes what then crashes",
        fix: "pack the stripped file again; the stub differs from what UPX wrote",
        is_demanded: always,
        check: packed::stub_checksum,
    },
    Rule {
        id: "upx-data-checksum",
        stages: PACKED,
        catches: "a changed byte in the compressed blocks, by c_adler",
        why: "the stub does not check it: damaged data are unpacked into a program that then runs",
        fix: "pack the stripped file again, or fetch it again and compare its digest",
        is_demanded: always,
        check: packed::data_checksum,
    },
    Rule {
        id: "inner-machine",
        stages: PACKED,
        catches: "a packed program for another processor",
        why: "the outer header belongs to the stub",
        fix: "pack the binary of this release's target",
        is_demanded: |policy| policy.machine.is_some(),
        check: packed::inner_machine,
    },
    Rule {
        id: "inner-stack-size",
        stages: PACKED,
        catches: "original program headers whose PT_GNU_STACK does not have the promised size",
        why: "the stub points the libc at the decompressed headers, so these decide over the thread stacks, whatever \
              readelf shows of the packed file",
        fix: "link with `-Wl,-z,stack-size=BYTES` and pack that file; editing the packed file changes nothing at run time",
        is_demanded: |policy| policy.stack_size_bytes.is_some(),
        check: packed::inner_stack_size,
    },
    Rule {
        id: "inner-stack-not-executable",
        stages: PACKED,
        catches: "an executable stack in the original program headers",
        why: "see `stack-not-executable`; the outer flags are only a copy",
        fix: "link with `-Wl,-z,noexecstack` and pack again",
        is_demanded: |policy| !policy.allow_executable_stack,
        check: packed::inner_stack_not_executable,
    },
    Rule {
        id: "inner-no-writable-executable-segment",
        stages: PACKED,
        catches: "a segment of the original that is writable and executable",
        why: "the stub maps the original's segments with the original's flags",
        fix: "drop `-N`/`--omagic` and linker scripts that merge .text and .data; pack again",
        is_demanded: |policy| !policy.allow_writable_executable_segments,
        check: packed::inner_no_writable_executable_segment,
    },
    Rule {
        id: "inner-no-interpreter",
        stages: PACKED,
        catches: "a PT_INTERP in the original program headers",
        why: "the outer headers have none even when a dynamic program was packed: the stub loads the interpreter itself",
        fix: "link statically and pack that file",
        is_demanded: |policy| policy.is_static,
        check: packed::inner_no_interpreter,
    },
    Rule {
        id: "outer-inner-agree",
        stages: PACKED,
        catches: "outer and inner headers that differ in type, machine or PT_GNU_STACK",
        why: "UPX copies them, so a difference means that one side was edited afterwards",
        fix: "pack the stripped file again and do not edit the result",
        is_demanded: always,
        check: packed::outer_inner_agree,
    },
    Rule {
        id: "round-trip",
        stages: PACKED,
        catches: "a packed file that does not unpack to the very bytes that were judged before packing",
        why: "sections, symbols and build-id are gone after packing; only equality carries the parent's verdicts over",
        fix: "pack the judged file again; `upx -d -o OUT FILE` and `cmp OUT PARENT` show the difference",
        is_demanded: |policy| policy.needs_round_trip,
        check: packed::round_trip,
    },
];
