//! Child processes: started with the environment that the caller gives, logged, timed, and ended with the run.
//!
//! Every child leads a process group of its own, so that Ctrl-C, a time-out or a failure of parallel work ends the whole
//! tree under it — make and the compilers it started — before the call returns. A failure quotes the command so that it
//! can be pasted into a shell, and names its log.
//!
//! The crate prints nothing: commands are reported as events. It reads no environment but to shorten a quoted command.

mod cpu_time;
mod quote;
mod runner;
mod task;

pub use cpu_time::CpuTime;
pub use quote::quote;
pub use runner::Runner;
pub use task::{Output, Task};

diag::codes! {
    /// A child ended with another exit status than 0.
    pub COMMAND_FAILED = Environment "command-failed": "a command ended with an error" {
        "cause": "a compiler, linker or other tool refused its input; its last lines are in the message",
        "fix": "run the quoted command by hand, or read the named log",
    }
    /// A child could not be started.
    pub COMMAND_NOT_STARTED = Environment "command-not-started": "a command could not be started" {
        "cause": "the program is missing or not executable",
        "fix": "install it; `cargo xtask doctor` lists what a build needs",
    }
    /// A child did not end in time.
    pub COMMAND_TIMEOUT = Environment "command-timeout": "a command did not end within its time limit" {
        "cause": "the program hangs, or the machine is much slower than expected",
        "fix": "run the quoted command by hand",
    }
    /// A signal ended the run.
    pub INTERRUPTED = Interrupted "interrupted": "a signal ended the run" {
        "cause": "Ctrl-C, SIGTERM or SIGHUP",
        "fix": "run it again; no half-made file has its final name",
    }
    /// Parallel work failed, so this work was ended.
    pub CANCELLED = Environment "cancelled": "work was ended because parallel work failed" {
        "cause": "another task of the same stage failed; its error is the one that matters",
        "fix": "see the other error",
    }
}
