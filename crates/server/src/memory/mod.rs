//! Compares the memory that the models need with the memory that the kernel allows.
//!
//! `limits` reads the limits of cgroups and of the machine, `process` the memory of this process, `preflight` compares,
//! `remedies` computes options that fit. `memory_max` is the bound at run time, `resident` the reading that it is compared
//! with, `collect` returns free memory to the kernel.
//! All files of the kernel are read through [`kernel_files::KernelFiles`], so that tests and the self-test can supply
//! the files of any machine, also in an image without a writable folder.

pub mod collect;
pub mod kernel_files;
pub mod limits;
pub mod memory_max;
pub mod mountinfo;
pub mod preflight;
pub mod process;
pub mod remedies;
pub mod resident;
