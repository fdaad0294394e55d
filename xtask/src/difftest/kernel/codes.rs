//! Codes of `difftest kernel`.

diag::codes! {
    /// The headers cannot be edited.
    pub UNSUPPORTED_PROGRAM = Usage "kernel-unsupported-program": "the headers of a program cannot be edited" {
        "cause": "it is not a 64-bit little-endian ELF program",
        "fix": "name a program of this machine",
    }
    /// The unchanged program does not behave as described.
    pub ORIGINAL_FAILS = NotMeasured "kernel-original-fails": "an unchanged program does not start in the sandbox" {
        "cause": "it needs files, a network or a newer processor, or its arguments are wrong; edits of it show nothing",
        "fix": "run the named command by hand",
    }
    /// A file of the release is missing.
    pub NO_RELEASE = Environment "kernel-no-release": "a file of the release is missing" {
        "cause": "`cargo xtask dist` has not run in this checkout",
        "fix": "cargo xtask dist",
    }
    /// Too few programs of other toolchains.
    pub TOO_FEW_PROGRAMS = NotMeasured "kernel-too-few-programs": "too few foreign programs were examined" {
        "cause": "compilers for some of them are missing",
        "fix": "install the musl target of Rust: `rustup target add x86_64-unknown-linux-musl`",
    }
    /// `--only` selects nothing.
    pub NO_PROGRAM = Usage "kernel-no-program": "no program has the name of `--only`" {
        "cause": "no name contains the given text, or the program is not part of `--quick`",
        "fix": "use a part of a name in docs/kernel.md",
    }
}
