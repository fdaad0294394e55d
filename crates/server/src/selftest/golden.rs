//! A known model produces known vectors: tokenizer, forward pass and OpenBLAS together, on this CPU.
//!
//! The model is `embedded_model`. The reference vectors come from sentence-transformers (fixtures/goldens/make.py).

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

fn compare() -> Result<Worst, String> {
    let goldens: Goldens =
        serde_json::from_slice(GOLDENS).map_err(|error| format!("golden texts: {error}"))?;
    let floats: Vec<f32> =
        GOLDEN_VECTORS.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let embedder = embedded_model::shared()?;

    let texts: Vec<_> = goldens.texts.iter().map(|golden| golden.text.as_str()).collect();
    let batch = embedder.embed(&texts).map_err(|error| error.to_string())?;
    let mut worst = Worst { texts: texts.len(), cosine: 1.0, max_abs: 0.0, batch_max_abs: 0.0 };
    for (golden, vector) in goldens.texts.iter().zip(&batch) {
        let reference = floats
            .get(golden.vector..golden.vector + goldens.dimension)
            .ok_or_else(|| "golden vectors: the file is too short".to_string())?;
        let single = embedder.embed(&[&golden.text]).map_err(|error| error.to_string())?;
        worst.max_abs = larger(worst.max_abs, max_abs(reference, vector));
        worst.batch_max_abs = larger(worst.batch_max_abs, max_abs(&single[0], vector));
        let cosine = cosine(reference, vector);
        if cosine.is_nan() || cosine < worst.cosine {
            worst.cosine = cosine;
        }
    }
    Ok(worst)
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
    use super::*;

    #[test]
    fn nan_and_different_lengths_exceed_every_bound() {
        assert!(max_abs(&[1.0, f32::NAN, 1.0], &[1.0, 1.0, 1.0]).is_nan());
        assert!(larger(f32::NAN, 1.0).is_nan() && larger(1.0, f32::NAN).is_nan());
        assert_eq!(max_abs(&[1.0], &[1.0, 1.0]), f32::INFINITY);
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!((cosine(&[2.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
