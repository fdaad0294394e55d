//! Compares the memory that the models need with the memory that the kernel allows.
//!
//! `limits` reads the limits of cgroups and of the machine, `process` the memory of this process, `preflight` compares. All
//! files of the kernel are read through [`kernel_files::KernelFiles`], so that tests and the self-test can supply the files of
//! any machine, also in an image without a writable folder.

pub mod kernel_files;
pub mod limits;
pub mod mountinfo;
pub mod preflight;
pub mod process;
