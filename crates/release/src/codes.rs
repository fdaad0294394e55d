//! Every kind of problem that this crate reports. docs/diagnostics.md is generated from this table.

diag::codes! {
    /// release.toml cannot be read.
    pub CONFIG_UNREADABLE = Environment "config-unreadable": "release.toml cannot be read" {
        "cause": "the file is missing, or the verb runs outside a checkout",
        "fix": "name the folder of release.toml and Cargo.toml with `--workspace DIR`, or the file with `--config FILE`",
    }
    /// release.toml is not the TOML that is expected.
    pub CONFIG_SYNTAX = Usage "config-syntax": "release.toml is not valid: syntax, an unknown or missing key, a wrong type" {
        "cause": "a slip of the pen, or a key of another version",
        "fix": "docs/configuration.md lists every key with its unit and default",
    }
    /// A value of release.toml is refused.
    pub CONFIG_VALUE = Usage "config-value": "a value of release.toml is out of range or contradicts another one" {
        "cause": "the message names the key, what is expected and what was found",
        "fix": "change the value; docs/configuration.md lists every key with its range",
    }
    /// An option of the command line contradicts release.toml or the machine.
    pub OPTION_INVALID = Usage "option-invalid": "an option of the command line cannot be used" {
        "cause": "the option names a target, library, file or folder that does not exist or has the wrong type",
        "fix": "use one of the expected values, or omit the option",
    }
    /// A variable of the environment changes what cargo builds.
    pub ENV_OVERRIDE = Usage "env-override": "an environment variable overrides settings of the build" {
        "cause": "cargo reads the variable and builds something other than release.toml describes",
        "fix": "unset the named variable",
    }
    /// A cargo configuration file of the user sets a profile.
    pub CARGO_PROFILE_OVERRIDE = Usage "cargo-profile-override": "a cargo configuration file sets a [profile]" {
        "cause": "a [profile] in a configuration file has precedence over the one in Cargo.toml",
        "fix": "move the section into the projects that need it, or set CARGO_HOME to an empty folder for one run",
    }
    /// No folder for the cache is known.
    pub CACHE_DIR_UNKNOWN = Usage "cache-dir-unknown": "no folder for the cache is known" {
        "cause": "the user has no home folder, and XDG_CACHE_HOME is not set",
        "fix": "name a folder: `--cache-dir DIR` or MUSLIN_CACHE_DIR",
    }
    /// SOURCE_DATE_EPOCH is not a number.
    pub EPOCH_INVALID = Usage "epoch-invalid": "SOURCE_DATE_EPOCH is not a number of seconds" {
        "cause": "the variable holds a date or text",
        "fix": "unset SOURCE_DATE_EPOCH, or set it to `git log -1 --format=%ct`",
    }
    /// The workspace's manifest has no version.
    pub WORKSPACE_INVALID = Environment "workspace-invalid": "Cargo.toml of the workspace has no usable version" {
        "cause": "Cargo.toml is missing, has a syntax error, or lacks `workspace.package.version`",
        "fix": "add `version` to [workspace.package] in Cargo.toml",
    }
    /// The baseline manifest cannot be used.
    pub BASELINE_INVALID = Usage "baseline-manifest": "the manifest of the previous release cannot be used" {
        "cause": "the file is missing, is not a dist-manifest.json, or belongs to another product or target",
        "fix": "name the dist-manifest.json of the previous release of the same product and target",
    }
    /// A tool is missing.
    pub TOOL_MISSING = Environment "toolchain-missing": "a tool is missing and cannot be fetched" {
        "cause": "the tool is not installed, not in the cache, and `--offline` or the machine prevents a download",
        "fix": "`cargo xtask doctor` lists every tool with its fix; `cargo xtask doctor --fetch` fills the cache",
    }
    /// A download failed or has another digest than the pinned one.
    pub FETCH_FAILED = Environment "toolchain-fetch-failed": "a tool could not be fetched" {
        "cause": "no network, a proxy, a package archive without a suitable version, or a file with another digest than the pinned one",
        "fix": "check the network, the proxy variables and the machine's package sources; nothing of a failed download is kept",
    }
    /// A fetched tool does not work.
    pub TOOL_UNUSABLE = Environment "toolchain-unusable": "a tool is present and does not work" {
        "cause": "a library that the tool needs is missing, or the cache entry belongs to another version",
        "fix": "install the named tool or library; `cargo xtask cache verify --repair` removes broken cache entries",
    }
    /// A source archive is missing.
    pub SOURCE_MISSING = Environment "source-missing": "the source archive of a native library is missing" {
        "cause": "the archive is not in the cache, and `--offline` prevents a download",
        "fix": "run `cargo xtask doctor --fetch` once with a network, or name a file: `--source NAME=FILE`",
    }
    /// A source archive could not be fetched.
    pub SOURCE_FETCH_FAILED = Environment "source-fetch-failed": "the source archive of a native library could not be fetched" {
        "cause": "every source of source.toml failed; the causes are listed",
        "fix": "check the network, or name a file: `--source NAME=FILE`",
    }
    /// A source archive has another digest.
    pub SOURCE_ARCHIVE_DIGEST = Violation "source-archive-digest": "a source archive has another digest than the pinned one" {
        "cause": "the archive was changed upstream, by a mirror or on the way",
        "fix": "compare the digest with the publisher's; after a review change source.toml",
    }
    /// release.toml and build.toml do not fit together.
    pub NATIVE_OPTION = Usage "native-option": "a choice of release.toml does not fit the library" {
        "cause": "release.toml selects a kernel, option or thread maximum that the library's build.toml does not allow",
        "fix": "use one of the expected values; docs/vendored.md describes build.toml",
    }
    /// The vendor folder cannot be read.
    pub NATIVE_VENDOR = Usage "native-vendor": "the vendor folder of a native library cannot be used" {
        "cause": "source.toml, build.toml, a patch or a guard is missing or invalid",
        "fix": "`git status` shows what changed in the folder; docs/vendored.md describes its files",
    }
    /// The configuration of a native library is not the expected one.
    pub NATIVE_CONFIGURATION = Violation "native-configuration": "a native library configured itself differently than build.toml demands" {
        "cause": "an option has no effect, or make writes the configuration while it compiles",
        "fix": "follow the hint; the log of the native build shows the configuration step",
    }
    /// A native library does not compile.
    pub NATIVE_COMPILE = Environment "native-compile": "a native library could not be compiled" {
        "cause": "the compiler or the library's make reported an error",
        "fix": "read the named log, or run the quoted command by hand",
    }
    /// The bytes of a file differ from those that were judged.
    pub ARTIFACT_CHANGED = Violation "artifact-changed": "a file changed between two stages" {
        "cause": "another program wrote to target/ or dist/, or the disk fails",
        "fix": "end other programs that write to the folder, then run the command again",
    }
    /// A rule of the gate is violated.
    pub GATE_FAILED = Violation "gate-failed": "a file violates a rule of the ELF gate" {
        "cause": "the file does not have a property that release.toml demands at this stage",
        "fix": "`cargo xtask explain RULE` explains the rule and its fix",
    }
    /// A rule of the gate cannot be judged.
    pub GATE_CANNOT_TELL = NotMeasured "gate-cannot-tell": "the ELF gate cannot judge a rule" {
        "cause": "the file or the evidence lacks what the rule reads; this is never a pass",
        "fix": "`cargo xtask explain RULE` names the evidence that the rule needs",
    }
    /// The gate cannot read a file.
    pub GATE_UNREADABLE = NotMeasured "gate-unreadable": "the ELF gate cannot read a file" {
        "cause": "the file is no ELF file, is truncated, or two readers disagree about it",
        "fix": "see the cause; the tool that wrote the file is named by the stage",
    }
    /// A mutant passes the gate.
    pub MUTANT_SURVIVED = Violation "mutant-survived": "the gate accepts a damaged copy of a shipped file" {
        "cause": "the rule that should reject the damage does not",
        "fix": "`cargo xtask explain RULE` describes the rule; the mutants are in crates/release/src/stages/mutation/",
    }
    /// A mutant cannot be made.
    pub MUTANT_VOID = Violation "mutant-void": "a damaged copy of a shipped file cannot be made" {
        "cause": "the bytes changed their structure, so the mutant proves nothing",
        "fix": "adapt the mutant in crates/release/src/stages/mutation/",
    }
    /// A demanded rule has no mutant.
    pub MUTANT_MISSING = Usage "mutant-missing": "release.toml demands a rule that no mutant tests" {
        "cause": "no damaged copy shows that the rule can fail at this stage",
        "fix": "add a mutant to crates/release/src/stages/mutation/table.rs, or do not demand the rule",
    }
    /// The packed file was run and breaks a promise.
    pub PROOF_VIOLATED = Violation "proof-violated": "the packed file was run and does not behave as release.toml promises" {
        "cause": "a change of the program, of a library, of the linker or of UPX",
        "fix": "run the quoted command by hand; change the program, or the [prove] table when the promise has changed",
    }
    /// A proof could not be made on this machine.
    pub PROOF_NOT_MEASURED = NotMeasured "proof-not-measured": "a proof could not be made, which is not a pass" {
        "cause": "the kernel or the container forbids namespaces, the program starts no thread with default attributes, or qemu-user is missing",
        "fix": "run it where namespaces are allowed, declare [prove.thread_stack], install qemu-user, or give a reason in [prove.allow_not_measured]",
    }
    /// An input of a declared proof cannot be used.
    pub PROOF_INPUT = Environment "proof-input": "an input of a proof is missing or malformed" {
        "cause": "a golden file that [prove] names is missing, or has another form than docs/configuration.md says",
        "fix": "restore the file: `git checkout FILE`",
    }
    /// The packages of the workspace are not known.
    pub WORKSPACE_UNREADABLE = Environment "workspace-unreadable": "cargo cannot describe the workspace" {
        "cause": "Cargo.toml or Cargo.lock is missing or invalid, or `product.package` is no package of the workspace",
        "fix": "run `cargo metadata --no-deps` in the folder of release.toml, and correct what it reports",
    }
    /// Builds of one library differ.
    pub NATIVE_NOT_REPRODUCIBLE = Violation "native-not-reproducible": "builds of a native library from the same inputs differ" {
        "cause": "the build reads the time, its folder, or the order in which files are compiled",
        "fix": "compare the named members with `objdump -s`; set the option of the library that removes the difference, or patch it",
    }
    /// A test failed, or there is no result of some tests.
    pub TEST_FAILED = Violation "test-failed": "a test failed, or a test program did not run to its end" {
        "cause": "a defect, a test program that did not compile or crashed, or a filter that selects no test",
        "fix": "the output above names the test; `cargo xtask test -- NAME` repeats it alone",
    }
    /// The skipped tests are not known.
    pub TEST_NOT_COUNTED = NotMeasured "test-not-counted": "the skipped tests of a suite cannot be counted" {
        "cause": "`cargo nextest list` failed, or printed something else than a list",
        "fix": "read its output above; `--runner cargo` counts without nextest",
    }
    /// release.toml has no fixture of that name.
    pub FIXTURE_UNKNOWN = Usage "fixture-unknown": "release.toml has no fixture of this name" {
        "fix": "name one of its [fixtures.NAME] tables, or add one",
    }
    /// A fixture cannot be fetched without a network.
    pub FIXTURE_OFFLINE = Environment "fixture-offline": "a fixture is not in the cache, and `--offline` forbids to fetch it" {
        "fix": "run `cargo xtask fetch-model` once with a network",
    }
    /// The crates of the product are not known.
    pub SBOM_CRATES = Environment "sbom-crates": "the crates of the product cannot be listed" {
        "cause": "`cargo tree` printed something else than expected, or Cargo.lock lacks one of its packages",
        "fix": "run the quoted `cargo tree` by hand; `cargo xtask lint --only lock-files` compares Cargo.lock with the manifests",
    }
    /// Nothing of a part is in the linked file.
    pub SBOM_NO_EVIDENCE = Violation "sbom-no-evidence": "the linked file shows no trace of a part of the bill of materials" {
        "cause": "a dependency of which nothing is called, or that has only macros, types or re-exports; docs/sbom.md defines a trace",
        "fix": "remove the dependency, or name it in `sbom.no_trace` of release.toml with the reason",
    }
    /// An exception does not fit.
    pub SBOM_EXCEPTION = Violation "sbom-exception": "an entry of `sbom.no_trace` has no effect" {
        "cause": "the product has no crate of this name any more, or the linked file has code of it",
        "fix": "remove the entry from release.toml",
    }
    /// The linked file has code of an unlisted crate.
    pub SBOM_UNLISTED = Violation "sbom-unlisted": "the linked file has code of a crate that the bill of materials lacks" {
        "cause": "the build used other crates than `cargo tree` lists, or a part of the toolchain is new",
        "fix": "find the crate with `cargo tree --target TARGET --invert NAME`; a part of the toolchain belongs into crates/release/src/bill/linked.rs",
    }
    /// The list of crates is not in a file.
    pub SBOM_SECTION = Violation "sbom-section": "a file lacks the list of its crates in `.dep-v0`" {
        "cause": "the linker or objcopy drops or changes the section",
        "fix": "`readelf --sections FILE` of the linked and of the stripped file shows which step drops it",
    }
    /// The image does not hold the proved bytes.
    pub IMAGE_MISMATCH = Violation "publish-image-mismatch": "the image holds other bytes than those that were proved" {
        "cause": "the file changed between proof and image",
        "fix": "end other programs that write to target/, then run the command again",
    }
    /// A published file differs from the proved one.
    pub PUBLISH_MISMATCH = Violation "publish-mismatch": "a file in dist/ differs from the file that was proved" {
        "cause": "another program wrote to dist/ or target/, or the disk fails",
        "fix": "end other programs that write to the folder, then run the command again",
    }
}
