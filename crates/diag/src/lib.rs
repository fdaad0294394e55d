//! One type of diagnostic for all errors and warnings: a stable code, a subject, expected, found, hint.
//!
//! - [`Code`]: what went wrong, by a name that scripts and documentation can rely on. Each crate lists its codes with
//!   [`codes!`]; [`explain`] and [`markdown`] render them.
//! - [`Diagnostic`], [`Diagnostics`]: one problem, or all problems of one pass. Both are errors and travel through
//!   [`anyhow`]; [`collect`] finds them again at the edge of a program.
//! - [`unknown_code`], [`nearest`]: the error for a name that does not exist, with the one that was probably meant.
//! - [`Event`], [`Events`]: progress and warnings of libraries, for the program to show.
//! - [`render`]: text for terminals, JSON for programs. Nothing else formats a diagnostic, and nothing parses one.
//!
//! The crate prints nothing and reads no file.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod code;
mod diagnostic;
mod event;
pub mod render;
mod unknown;

pub use code::{Class, Code, Section, explain, markdown, wrap};
pub use diagnostic::{
    Diagnostic, Diagnostics, Fields, Location, Severity, Subject, collect, exit_code, has_code, hint_of,
};
pub use event::{Event, Events};
pub use unknown::{nearest, unknown_code};

codes! {
    /// An operation of the operating system failed.
    pub IO = Environment "io": "an operation of the operating system failed" {
        "cause": "a file, folder, pipe or socket could not be used; the message ends in the system's own words",
        "fix": "check that the path exists, that you may use it, and that its disk has free space",
    }
    /// A disk is full.
    pub DISK_FULL = Environment "disk-full": "a disk is full" {
        "cause": "the cache, target/, dist/ or TMPDIR lies on a disk without free space",
        "fix": "free space (`df -h` shows the disk; target/ and the cache that `cargo xtask doctor` names are the large folders), \
                or name other folders: `--cache-dir`, `--dist-dir`, TMPDIR",
    }
    /// A command that explains codes was called with a name that does not exist.
    pub UNKNOWN_CODE = Usage "unknown-code": "no diagnostic code and no rule has this name" {
        "cause": "a typing error, or the code of another program: inferd and elf-gate explain their own codes only",
        "fix": "use the proposed name; `cargo xtask explain` lists the codes of all programs and the rules of the gate",
    }
    /// An error that no code describes.
    pub UNCLASSIFIED = Environment "unclassified": "an error without a code of its own" {
        "cause": "a library or a program reported an error that is passed on as it is",
        "fix": "read the message and its causes; report it if it does not say what to do",
    }
}
