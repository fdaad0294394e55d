//! The codes of this crate. `cargo xtask vendor status --explain CODE` prints the sections of one.
//!
//! Sections: `when` is the moment of the check, `catches` what it refuses, `incident` what happens without it. Codes are in
//! the order in which a build makes the checks.

diag::codes! {
    /// A file of a vendor folder cannot be used.
    pub VENDOR_FILE = Usage "vendor-file": "a file of a vendor folder is invalid" {
        "when": "reading source.toml, build.toml, files.sha256 or tests/tests.toml",
        "catches": "a syntax error, an unknown key, an empty list, an entry that would check nothing",
        "incident": "a misspelt key was ignored, and the check that it configured was off",
        "fix": "correct the entry that the message names; docs/vendored.md lists the keys",
    }
    /// The vendor folder and its list of patches differ.
    pub PATCH_SERIES = Violation "patch-series": "the patches of a vendor folder are not those of source.toml" {
        "when": "reading the vendor folder",
        "catches": "a patch that is missing from its folder, a guard without a patch, an unknown file",
        "incident": "a re-import of a library dropped five merged patches; no list of patches existed that would have shown it",
        "fix": "restore the file, or remove its name from `patches` in source.toml and give the reason in the commit",
    }
    /// A patch file cannot be parsed.
    pub PATCH_SYNTAX = Violation "patch-syntax": "a patch file is malformed" {
        "when": "reading the vendor folder",
        "catches": "a wrong line count, a rename, a hunk without context, text outside of header and hunks",
        "incident": "`patch` ignores text that it does not understand, so a damaged hunk disappears without an error",
        "fix": "`vendor edit`, make the change in the tree, `vendor refresh` writes the diff",
    }
    /// The header of a patch is incomplete.
    pub PATCH_HEADER = Violation "patch-header": "the header of a patch is incomplete or wrong" {
        "when": "reading the vendor folder",
        "catches": "a patch that does not state its reason, its upstream status, its first version, or its guard",
        "incident": "a patch without a reason is never dropped, even after upstream has fixed the defect",
        "fix": "fill the field that the message names",
    }
    /// A guard file is invalid.
    pub PATCH_GUARD = Violation "patch-guard": "the guard of a patch is invalid" {
        "when": "reading the vendor folder",
        "catches": "an unknown key, a missing anchor or digest, an `[[object]]` that requires nothing, files that the patch does \
                    not change",
        "incident": "a guard without anchors passed on every text",
        "fix": "correct the guard; docs/vendored.md lists its keys",
    }
    /// A patch has no behavioural test.
    pub PATCH_BEHAVIOUR = Violation "patch-behaviour": "a patch has no behavioural test that shows its effect" {
        "when": "reading the vendor folder; `cargo xtask test` runs the programs with and without the patch",
        "catches": "a patch that is compiled and has no effect, and a test that passes without the patch",
        "incident": "a repair was in the text, was compiled, was linked, and the thread still had 128 KiB of stack",
        "fix": "write tests/NAME.c and its entry in tests/tests.toml; vendor/openblas/README.md shows how to run one by hand",
    }
    /// A tarball cannot be unpacked.
    pub SOURCE_ARCHIVE = Environment "source-archive": "a source tarball cannot be unpacked" {
        "when": "unpacking",
        "catches": "a truncated or damaged download, a file that is no tarball, paths and links that lead out of the tree",
        "incident": "a failed download left a page of HTML under the name of the tarball",
        "fix": "remove the tarball (in the cache: its whole folder) and run the command again",
    }
    /// A source file is not the listed one.
    pub SOURCE_DIGEST = Violation "source-digest": "source files are missing or differ from files.sha256" {
        "when": "after unpacking",
        "catches": "a source file that is changed, missing, or of another version",
        "incident": "an old build tree of which one half was rebuilt misled a bisection",
        "fix": "fetch the source again; for another version, `vendor bump`",
    }
    /// The destination of a prepared tree exists.
    pub PREPARED_EXISTS = Usage "prepared-exists": "the folder for a prepared tree exists already" {
        "when": "before unpacking",
        "catches": "files of an earlier run that would get into the new tree",
        "incident": "an interrupted run was continued with half of its files",
        "fix": "remove the folder, or prepare in another one",
    }
    /// The tree already holds the patch.
    pub PATCH_ALREADY_APPLIED = Violation "patch-already-applied": "the tree already holds a patch" {
        "when": "before a patch",
        "catches": "a patch that upstream has merged, or a source tree that is not pristine",
        "incident": "`patch` and `quilt` skip such a patch with a notice, so it is kept for ever, or the tree stays modified",
        "fix": "compare with upstream; remove the patch when upstream has it, else fetch the source again",
    }
    /// The text of a hunk is on another line.
    pub PATCH_MOVED = Violation "patch-moved": "the text that a patch changes is on another line" {
        "when": "before a patch",
        "catches": "a hunk whose text occurs once, on another line",
        "incident": "`patch` moves hunks by itself, also into the second of two equal places, where they have no effect",
        "fix": "`vendor edit`, read the surrounding code, `vendor refresh`",
    }
    /// The text of a hunk is not in the file.
    pub PATCH_DOES_NOT_APPLY = Violation "patch-does-not-apply": "the text that a patch changes is not in the file" {
        "when": "before a patch",
        "catches": "text that upstream rewrote; `patch` would drop context lines until the hunk fits",
        "incident": "a hunk without its context can land in a branch that is never compiled",
        "fix": "check whether the defect still exists; then `vendor edit`, change the new text, `vendor refresh`",
    }
    /// An anchor does not occur once before the patch.
    pub PATCH_ANCHOR_BEFORE = Violation "patch-anchor-before": "an anchor of a guard does not occur exactly once before the patch" {
        "when": "before a patch",
        "catches": "a place that the patch is about and that is missing or occurs twice",
        "incident": "upstream added a second site that creates threads, and the patch repaired only the first one",
        "fix": "find out what became of the text; then correct patch and guard",
    }
    /// The file differs from the one that the patch was reviewed against.
    pub PATCH_PRE_IMAGE = Violation "patch-pre-image": "a file is not the one that the patch was reviewed against" {
        "when": "before a patch",
        "catches": "hunks that fit a file whose other lines have changed",
        "incident": "an #undef at the top of the file, far from any hunk, compiled the new code out",
        "fix": "read the difference between the two files; then `vendor refresh` pins the digests",
    }
    /// An anchor does not occur once after the patch.
    pub PATCH_ANCHOR_AFTER = Violation "patch-anchor-after": "an anchor of a guard does not occur exactly once after the patch" {
        "when": "after a patch",
        "catches": "a patch without the text that is its purpose",
        "incident": "a conflict was resolved by dropping the one line that mattered",
        "fix": "restore the text, or correct `after` in the guard",
    }
    /// Removed text is still in the file.
    pub PATCH_ABSENT_AFTER = Violation "patch-absent-after": "text that a patch removes is still in the file" {
        "when": "after a patch",
        "catches": "an occurrence that the patch missed",
        "incident": "two sites called raise(SIGINT) on their own process; the patch repaired one",
        "fix": "extend the patch to the remaining site",
    }
    /// The file after the patch has another digest.
    pub PATCH_POST_IMAGE = Violation "patch-post-image": "a file after the patch has another digest than the guard pins" {
        "when": "after a patch",
        "catches": "a patch or a guard that was changed without the other",
        "incident": "a patch was edited by hand after its review",
        "fix": "read the difference; then `vendor refresh` pins the digest",
    }
    /// The build does not compile a patched file.
    pub PATCH_COMPILED = Violation "patch-compiled": "the build does not compile a patched file" {
        "when": "after the compile, from the compiler calls in its log",
        "catches": "a patched file that no compiler call reads",
        "incident": "a build without threads omits blas_server.c, and every patch in it",
        "fix": "look in the compile log for the file that is compiled instead",
    }
    /// The preprocessor drops an added line.
    pub PATCH_PREPROCESSOR = Violation "patch-preprocessor": "the preprocessor drops lines that a patch adds" {
        "when": "after the compile, with the flags of the real calls",
        "catches": "added lines inside an #if that is off",
        "incident": "the first repair of the thread stacks stood inside #ifdef NEED_STACKATTR, which the same file undefines; \
                     two greps found it there",
        "fix": "move the code out of the #if; list a line for another system in `allow_uncompiled` of the guard",
    }
    /// The object code is the same without the patch.
    pub PATCH_OBJECT = Violation "patch-object": "the object code is the same without the patch" {
        "when": "after the compile, compared with a compile without the patch",
        "catches": "a patch that the compiler reads and that changes no code: dead, or optimised away",
        "incident": "an attribute was set on a copy that no call used",
        "fix": "name the function that really changes in `[[object]]`, or find out why none does",
    }
    /// A guarded member is not in the archive.
    pub PATCH_MEMBER = Violation "patch-member": "a guarded member is not in the archive exactly once" {
        "when": "in the archive",
        "catches": "a missing or duplicate member",
        "incident": "with two members of one name the linker takes the first; the patch may be in the second",
        "fix": "read the end of the compile log, where the archive is made",
    }
    /// A guarded function is not in its member.
    pub PATCH_FUNCTION = Violation "patch-function": "a guarded function is not in its object" {
        "when": "in the archive",
        "catches": "a function that is inlined, renamed or compiled out",
        "incident": "a check found no function, reported nothing, and passed",
        "fix": "mark it `noinline` in the patch, or name the function that holds the code",
    }
    /// A required reference is missing.
    pub PATCH_REFERENCE = Violation "patch-reference": "a function does not reference a symbol that its patch requires" {
        "when": "in the archive, by relocations",
        "catches": "a function that does not use what the patch adds",
        "incident": "pthread_create without pthread_attr_setstacksize gives 128 KiB on musl, and SIGSEGV under load",
        "fix": "follow the code of the function; the patch is not effective",
    }
    /// A symbol is referenced in a second place.
    pub PATCH_ONLY_HERE = Violation "patch-only-here": "a symbol is referenced outside of the guarded function" {
        "when": "in the archive, by relocations",
        "catches": "a second place that does the same without the patch",
        "incident": "two sites created workers; only one of them was guarded",
        "fix": "patch that place too, or let it call the guarded function",
    }
    /// A forbidden reference is present.
    pub PATCH_FORBID_REFERENCES = Violation "patch-forbid-references": "an object references a symbol that its patch forbids" {
        "when": "in the archive, by relocations",
        "catches": "a use of a symbol that the patch removed",
        "incident": "exit() in a library runs destructors while other threads still work",
        "fix": "patch the place that still uses it",
    }
    /// A guarded function is not in the linked file.
    pub PATCH_LINKED = Violation "patch-linked": "the linked file does not hold a patched function" {
        "when": "in the linked binary, by its symbols",
        "catches": "patched code that is not in the product",
        "incident": "a system library of the same name was earlier on the link line",
        "fix": "`cargo xtask build-native` names the archive; check whether its member is linked at all",
    }
    /// An archive or object cannot be read.
    pub ARCHIVE_UNREADABLE = Environment "archive-unreadable": "a static archive or an object in it cannot be read" {
        "when": "judging the archive",
        "catches": "a file that is no archive, a thin archive, a damaged member",
        "incident": "a full disk truncated an archive",
        "fix": "build the library again; `cargo xtask cache verify` checks the cache",
    }
    /// The members of an archive are wrong.
    pub ARCHIVE_MEMBER = Violation "archive-member": "an archive holds no object, a duplicate member, or a file that is no object" {
        "when": "judging the archive",
        "catches": "an empty archive, two members of one name, a member that is not an ELF object",
        "incident": "two sources of one file name overwrote each other's object",
        "fix": "read the end of the compile log, where the archive is made",
    }
    /// Member metadata depends on the build machine.
    pub ARCHIVE_METADATA = Violation "archive-metadata": "a member records the time or the user of the build" {
        "when": "judging the archive",
        "catches": "any time, user or group but 0, any mode but 644",
        "incident": "two builds of one source gave different bytes",
        "fix": "call `ar` with `D`",
    }
    /// An object requests an executable stack.
    pub ARCHIVE_EXEC_STACK = Violation "archive-exec-stack": "an object requests an executable stack" {
        "when": "judging the archive",
        "catches": "an executable .note.GNU-stack, or none: linkers treat a missing note as a request",
        "incident": "one assembler file without the note made the stack of the whole program executable",
        "fix": "add `.section .note.GNU-stack,\"\",@progbits` to the assembler source",
    }
    /// An object holds a path of the build machine.
    pub ARCHIVE_MACHINE_PATH = Violation "archive-machine-path": "an object holds a path of the build machine" {
        "when": "judging the archive",
        "catches": "the build folder, the checkout, the cache or the home folder anywhere in the bytes",
        "incident": "debug information named the home folder of the person who built the release",
        "fix": "build without debug information, or map the path with -ffile-prefix-map",
    }
    /// Undefined symbols and their declaration differ.
    pub ARCHIVE_UNDEFINED = Violation "archive-undefined": "the undefined symbols of an archive differ from build.toml" {
        "when": "judging the archive",
        "catches": "a symbol that is undefined and not declared, or declared and not undefined",
        "incident": "a new version of a library began to call system()",
        "fix": "find out why the library uses the symbol; then correct `undefined` in build.toml",
    }
    /// A required function is not defined.
    pub ARCHIVE_FUNCTION = Violation "archive-function": "a required function is not defined in the archive" {
        "when": "judging the archive",
        "catches": "a function of `functions` in build.toml that no member defines",
        "incident": "a build option disabled half of the library, and the archive was still made",
        "fix": "read the log of the native build, or correct `functions` in build.toml",
    }
    /// A symbol has another size.
    pub ARCHIVE_SIZE = Violation "archive-size": "a symbol has another size than the chosen `threads_max` gives" {
        "when": "judging the archive",
        "catches": "an archive for another maximum of threads",
        "incident": "the default of OpenBLAS is the core count of the build machine",
        "fix": "check that the option of `threads_max` reaches the compiler: it is in the compile log",
    }
    /// A kernel is missing.
    pub KERNEL_MISSING = Violation "kernel-missing": "a kernel of a chosen set is not in the archive" {
        "when": "judging the archive",
        "catches": "a function of `[kernels.SET]` that no member defines",
        "incident": "a set that the compiler cannot build for is left out without an error",
        "fix": "read the log of the native build",
    }
    /// A kernel uses narrower registers than its set requires.
    pub KERNEL_VECTORS = Violation "kernel-vectors": "a kernel uses narrower vector registers than its set requires" {
        "when": "judging the archive, by decoding the instructions",
        "catches": "a kernel whose name promises instructions that its code does not use",
        "incident": "a failed compiler test disabled AVX-512 in all of a library, under unchanged function names",
        "fix": "read the log of the native build: the compiler may have refused a flag in a test of the configuration",
    }
    /// A patch name is unknown or invalid.
    pub PATCH_NAME = Usage "patch-name": "no patch has this name, or a new patch cannot have it" {
        "when": "`cargo xtask vendor edit`, `diff`",
        "catches": "an unknown name or number, a new name that does not sort after the last one",
        "incident": "a patch was inserted before those that it was made on",
        "fix": "`cargo xtask vendor status` lists the names; a new one is four digits and a reason: `0042-why-it-exists`",
    }
    /// A worktree cannot be used.
    pub WORKTREE = Usage "worktree": "a worktree of `vendor edit` cannot be used" {
        "when": "`cargo xtask vendor edit`, `diff`, `refresh`",
        "catches": "an existing folder, a folder that `vendor edit` did not make, a changed base, added or removed files, no edit",
        "incident": "a diff against another base removed lines of an earlier patch",
        "fix": "follow the hint; `vendor edit --discard` makes the worktree again",
    }
}

#[cfg(test)]
mod tests;
