//! What is measured: a program with a precision, reached in one way.

use std::fmt;

/// A runtime of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Inferd,
    OnnxRuntime,
    OpenVino,
    Torch,
}

impl Program {
    pub const PEERS: [Self; 3] = [Self::OnnxRuntime, Self::OpenVino, Self::Torch];

    /// The name in reports and on the command line of `peer.py`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inferd => "inferd",
            Self::OnnxRuntime => "onnxruntime",
            Self::OpenVino => "openvino",
            Self::Torch => "torch",
        }
    }

    /// Precisions of a peer that users take on CPUs. Those of inferd are what its `--dtype` offers.
    pub fn precisions(self) -> &'static [Precision] {
        match self {
            Self::Inferd => &[],
            // It has no bf16 on x86-64.
            Self::OnnxRuntime => &[Precision::F32, Precision::Int8],
            Self::OpenVino => &[Precision::F32, Precision::Bf16, Precision::Int8],
            Self::Torch => &[Precision::F32],
        }
    }
}

/// Element type of the products with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Bf16,
    Int8,
    /// What inferd chooses, with the accuracy of f32. A row of its own with AMX, where it is three products of bf16.
    Auto,
}

impl Precision {
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Auto => "auto",
        }
    }
}

/// How texts reach the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A call in a warm process.
    InProcess,
    /// One kept connection to a warm server.
    Http,
}

impl Route {
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Http => "http",
        }
    }
}

/// A row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchCase {
    pub program: Program,
    pub precision: Precision,
    pub route: Route,
}

impl BenchCase {
    pub fn peer(program: Program, precision: Precision) -> Self {
        Self { program, precision, route: Route::InProcess }
    }
}

impl fmt::Display for BenchCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program.name(), self.precision.name())?;
        if self.route == Route::Http { f.write_str(" over HTTP") } else { Ok(()) }
    }
}

/// The texts of one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All texts at once.
    Batch,
    /// One text per call; the median of the calls counts.
    Single,
}

impl Workload {
    pub const ALL: [Self; 2] = [Self::Batch, Self::Single];

    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Single => "single",
        }
    }
}

/// Values of the option `--dtype` in the short help text of an `inferd` command; `None` when it has no such option.
pub fn offered_precisions(help: &str) -> Option<Vec<Precision>> {
    let line = help.lines().find(|line| line.trim_start().starts_with("--dtype "))?;
    let (_, values) = line.split_once("[possible values: ")?;
    let (values, _) = values.split_once(']')?;
    let names: Vec<&str> = values.split(',').map(str::trim).collect();
    Some(Precision::ALL.into_iter().filter(|precision| names.contains(&precision.name())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_those_that_the_help_text_offers() {
        let help = "Options:\n      --threads <N>  Compute threads\n      \
                    --dtype <TYPE>  Precision [default: auto] [possible values: auto, f32, int8]\n";
        assert_eq!(offered_precisions(help), Some(vec![Precision::F32, Precision::Int8]));
        assert_eq!(offered_precisions("Options:\n      --threads <N>  Compute threads\n"), None);
        // A value whose name contains another one is not that one.
        let help = "      --dtype <TYPE>  Precision [possible values: f32, bf16x3]\n";
        assert_eq!(offered_precisions(help), Some(vec![Precision::F32]));
    }
}
