//! Child processes: started with the environment of the caller, logged, timed, and ended with the run.
//!
//! Every child leads a process group of its own, so that Ctrl-C, a time limit or a failure of parallel work ends the complete
//! process tree, make and its compilers included, before the call returns. An error quotes the command for a shell and names
//! its log.
//!
//! The crate prints nothing: commands, and with [`Task::report_stdout`] what they write, are reported as events. It reads the
//! environment only to shorten a quoted command.
#![warn(missing_docs)]

mod codes;
mod cpu_time;
mod namespaces;
mod quote;
mod runner;
pub mod sandbox;
mod task;

pub use codes::{
    CANCELLED, CODES, COMMAND_FAILED, COMMAND_NOT_STARTED, COMMAND_TIMEOUT, INTERRUPTED, SANDBOX_FAILED,
    SANDBOX_UNAVAILABLE,
};
pub use cpu_time::CpuTime;
pub use namespaces::{FailedStep, Namespaces};
pub use quote::quote;
pub use runner::{Runner, end_with_parent};
pub use task::{Output, Task};
