//! `inferd selftest`: checks the released executable on the machine where it runs.
//!
//! Each check reports what it expected and what it found. *Not measured* is a status of its own and never a pass.
//!
//! No check needs a writable folder, the network, more permissions than the server, or a model on disk.

mod allocator;
mod blas_workers;
mod cancellation;
mod check;
pub mod crash_child;
mod crash_reports;
mod drain;
mod embedded_model;
mod gemm;
mod golden;
mod in_process;
mod memory_preflight;
mod process_maps;
mod report;
mod runner;
mod server_single_flight;
mod stack_probe;
mod thread_stack;
mod thread_stacks;
pub mod worker_shortage;

pub use runner::{check_names, run};
