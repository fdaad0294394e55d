//! A known model gives known vectors: tokenizer, forward pass and OpenBLAS together, in this file, on this CPU.
//!
//! The model is inside the binary (fixtures/models/tiny-bert: random weights, real arithmetic), so that the check needs no folder
//! and runs in an image with nothing else in it. The vectors were made by sentence-transformers (fixtures/goldens/make.py).

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use engine::Embedder;
use serde::Deserialize;

use super::Outcome;

/// A file of the fixtures folder. Aligned, because the weights are used in place as f32.
macro_rules! fixture {
    ($path:literal) => {{
        #[repr(C, align(64))]
        struct Aligned<T: ?Sized>(T);
        static FILE: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/", $path)));
        &FILE.0
    }};
}

const MODEL_NAME: &str = "tiny-bert";
static MODEL: &[(&str, &[u8])] = &[
    ("config.json", fixture!("models/tiny-bert/config.json")),
    ("modules.json", fixture!("models/tiny-bert/modules.json")),
    ("sentence_bert_config.json", fixture!("models/tiny-bert/sentence_bert_config.json")),
    ("tokenizer.json", fixture!("models/tiny-bert/tokenizer.json")),
    ("1_Pooling/config.json", fixture!("models/tiny-bert/1_Pooling/config.json")),
    ("model.safetensors", fixture!("models/tiny-bert/model.safetensors")),
];
static GOLDENS: &[u8] = fixture!("goldens/tiny-bert.json");
static GOLDEN_VECTORS: &[u8] = fixture!("goldens/tiny-bert.f32");

/// What is promised for every model.
const MAX_ABS: f32 = 1e-5;
const COSINE_MIN: f64 = 0.99999;
/// Several, so that the engine's workers are there to be measured.
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Kept open: a later check measures the stacks of the engine's threads.
static EMBEDDER: OnceLock<Embedder> = OnceLock::new();

pub fn embedding() -> Outcome {
    let expected = format!(
        "vectors of the model inside this file as the reference has them: cosine above {COSINE_MIN}, no value off by \
         {MAX_ABS} or more; the same for a text alone and in a batch"
    );
    match compare() {
        Ok(worst) => {
            let pass = worst.max_abs < MAX_ABS && worst.cosine > COSINE_MIN && worst.batch_max_abs < MAX_ABS;
            let found = format!(
                "{} texts; lowest cosine {:.7}, largest difference {:.1e}, single to batch {:.1e}",
                worst.texts, worst.cosine, worst.max_abs, worst.batch_max_abs
            );
            Outcome::judge(pass, expected, found)
        }
        Err(why) => Outcome::judge(false, expected, why),
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
    let embedder = Embedder::from_embedded(MODEL_NAME, MODEL, THREADS).map_err(|error| error.to_string())?;
    let embedder = EMBEDDER.get_or_init(|| embedder);

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

/// NaN wins and stays: `f32::max` would drop it.
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
    fn nan_and_a_wrong_length_are_never_close() {
        assert!(max_abs(&[1.0, f32::NAN, 1.0], &[1.0, 1.0, 1.0]).is_nan());
        assert!(larger(f32::NAN, 1.0).is_nan() && larger(1.0, f32::NAN).is_nan());
        assert_eq!(max_abs(&[1.0], &[1.0, 1.0]), f32::INFINITY);
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!((cosine(&[2.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_weights_can_be_used_in_place() {
        for (name, bytes) in MODEL {
            assert!(bytes.as_ptr().addr().is_multiple_of(64) && !bytes.is_empty(), "{name}");
        }
    }
}
