//! Codes of this crate.

diag::codes! {
    /// A child exited with another status than 0.
    pub COMMAND_FAILED = Environment "command-failed": "a command ended with an error" {
        "cause": "a compiler, linker or other tool reported an error; its last lines are in the message",
        "fix": "run the quoted command by hand, or read the named log",
    }
    /// A child could not be started.
    pub COMMAND_NOT_STARTED = Environment "command-not-started": "a command could not be started" {
        "cause": "the program is missing or not executable",
        "fix": "install it; `cargo xtask doctor` lists what a build needs",
    }
    /// A child exceeded its time limit.
    pub COMMAND_TIMEOUT = Environment "command-timeout": "a command exceeded its time limit" {
        "cause": "the program hangs, or the machine is much slower than expected",
        "fix": "run the quoted command by hand",
    }
    /// A signal ended the run.
    pub INTERRUPTED = Interrupted "interrupted": "a signal ended the run" {
        "cause": "Ctrl-C, SIGTERM or SIGHUP",
        "fix": "run it again; no incomplete file has its final name",
    }
    /// Parallel work failed, so this work was cancelled.
    pub CANCELLED = Environment "cancelled": "work was cancelled because parallel work failed" {
        "cause": "another task of the same stage failed; its error is the cause",
        "fix": "correct the cause that the other error names",
    }
    /// The sandbox for edited programs could not be made.
    pub SANDBOX_UNAVAILABLE = NotMeasured "sandbox-unavailable": "the sandbox for edited programs could not be made" {
        "cause": "the kernel or the container forbids new namespaces, so programs with damaged headers are not run",
        "fix": "allow user namespaces (`sysctl user.max_user_namespaces`), or run outside of the container",
    }
    /// The process of a sandbox ended.
    pub SANDBOX_FAILED = Environment "sandbox-failed": "the process of a sandbox ended or sent no valid answer" {
        "cause": "it was killed, for example for lack of memory",
        "fix": "run the command again with fewer `--jobs`",
    }
}
