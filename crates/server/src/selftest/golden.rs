//! A known model produces known vectors: tokenizer, forward pass and products together, on this CPU. First as the server computes
//! them, then by OpenBLAS and by the own kernels of every instruction set.
//!
//! The model is `embedded_model`. The reference vectors come from sentence-transformers (fixtures/goldens/make.py).

use engine::{GemmBackend, Isa, OwnKernels};
use serde::Deserialize;

use super::check::CheckResult;
use super::embedded_model::{self, fixture};

static GOLDENS: &[u8] = fixture!("goldens/tiny-bert.json");
static GOLDEN_VECTORS: &[u8] = fixture!("goldens/tiny-bert.f32");

/// Accuracy that holds for every model.
const MAX_ABS: f32 = 1e-5;
const COSINE_MIN: f64 = 0.99999;

/// The check.
pub fn embedding() -> CheckResult {
    let expected = format!(
        "vectors of the embedded model equal the reference: cosine above {COSINE_MIN}, differences below {MAX_ABS}; \
         the same for a single text and a batch"
    );
    match compare() {
        Ok(worst) => {
            let pass = worst.max_abs < MAX_ABS && worst.cosine > COSINE_MIN && worst.batch_max_abs < MAX_ABS;
            let found = format!(
                "{} texts; lowest cosine {:.7}, largest difference {:.1e}, single to batch {:.1e}",
                worst.texts, worst.cosine, worst.max_abs, worst.batch_max_abs
            );
            CheckResult::of(pass, expected, found)
        }
        Err(found) => CheckResult::of(false, expected, found),
    }
}

/// The check of all paths.
pub fn of_every_path() -> CheckResult {
    let expected = format!(
        "OpenBLAS and the own kernels of every instruction set compute the reference vectors, and the own kernels those of \
         OpenBLAS: cosine above {COSINE_MIN}, differences below {MAX_ABS}"
    );
    let paths = Isa::available().iter().map(|isa| GemmBackend::Own(OwnKernels::automatic(*isa)));
    match compare_paths(paths, |_, _| ()) {
        Ok(worst) => {
            let sets: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
            let found = format!(
                "OpenBLAS, own {}; lowest cosine {:.7}, largest difference to the reference {:.1e}, to OpenBLAS {:.1e}{}",
                sets.join(", "),
                worst.cosine,
                worst.to_reference,
                worst.to_openblas,
                Isa::not_run().map_or(String::new(), |sets| format!("; {sets}"))
            );
            let pass =
                worst.cosine > COSINE_MIN && worst.to_reference < MAX_ABS && worst.to_openblas < MAX_ABS;
            CheckResult::of(pass, expected, found)
        }
        Err(found) => CheckResult::of(false, expected, found),
    }
}

/// The worst of all paths.
#[derive(Debug, Clone, Copy)]
struct WorstPath {
    cosine: f64,
    to_reference: f32,
    to_openblas: f32,
}

/// Compares the vectors of OpenBLAS and of each path. `change` damages the vectors of a path in tests.
fn compare_paths(
    paths: impl Iterator<Item = GemmBackend>,
    change: impl Fn(GemmBackend, &mut Vec<Vec<f32>>),
) -> Result<WorstPath, String> {
    let (texts, references) = goldens()?;
    let vectors = |gemm: GemmBackend| {
        let embedder = embedded_model::open_with(gemm)?;
        let mut vectors = embedder.embed(&texts).map_err(|error| format!("{gemm:?}: {error}"))?;
        change(gemm, &mut vectors);
        Ok::<_, String>(vectors)
    };
    let openblas = vectors(GemmBackend::OpenBlas)?;
    let mut worst = WorstPath { cosine: 1.0, to_reference: 0.0, to_openblas: 0.0 };
    for gemm in std::iter::once(GemmBackend::OpenBlas).chain(paths) {
        let vectors = if gemm == GemmBackend::OpenBlas { openblas.clone() } else { vectors(gemm)? };
        for ((vector, reference), openblas) in vectors.iter().zip(&references).zip(&openblas) {
            worst.to_reference = larger(worst.to_reference, max_abs(reference, vector));
            worst.to_openblas = larger(worst.to_openblas, max_abs(openblas, vector));
            worst.cosine = smaller(worst.cosine, cosine(reference, vector));
        }
    }
    Ok(worst)
}

