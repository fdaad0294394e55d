//! Options of the computation: own kernels or OpenBLAS, the instruction set, and the precision of each model.

use std::str::FromStr;

use diag::Diagnostic;
use engine::{BlasKernels, GemmBackend, Isa, OwnKernels, Precision};

use super::blas_core;
use crate::codes;
use crate::serve::{Backends, dtype_name};

/// Flags that `serve` and `embed` share.
#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// What computes products: own kernels, or OpenBLAS
    #[arg(long, value_name = "NAME", value_enum, default_value = "own")]
    gemm: Gemm,
    /// Instruction set of own kernels: baseline, avx2, avx512, avx512-vnni, avx512-bf16 or amx [default: the best of this CPU]
    #[arg(long, value_name = "NAME")]
    isa: Option<Isa>,
    /// Precision of products, of all models or of one; repeatable; auto has the accuracy of f32 [default: auto] [possible values: auto, f32, bf16, int8]
    #[arg(long, value_name = "[MODEL=]TYPE")]
    dtype: Vec<DtypeOfModel>,
    /// Kernels of OpenBLAS, with `--gemm openblas`: Prescott, Haswell, Zen, SkylakeX or SapphireRapids [default: those for this CPU]
    #[arg(long, value_name = "NAME")]
    blas_core: Option<BlasKernels>,
}

/// A value of `--gemm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Gemm {
    Own,
    Openblas,
}

/// A precision by its name in options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    Auto,
    Of(Precision),
}

/// A value of `--dtype`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DtypeOfModel {
    /// `None`: of all models without a value of their own.
    model: Option<String>,
    dtype: Dtype,
}

impl FromStr for DtypeOfModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, dtype) = match text.rsplit_once('=') {
            Some((model, dtype)) => (Some(model.to_owned()), dtype),
            None => (None, text),
        };
        let dtype = match dtype {
            "auto" => Dtype::Auto,
            "f32" => Dtype::Of(Precision::F32),
            "bf16" => Dtype::Of(Precision::Bf16),
            "int8" => Dtype::Of(Precision::Int8),
            _ => return Err("expected auto, f32, bf16 or int8, for one model `MODEL=bf16`".into()),
        };
        Ok(Self { model, dtype })
    }
}

/// What was chosen, and why.
pub struct Compute {
    pub backends: Backends,
    /// Source of the instruction set, or of the kernels of OpenBLAS.
    pub source: String,
    pub warnings: Vec<String>,
}

