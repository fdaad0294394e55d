//! `inferd`, the inference server: the program that muslin ships.
//!
//! [`cli`] reads the command line and decides exit codes; [`serve`] is the server and [`memory`] its look at the limits before
//! it starts; [`selftest`] proves the very file that it runs in;
//! [`compute_thread`] is the one place that starts a thread which calls BLAS. No module but `cli` prints to stdout or ends
//! the process. It deliberately knows no release pipeline: what the pipeline tells it comes in through [`build_info`].

pub mod build_info;
pub mod cli;
pub mod compute_thread;
pub mod failure;
pub mod memory;
pub mod selftest;
pub mod serve;
pub mod text_lines;
pub mod units;
