//! Operations on the vectors of the model: truncate, compare, rank.

use super::super::model::Shape;
use super::error::ApiError;

/// The requested dimension of vectors, or that of the model.
pub fn dimension(requested: Option<usize>, shape: Shape) -> Result<usize, ApiError> {
    match requested.unwrap_or(shape.dimension) {
        dimension if (1..=shape.dimension).contains(&dimension) => Ok(dimension),
        _ => Err(ApiError::invalid(
            "dimensions",
            format!("`dimensions` must be from 1 to {}", shape.dimension),
        )),
    }
}

/// Keeps the first `dimension` values and normalizes them to length 1, as the OpenAI API does. A vector of full dimension is not
/// changed.
pub fn truncate(vector: &mut Vec<f32>, dimension: usize) {
    if dimension >= vector.len() {
        return;
    }
    vector.truncate(dimension);
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// Cosine of the first vector with each other vector; 0 for a vector of length 0.
pub fn similarities(vectors: &[Vec<f32>]) -> Vec<f32> {
    let Some((first, others)) = vectors.split_first() else { return Vec::new() };
    others.iter().map(|other| cosine(first, other)).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // Rounding can leave the range of a cosine.
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
}

/// Indices and scores in descending order of score; equal scores keep their order.
pub fn rank(scores: &[f32], top_n: Option<usize>) -> Result<Vec<(usize, f32)>, ApiError> {
    if top_n == Some(0) {
        return Err(ApiError::invalid("top_n", "`top_n` must be at least 1"));
    }
    let mut ranked: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    ranked.truncate(top_n.unwrap_or(usize::MAX));
    Ok(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_normalizes_and_a_full_vector_is_not_changed() {
        let mut vector = vec![3.0, 4.0, 12.0];
        truncate(&mut vector, 3);
        assert_eq!(vector, [3.0, 4.0, 12.0]);
        truncate(&mut vector, 2);
        assert_eq!(vector, [0.6, 0.8]);
    }

    #[test]
    fn computes_cosines_of_known_vectors() {
        let vectors = [vec![1.0, 0.0], vec![5.0, 0.0], vec![0.0, 2.0], vec![-3.0, 0.0], vec![0.0, 0.0]];
        assert_eq!(similarities(&vectors), [1.0, 0.0, -1.0, 0.0]);
        assert!(similarities(&[]).is_empty());
    }

    #[test]
    fn ranks_in_descending_order_and_keeps_the_order_of_equals() {
        assert_eq!(rank(&[0.1, 0.9, 0.1], None).unwrap(), [(1, 0.9), (0, 0.1), (2, 0.1)]);
        assert_eq!(rank(&[0.1, 0.9, 0.1], Some(1)).unwrap(), [(1, 0.9)]);
        assert!(rank(&[0.1], Some(0)).is_err());
        assert_eq!(rank(&[0.1], Some(9)).unwrap().len(), 1);
    }
}
