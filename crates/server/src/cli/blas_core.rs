//! The kernels of OpenBLAS: the choice of the user, and warnings about it.

use diag::Diagnostic;
use engine::{BlasKernels, better_blas_kernels, blas_info, select_blas_kernels};

use crate::codes;

/// Variables that other builds of OpenBLAS read, and the option that replaces each.
const IGNORED: &[(&str, &str)] = &[
    ("OPENBLAS_CORETYPE", "--blas-core"),
    ("OPENBLAS_NUM_THREADS", "--threads"),
    ("OPENBLAS_DEFAULT_NUM_THREADS", "--threads"),
    ("GOTO_NUM_THREADS", "--threads"),
    ("OMP_NUM_THREADS", "--threads"),
];

/// Uses the kernels of `--blas-core`. Call it before the first computation.
pub fn select(kernels: Option<BlasKernels>) -> Result<(), Diagnostic> {
    let Some(kernels) = kernels else { return Ok(()) };
    select_blas_kernels(kernels).map_err(|error| {
        Diagnostic::new(&codes::BLAS_CORE, format!("the kernels {kernels} of OpenBLAS cannot be used"))
            .cause(error.to_string())
            .hint(codes::fix(&codes::BLAS_CORE))
    })
}

/// A warning for each inherited variable without an effect.
#[expect(clippy::disallowed_methods, reason = "variables of other programs, reported and not used")]
pub fn ignored_variables() -> Vec<String> {
    let set = IGNORED.iter().filter(|(name, _)| std::env::var_os(name).is_some());
    set.map(|(name, option)| format!("the variable `{name}` has no effect; use `{option}`")).collect()
}

/// A warning when this CPU has faster kernels than those in use.
pub fn slow_kernels() -> Vec<String> {
    let warning = |better: BlasKernels| {
        let used = blas_info().core;
        format!(
            "the kernels {used} of OpenBLAS are slower than {better}, which this CPU supports; pass `--blas-core {better}`, \
             or no `--blas-core`"
        )
    };
    better_blas_kernels().map(warning).into_iter().collect()
}
