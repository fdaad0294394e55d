//! Reads the golden files. `fixtures/goldens/make.py` documents their layout.
#![allow(dead_code, reason = "each test program uses a part of this module")]

use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    vector: usize,
}

#[derive(Deserialize)]
struct Meta {
    dimension: usize,
    max_tokens: usize,
    hidden_text: usize,
    hidden: Vec<usize>,
    texts: Vec<Text>,
}

pub struct Golden {
    pub dimension: usize,
    pub max_tokens: usize,
    pub texts: Vec<String>,
    pub ids: Vec<Vec<u32>>,
    pub hidden_text: usize,
    hidden: Vec<usize>,
    vectors: Vec<usize>,
    floats: Vec<f32>,
}

impl Golden {
    pub fn read(name: &str) -> Golden {
        let base = fixtures().join("goldens").join(name);
        let meta: Meta =
            serde_json::from_slice(&std::fs::read(base.with_extension("json")).unwrap()).unwrap();
        let bytes = std::fs::read(base.with_extension("f32")).unwrap();
        let floats = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let Meta { dimension, max_tokens, hidden_text, hidden, texts } = meta;
        Golden {
            dimension,
            max_tokens,
            hidden_text,
            hidden,
            vectors: texts.iter().map(|t| t.vector).collect(),
            ids: texts.iter().map(|t| t.ids.clone()).collect(),
            texts: texts.into_iter().map(|t| t.text).collect(),
            floats,
        }
    }

    pub fn vector(&self, i: usize) -> &[f32] {
        &self.floats[self.vectors[i]..][..self.dimension]
    }

    /// Hidden states of the text `hidden_text`: after the embeddings, then after each layer.
    pub fn hidden_states(&self) -> impl Iterator<Item = &[f32]> {
        let len = self.ids[self.hidden_text].len() * self.dimension;
        self.hidden.iter().map(move |offset| &self.floats[*offset..][..len])
    }
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// A missing model is a failure: a golden test that passes without its input proves nothing.
#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
pub fn real_model() -> PathBuf {
    match std::env::var_os("MUSLIN_MODEL_DIR") {
        Some(dir) => dir.into(),
        None => panic!("MUSLIN_MODEL_DIR is not set: run the tests with `cargo xtask test`"),
    }
}

pub fn max_abs(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // `f32::max` would drop a NaN, and so would a comparison with one.
    let larger = |worst: f32, d: f32| if worst.is_nan() || d <= worst { worst } else { d };
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
