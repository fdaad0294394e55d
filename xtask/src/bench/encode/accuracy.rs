//! Distance of vectors from the reference in f32.

use std::fmt;

use anyhow::ensure;

use super::bench_case::Precision;

/// The worst text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    pub worst_cosine: f64,
    /// Largest absolute difference of a component.
    pub max_abs: f64,
}

impl Accuracy {
    /// Compares vectors in the order of their texts.
    pub fn of(vectors: &[Vec<f32>], reference: &[Vec<f32>]) -> anyhow::Result<Self> {
        ensure!(vectors.len() == reference.len(), "{} vectors for {} texts", vectors.len(), reference.len());
        let mut worst = Self { worst_cosine: 1.0, max_abs: 0.0 };
        for (vector, reference) in vectors.iter().zip(reference) {
            let (found, expected) = (vector.len(), reference.len());
            ensure!(found == expected, "a vector has {found} components; expected {expected}");
            // `min` and `max` would drop NaN.
            ensure!(
                vector.iter().all(|value| value.is_finite()),
                "a vector has a component that is not finite"
            );
            let differences =
                vector.iter().zip(reference).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
            worst.max_abs = differences.fold(worst.max_abs, f64::max);
            worst.worst_cosine = worst.worst_cosine.min(cosine(vector, reference));
        }
        Ok(worst)
    }

    pub fn is_within(self, bound: Self) -> bool {
        self.worst_cosine >= bound.worst_cosine && self.max_abs <= bound.max_abs
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worst cosine {:.6}, max-abs {:.1e}", self.worst_cosine, self.max_abs)
    }
}

/// What inferd promises for a precision.
pub fn bound(precision: Precision) -> Accuracy {
    match precision {
        Precision::F32 | Precision::Auto => Accuracy { worst_cosine: 0.99999, max_abs: 1e-5 },
        Precision::Bf16 => Accuracy { worst_cosine: 0.9999, max_abs: 3e-3 },
        Precision::Int8 => Accuracy { worst_cosine: 0.995, max_abs: 1.0 },
    }
}

/// Beyond this a peer computes something else, and its time is no result.
pub fn peer_bound(precision: Precision) -> Accuracy {
    match precision {
        Precision::F32 | Precision::Auto => Accuracy { worst_cosine: 0.9999, max_abs: 1e-3 },
        Precision::Bf16 => Accuracy { worst_cosine: 0.999, max_abs: 1.0 },
        Precision::Int8 => Accuracy { worst_cosine: 0.9, max_abs: 1.0 },
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // A vector of zeros has no direction: the worst result, not NaN, which `min` drops.
    if lengths > 0.0 { dot(a, b) / lengths } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_text_counts() {
        let reference = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let equal = Accuracy::of(&reference, &reference).unwrap();
        assert_eq!(equal, Accuracy { worst_cosine: 1.0, max_abs: 0.0 });
        let other = Accuracy::of(&[vec![1.0, 0.0], vec![0.6, 0.8]], &reference).unwrap();
        assert!((other.worst_cosine - 0.8).abs() < 1e-6 && (other.max_abs - 0.6).abs() < 1e-6, "{other}");
        assert!(!other.is_within(bound(Precision::Int8)));
        // Not the last one.
        assert_eq!(
            Accuracy::of(&[vec![0.6, 0.8], vec![0.0, 1.0]], &reference).unwrap().max_abs,
            f64::from(0.8_f32)
        );
        assert!(equal.is_within(bound(Precision::F32)));
    }

    #[test]
    fn a_vector_of_zeros_is_the_worst_result() {
        let accuracy = Accuracy::of(&[vec![0.0, 0.0]], &[vec![1.0, 0.0]]).unwrap();
        assert!(!accuracy.is_within(peer_bound(Precision::Int8)), "{accuracy}");
    }

    #[test]
    fn other_shapes_and_nan_are_errors() {
        let reference = vec![vec![1.0, 0.0]];
        assert!(Accuracy::of(&[], &reference).is_err());
        assert!(Accuracy::of(&[vec![1.0]], &reference).is_err());
        assert!(Accuracy::of(&[vec![f32::NAN, 0.0]], &reference).is_err());
    }
}