#[derive(Debug, Clone, Copy)]
struct Worst {
    texts: usize,
    cosine: f64,
    max_abs: f32,
    batch_max_abs: f32,
}

#[derive(Deserialize)]
struct Goldens {
    dimension: usize,
    texts: Vec<GoldenText>,
}

#[derive(Deserialize)]
struct GoldenText {
    text: String,
    /// Index of the first float in the file of vectors.
    vector: usize,
}

/// The texts and their reference vectors.
fn goldens() -> Result<(Vec<String>, Vec<Vec<f32>>), String> {
    let Goldens { dimension, texts } =
        serde_json::from_slice(GOLDENS).map_err(|error| format!("golden texts: {error}"))?;
    let floats: Vec<f32> =
        GOLDEN_VECTORS.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let vector =
        |golden: &GoldenText| floats.get(golden.vector..golden.vector + dimension).map(<[f32]>::to_vec);
    let vectors: Option<Vec<_>> = texts.iter().map(vector).collect();
    let vectors = vectors.ok_or_else(|| "golden vectors: the file is too short".to_string())?;
    Ok((texts.into_iter().map(|golden| golden.text).collect(), vectors))
}

fn compare() -> Result<Worst, String> {
    let (texts, references) = goldens()?;
    let embedder = embedded_model::shared()?;
    let batch = embedder.embed(&texts).map_err(|error| error.to_string())?;
    let mut worst = Worst { texts: texts.len(), cosine: 1.0, max_abs: 0.0, batch_max_abs: 0.0 };
    for ((text, reference), vector) in texts.iter().zip(&references).zip(&batch) {
        let single = embedder.embed(&[text]).map_err(|error| error.to_string())?;
        worst.max_abs = larger(worst.max_abs, max_abs(reference, vector));
        worst.batch_max_abs = larger(worst.batch_max_abs, max_abs(&single[0], vector));
        worst.cosine = smaller(worst.cosine, cosine(reference, vector));
    }
    Ok(worst)
}

/// The minimum, with NaN below all values.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The maximum, with NaN above all values; `f32::max` would drop it.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// Infinite for different lengths.
fn max_abs(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn every_path_computes_the_same_vectors() {
        let result = of_every_path();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
        for isa in Isa::available() {
            assert!(result.found.contains(&isa.to_string()), "{}", result.found);
        }
    }

    /// A difference of one component of one text, of own kernels or of OpenBLAS.
    #[test]
    fn a_difference_in_one_component_is_found_in_either_path() {
        let own = GemmBackend::Own(OwnKernels::automatic(Isa::best()));
        for damaged in [own, GemmBackend::OpenBlas] {
            for value in [2e-5, f32::NAN] {
                let worst = compare_paths(std::iter::once(own), |gemm, vectors| {
                    if gemm == damaged {
                        vectors[1][3] += value;
                    }
                })
                .unwrap();
                let is_far = |found: f32| if value.is_nan() { found.is_nan() } else { found >= MAX_ABS };
                assert!(is_far(worst.to_reference) && is_far(worst.to_openblas), "{damaged:?}: {worst:?}");
            }
        }
    }

    #[test]
    fn nan_and_different_lengths_exceed_every_bound() {
        assert!(max_abs(&[1.0, f32::NAN, 1.0], &[1.0, 1.0, 1.0]).is_nan());
        assert!(larger(f32::NAN, 1.0).is_nan() && larger(1.0, f32::NAN).is_nan());
        assert!(smaller(f64::NAN, 1.0).is_nan() && smaller(1.0, f64::NAN).is_nan());
        assert_eq!(max_abs(&[1.0], &[1.0, 1.0]), f32::INFINITY);
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!((cosine(&[2.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
