//! The order of search results: the task itself, and rankings from changed vectors.

mod golden;
mod retrieval;

use std::num::NonZeroUsize;

use engine::{Embedder, GemmBackend, Isa, OwnKernels, Precision};
use retrieval::{Agreement, Task, agreement, compare, ranking, task};

/// Queries first, then passages.
fn vectors(task: &Task, gemm: GemmBackend) -> Vec<Vec<f32>> {
    let embedder = Embedder::open(&golden::real_model(), gemm, NonZeroUsize::new(2).unwrap());
    let embedder = embedder.unwrap_or_else(|error| panic!("{error}"));
    embedder.embed(&[&task.queries[..], &task.passages[..]].concat()).unwrap()
}

/// Each component rounded to a number of mantissa bits, as storage in a smaller type does.
fn rounded(vectors: &[Vec<f32>], bits: u32) -> Vec<Vec<f32>> {
    let unit = 1_u32 << (23 - bits);
    let round = |value: &f32| f32::from_bits((value.to_bits() + unit / 2) & !(unit - 1));
    vectors.iter().map(|vector| vector.iter().map(round).collect()).collect()
}

#[test]
fn equal_orders_agree_and_opposite_ones_do_not() {
    let order: Vec<usize> = (0..20).collect();
    let reversed: Vec<usize> = order.iter().rev().copied().collect();
    assert_eq!(agreement(&order, &order), Agreement { top_10: 1.0, kendall: 1.0 });
    assert_eq!(agreement(&order, &reversed), Agreement { top_10: 0.0, kendall: -1.0 });
    // One exchange of neighbours at the border of the first ten.
    let mut exchanged = order.clone();
    exchanged.swap(9, 10);
    assert_eq!(agreement(&order, &exchanged), Agreement { top_10: 0.9, kendall: 1.0 - 2.0 / 190.0 });
}

#[test]
fn the_texts_are_distinct_and_every_query_asks_for_another_passage() {
    let task = task();
    assert_eq!((task.queries.len(), task.passages.len()), (40, 200));
    for texts in [&task.queries, &task.passages] {
        let mut unique = texts.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), texts.len());
    }
}

/// A task that the model cannot solve would compare orders of noise.
#[test]
fn the_model_finds_the_passages() {
    let task = task();
    let vectors = vectors(&task, GemmBackend::default());
    let (queries, passages) = vectors.split_at(task.queries.len());
    let found = queries
        .iter()
        .zip(&task.wanted)
        .filter(|(query, wanted)| ranking(query, passages)[..10].contains(wanted));
    let found = found.count();
    println!("{found} of {} passages are among the first ten", queries.len());
    assert!(found * 10 >= queries.len() * 8, "{found}");
}

#[test]
fn rounding_of_vectors_lowers_the_agreement_with_its_size() {
    let task = task();
    let vectors = vectors(&task, GemmBackend::default());
    let agreements = [10, 7, 3, 1].map(|bits| compare(&task, [&vectors, &rounded(&vectors, bits)]).0);
    println!("{agreements:?}");
    assert!(agreements.windows(2).all(|pair| pair[0].kendall > pair[1].kendall), "{agreements:?}");
    assert!(agreements[0].kendall > 0.99 && agreements[0].top_10 > 0.98, "{agreements:?}");
}

/// The bounds of a precision: worst cosine and largest difference of a component to f32, and agreement of the first ten results.
#[test]
fn lower_precisions_stay_within_their_bounds_on_every_instruction_set() {
    let task = task();
    let reference = vectors(&task, GemmBackend::default());
    for isa in Isa::available() {
        for (precision, cosine_min, max_abs, top_10_min) in [
            (Precision::Bf16x3, 0.999_999, 1e-5, 0.999),
            (Precision::Bf16, 0.9999, 3e-3, 0.95),
            (Precision::Int8, 0.995, 4e-2, 0.85),
        ] {
            let found = vectors(&task, GemmBackend::Own(OwnKernels { isa: *isa, precision }));
            let pairs = || reference.iter().zip(&found);
            let cosine = pairs().map(|(a, b)| golden::cosine(a, b)).fold(1.0, f64::min);
            let distance = pairs().map(|(a, b)| golden::max_abs(a, b)).fold(0.0, f32::max);
            let agreement = compare(&task, [&reference, &found]).0;
            println!("{isa} {precision:?}: cosine {cosine:.6}, max-abs {distance:.1e}, {agreement:?}");
            assert!(cosine > cosine_min && distance < max_abs, "{isa} {precision:?}: {cosine} {distance:e}");
            assert!(agreement.top_10 >= top_10_min, "{isa} {precision:?}: {agreement:?}");
        }
    }
}
