//! What computes the products of each model.

use std::collections::BTreeMap;
use std::fmt;

use engine::{GemmBackend, OwnKernels, Precision};

/// A backend for each model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backends {
    /// For the models that have no entry of their own.
    pub default: GemmBackend,
    /// By name.
    pub by_model: BTreeMap<String, GemmBackend>,
}

impl Backends {
    /// The backend of a model.
    pub fn of(&self, model: &str) -> GemmBackend {
        self.by_model.get(model).copied().unwrap_or(self.default)
    }
}

/// The name of a precision in options, logs and metrics.
pub fn dtype_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
        Precision::Bf16x3 => "bf16x3",
        Precision::Int8 => "int8",
    }
}

/// What computes, and in which precision: `own avx512 f32`, `openblas f32`.
pub struct Described(pub GemmBackend);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GemmBackend::Own(OwnKernels { isa, precision }) => {
                write!(f, "own {isa} {}", dtype_name(precision))
            }
            GemmBackend::OpenBlas => f.write_str("openblas f32"),
        }
    }
}
