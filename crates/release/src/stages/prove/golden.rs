//! Committed vectors, and JSON lines that are compared with them.
//!
//! `NAME.json` holds `dimension` and a list `texts` whose elements name where their vector begins in `NAME.f32`, a file of
//! little-endian floats: `{"dimension": 2, "texts": [{"vector": 0}, {"vector": 2}]}`. Other keys are ignored.

use std::path::Path;

use serde::Deserialize;

use super::PROOF_INPUT;
use super::check::ProofCheck;
use super::input::{read_input, read_json};
use crate::config::JsonLines;
use diag::Diagnostic;

/// Vectors in the order of the lines.
pub(super) struct VectorGolden {
    vectors: Vec<Vec<f32>>,
}

/// The largest absolute difference; infinite when one is not a number, which `f64::max` would drop.
pub(super) fn max_distance(found: impl Iterator<Item = f64>, expected: impl Iterator<Item = f64>) -> f64 {
    found.zip(expected).fold(0.0, |worst: f64, (found, expected)| {
        let distance = (found - expected).abs();
        if distance.is_nan() { f64::INFINITY } else { worst.max(distance) }
    })
}

impl VectorGolden {
    pub(super) fn read(json: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Index {
            dimension: usize,
            texts: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            vector: usize,
        }
        let malformed = |path: &Path, message: String| Diagnostic::new(&PROOF_INPUT, message).file(path);
        let index: Index =
            serde_json::from_value(read_json(json)?).map_err(|error| malformed(json, error.to_string()))?;
        if index.texts.is_empty() || index.dimension == 0 {
            return Err(malformed(json, "the golden file has no vectors".into()).into());
        }
        let numbers_path = json.with_extension("f32");
        let numbers: Vec<f32> = read_input(&numbers_path)?
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        let vector = |entry: &Entry| {
            let numbers = numbers.get(entry.vector..entry.vector + index.dimension);
            numbers.map(<[f32]>::to_vec).ok_or_else(|| {
                malformed(&numbers_path, format!("no {} numbers at {}", index.dimension, entry.vector)).into()
            })
        };
        Ok(Self { vectors: index.texts.iter().map(vector).collect::<anyhow::Result<_>>()? })
    }

    /// Compares each line with its vector.
    pub(super) fn judge(&self, wanted: &JsonLines, output: &str) -> ProofCheck {
        let expected = format!("max-abs below {:e} over {} vectors", wanted.max_abs, self.vectors.len());
        match self.distance(wanted, output) {
            Ok(distance) => {
                ProofCheck::new(distance < wanted.max_abs, expected, format!("max-abs {distance:.1e}"))
            }
            Err(problem) => ProofCheck::new(false, expected, problem),
        }
    }

    /// The largest difference over all lines, or what is wrong with the lines.
    fn distance(&self, wanted: &JsonLines, output: &str) -> Result<f64, String> {
        let lines: Vec<serde_json::Value> = output
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the output is not one JSON document a line: {error}"))?;
        if lines.len() != self.vectors.len() {
            return Err(format!("{} lines in place of {}", lines.len(), self.vectors.len()));
        }
        let mut worst = 0.0_f64;
        for (number, (line, vector)) in lines.iter().zip(&self.vectors).enumerate() {
            if let Some(key) = &wanted.index
                && line.get(key).and_then(serde_json::Value::as_u64) != Some(number as u64)
            {
                return Err(format!("line {number} does not have `{key}` {number}"));
            }
            let found: Vec<f64> = line
                .get(&wanted.field)
                .and_then(serde_json::Value::as_array)
                .and_then(|list| list.iter().map(serde_json::Value::as_f64).collect())
                .ok_or_else(|| format!("line {number} has no list of numbers `{}`", wanted.field))?;
            if found.len() != vector.len() {
                return Err(format!(
                    "line {number} has {} numbers in place of {}",
                    found.len(),
                    vector.len()
                ));
            }
            worst = worst.max(max_distance(found.into_iter(), vector.iter().copied().map(f64::from)));
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_must_be_as_many_in_order_and_close() {
        let golden = VectorGolden { vectors: vec![vec![0.5, 0.25], vec![0.0, 1.0]] };
        let wanted = JsonLines {
            golden: "g.json".into(),
            field: "embedding".into(),
            index: Some("index".into()),
            max_abs: 1e-5,
        };
        let distance = |output: &str| golden.distance(&wanted, output);
        let first = r#"{"index": 0, "embedding": [0.5, 0.25]}"#;
        let second = r#"{"index": 1, "embedding": [0.0, 1.0]}"#;
        assert_eq!(distance(&format!("{first}\n{second}\n")), Ok(0.0));
        let off = r#"{"index": 1, "embedding": [0.0, 0.75]}"#;
        assert_eq!(distance(&format!("{first}\n{off}")), Ok(0.25));
        let short = r#"{"index": 1, "embedding": [0.0]}"#;
        for bad in [
            first.to_string(),
            format!("{second}\n{first}"),
            format!("{first}\nnonsense"),
            String::new(),
            format!("{first}\n{short}"),
            format!("{first}\n{}", second.replace("embedding", "vector")),
        ] {
            assert!(distance(&bad).is_err(), "accepted: {bad}");
        }
        let unnumbered = JsonLines { index: None, ..wanted };
        let lines = "{\"embedding\": [0.5, 0.25]}\n{\"embedding\": [0.0, 1.0]}";
        assert_eq!(golden.distance(&unnumbered, lines), Ok(0.0));
    }

    #[test]
    fn a_difference_that_is_not_a_number_is_infinite() {
        let distance = |found: f64| max_distance([0.0, found].into_iter(), [0.0, 0.0].into_iter());
        assert_eq!((distance(0.5), distance(f64::NAN)), (0.5, f64::INFINITY));
    }

    #[test]
    fn reads_the_committed_vectors() {
        let json = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/tiny-bert.json");
        assert!(VectorGolden::read(&json).unwrap().vectors.len() > 10);
    }
}
