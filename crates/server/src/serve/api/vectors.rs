//! What is done to vectors after the model: shortened, compared, ranked.

use super::super::model::Shape;
use super::error::ApiError;

/// The asked-for length of vectors, or the model's own.
pub fn width(asked: Option<usize>, shape: Shape) -> Result<usize, ApiError> {
    match asked.unwrap_or(shape.dimension) {
        width if (1..=shape.dimension).contains(&width) => Ok(width),
        _ => Err(ApiError::invalid(
            "dimensions",
            format!("`dimensions` must be from 1 to {}", shape.dimension),
        )),
    }
}

/// The first `width` values, of length 1 again, as OpenAI shortens vectors. A whole vector stays as the model made it.
pub fn shorten(vector: &mut Vec<f32>, width: usize) {
    if width >= vector.len() {
        return;
    }
    vector.truncate(width);
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// Cosine of the first vector with each of the others. A vector of length 0 is like none: 0.
pub fn similarities(vectors: &[Vec<f32>]) -> Vec<f32> {
    let Some((first, others)) = vectors.split_first() else { return Vec::new() };
    others.iter().map(|other| cosine(first, other)).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // Rounding may leave the range that a cosine has.
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
}

/// The best first, each with its place; of equal ones the earlier first.
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
    fn a_shortened_vector_has_length_one_and_a_whole_one_is_left_alone() {
        let mut vector = vec![3.0, 4.0, 12.0];
        shorten(&mut vector, 3);
        assert_eq!(vector, [3.0, 4.0, 12.0]);
        shorten(&mut vector, 2);
        assert_eq!(vector, [0.6, 0.8]);
    }

    #[test]
    fn cosines_of_known_vectors() {
        let vectors = [vec![1.0, 0.0], vec![5.0, 0.0], vec![0.0, 2.0], vec![-3.0, 0.0], vec![0.0, 0.0]];
        assert_eq!(similarities(&vectors), [1.0, 0.0, -1.0, 0.0]);
        assert!(similarities(&[]).is_empty());
    }

    #[test]
    fn the_best_come_first_and_equals_in_order() {
        assert_eq!(rank(&[0.1, 0.9, 0.1], None).unwrap(), [(1, 0.9), (0, 0.1), (2, 0.1)]);
        assert_eq!(rank(&[0.1, 0.9, 0.1], Some(1)).unwrap(), [(1, 0.9)]);
        assert!(rank(&[0.1], Some(0)).is_err());
        assert_eq!(rank(&[0.1], Some(9)).unwrap().len(), 1);
    }
}