impl Flags {
    /// Applies the options. Call it before the first computation. `source` names the origin of an option.
    pub fn select(&self, source: impl Fn(&str) -> String) -> Result<Compute, Diagnostic> {
        let mut warnings = blas_core::ignored_variables();
        let of = |dtype: Dtype| -> Result<GemmBackend, Diagnostic> {
            match (self.gemm, dtype) {
                (Gemm::Own, Dtype::Auto) => Ok(GemmBackend::Own(OwnKernels::automatic(self.isa()))),
                (Gemm::Own, Dtype::Of(precision)) => {
                    Ok(GemmBackend::Own(OwnKernels { isa: self.isa(), precision }))
                }
                (Gemm::Openblas, Dtype::Auto | Dtype::Of(Precision::F32)) => Ok(GemmBackend::OpenBlas),
                (Gemm::Openblas, Dtype::Of(precision)) => {
                    let name = dtype_name(precision);
                    let error = Diagnostic::new(&codes::COMPUTE_OPTIONS, "OpenBLAS computes in f32 only");
                    let error = error.expected("`--dtype f32` or `--dtype auto`").found(name);
                    Err(error.hint(format!("leave `--gemm openblas` out: own kernels compute in {name}")))
                }
            }
        };
        let mut backends = Backends { default: of(Dtype::Auto)?, ..Backends::default() };
        for (index, DtypeOfModel { model, dtype }) in self.dtype.iter().enumerate() {
            if self.dtype[..index].iter().any(|earlier| earlier.model == *model) {
                let of = model.as_ref().map_or("all models".into(), |name| format!("the model `{name}`"));
                let error =
                    Diagnostic::new(&codes::COMPUTE_OPTIONS, format!("`--dtype` is repeated for {of}"));
                return Err(error.hint(
                    "pass it once for all models, and once as `--dtype MODEL=TYPE` for each exception",
                ));
            }
            match model {
                Some(model) => drop(backends.by_model.insert(model.clone(), of(*dtype)?)),
                None => backends.default = of(*dtype)?,
            }
        }
        if self.gemm == Gemm::Own && self.blas_core.is_some() {
            let message = "`--blas-core` selects kernels of OpenBLAS, which is not in use".to_owned();
            return Err(Diagnostic::new(&codes::COMPUTE_OPTIONS, message)
                .hint("add `--gemm openblas`, or select own kernels by `--isa`"));
        }
        if let (Gemm::Openblas, Some(isa)) = (self.gemm, self.isa) {
            let message = "`--isa` selects own kernels, which are not in use";
            return Err(Diagnostic::new(&codes::COMPUTE_OPTIONS, message)
                .found(format!("`--gemm openblas --isa {isa}`"))
                .hint("leave `--gemm openblas` out, or select kernels of OpenBLAS by `--blas-core`"));
        }
        blas_core::select(self.blas_core)?;
        let source = match (self.gemm, self.isa, self.blas_core) {
            (Gemm::Own, Some(_), _) => source("isa"),
            (Gemm::Openblas, _, Some(_)) => source("blas_core"),
            _ => "CPU detection".into(),
        };
        match self.gemm {
            Gemm::Own => warnings.extend(self.slower_isa()),
            Gemm::Openblas => warnings.extend(blas_core::slow_kernels()),
        }
        Ok(Compute { backends, source, warnings })
    }

    fn isa(&self) -> Isa {
        self.isa.unwrap_or_else(Isa::best)
    }

    /// A warning when this CPU has faster kernels than those in use.
    fn slower_isa(&self) -> Option<String> {
        let (used, best) = (self.isa(), Isa::best());
        (used < best).then(|| {
            format!("the kernels {used} are slower than {best}, which this CPU supports; pass no `--isa`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::Described;

    fn flags(dtype: &[&str]) -> Flags {
        let dtype = dtype.iter().map(|text| text.parse().unwrap()).collect();
        Flags { gemm: Gemm::Own, isa: Some(Isa::BASELINE), dtype, blas_core: None }
    }

    fn name(_: &str) -> String {
        "a flag".into()
    }

    #[test]
    fn a_model_has_its_own_precision_or_the_common_one() {
        let compute = flags(&["bf16", "a=int8", "b=auto"]).select(name).unwrap();
        let of = |model: &str| Described(compute.backends.of(model)).to_string();
        assert_eq!(
            [of("a"), of("b"), of("c")],
            ["own baseline int8", "own baseline f32", "own baseline bf16"]
        );
        assert_eq!(compute.source, "a flag");
        assert_eq!(
            Described(flags(&[]).select(name).unwrap().backends.of("a")).to_string(),
            "own baseline f32"
        );
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        let openblas = Flags { gemm: Gemm::Openblas, ..flags(&["int8"]) };
        let error = |flags: Flags| flags.select(name).map(|_| ()).unwrap_err().to_string();
        let errors = [
            openblas,
            Flags { gemm: Gemm::Openblas, ..flags(&[]) },
            flags(&["a=bf16", "f32", "a=int8"]),
            flags(&["bf16", "f32"]),
            Flags { blas_core: Some(BlasKernels::Haswell), ..flags(&[]) },
        ];
        insta::assert_snapshot!(errors.map(error).join("\n"), @"
        OpenBLAS computes in f32 only
          expected: `--dtype f32` or `--dtype auto`
          found:    int8
        `--isa` selects own kernels, which are not in use
          found:    `--gemm openblas --isa baseline`
        `--dtype` is repeated for the model `a`
        `--dtype` is repeated for all models
        `--blas-core` selects kernels of OpenBLAS, which is not in use
        ");
        assert!("f16".parse::<DtypeOfModel>().is_err());
    }
}
