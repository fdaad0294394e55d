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

/// What a precision promises, relative to f32.
struct Bounds {
    /// Of each vector.
    cosine: f64,
    /// Of each component.
    max_abs: f32,
    /// Mean over the queries.
    top_10: f64,
}

impl Bounds {
    fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self { cosine: 0.999_999, max_abs: 1e-6, top_10: 0.999 },
            Precision::Bf16x3 => Self { cosine: 0.999_999, max_abs: 1e-5, top_10: 0.999 },
            Precision::Bf16 => Self { cosine: 0.9999, max_abs: 3e-3, top_10: 0.95 },
            Precision::Int8 => Self { cosine: 0.995, max_abs: 4e-2, top_10: 0.85 },
        }
    }

    /// Compares all vectors: what was found, and the bounds that it violates.
    fn judge(&self, task: &Task, reference: &[Vec<f32>], found: &[Vec<f32>]) -> (String, Vec<&'static str>) {
        let pairs = || reference.iter().zip(found);
        // `f64::min` would drop a NaN, and so would a comparison with one.
        let worse = |worst: f64, cosine: f64| if worst.is_nan() || cosine >= worst { worst } else { cosine };
        let cosine = pairs().map(|(a, b)| golden::cosine(a, b)).fold(1.0, worse);
        let larger =
            |worst: f32, distance: f32| if worst.is_nan() || distance <= worst { worst } else { distance };
        let max_abs = pairs().map(|(a, b)| golden::max_abs(a, b)).fold(0.0, larger);
        let agreement = compare(task, [reference, found]).0;
        let kept = [
            ("cosine", cosine > self.cosine),
            ("max-abs", max_abs < self.max_abs),
            ("top 10", agreement.top_10 >= self.top_10),
        ];
        let violated = kept.into_iter().filter(|(_, is_kept)| !is_kept).map(|(bound, _)| bound).collect();
        (format!("cosine {cosine:.7}, max-abs {max_abs:.1e}, {agreement:?}"), violated)
    }
}

const LOWER_PRECISIONS: [Precision; 3] = [Precision::Bf16x3, Precision::Bf16, Precision::Int8];

#[test]
fn lower_precisions_stay_within_their_bounds_on_every_instruction_set() {
    let task = task();
    // The default of a CPU with AMX is another precision.
    let f32 = OwnKernels { isa: Isa::best(), precision: Precision::F32 };
    let reference = vectors(&task, GemmBackend::Own(f32));
    for isa in Isa::available() {
        for precision in [Precision::F32].into_iter().chain(LOWER_PRECISIONS) {
            let found = vectors(&task, GemmBackend::Own(OwnKernels { isa: *isa, precision }));
            let (found, violated) = Bounds::of(precision).judge(&task, &reference, &found);
            println!("{isa} {precision:?}: {found}");
            assert!(violated.is_empty(), "{isa} {precision:?}: {violated:?} violated: {found}");
        }
    }
}

/// Unit vectors without a model, one for each text of the task. All passages are similar to each other, as those of a model are.
fn unit_vectors(task: &Task) -> Vec<Vec<f32>> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let texts = task.queries.len() + task.passages.len();
    (0..texts).map(|_| unit((0..384).map(|_| next()).collect())).collect()
}

fn unit(vector: Vec<f64>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    vector.into_iter().map(|value| (value / length) as f32).collect()
}

/// A vector with this cosine to a unit vector. The difference is spread over all components, so that each of them is small.
fn turned(vector: &[f32], cosine: f64) -> Vec<f32> {
    let signs = |i: usize| if i.count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    let along: f64 = vector.iter().enumerate().map(|(i, value)| f64::from(*value) * signs(i)).sum();
    let across = vector.iter().enumerate().map(|(i, value)| signs(i) - along * f64::from(*value));
    let across = unit(across.collect());
    let sine = (1.0 - cosine * cosine).sqrt();
    let pairs = vector.iter().zip(&across);
    pairs.map(|(a, b)| (f64::from(*a) * cosine + f64::from(*b) * sine) as f32).collect()
}

/// Each bound alone decides: vectors just outside of it violate it, and those just inside do not.
#[test]
fn vectors_just_beyond_a_bound_violate_it() {
    let task = task();
    let reference = unit_vectors(&task);
    // Of one text, the last one: the others are equal.
    let with_last = |vector: Vec<f32>| [&reference[..reference.len() - 1], &[vector]].concat();
    let last = &reference[reference.len() - 1];
    for precision in LOWER_PRECISIONS {
        let bounds = Bounds::of(precision);
        let violates = |found: &[Vec<f32>], bound| bounds.judge(&task, &reference, found).1.contains(&bound);
        let lost = 1.0 - bounds.cosine;
        assert!(violates(&with_last(turned(last, 1.0 - 1.1 * lost)), "cosine"), "{precision:?}");
        assert!(!violates(&with_last(turned(last, 1.0 - 0.9 * lost)), "cosine"), "{precision:?}");
        let moved = |distance: f32| {
            let mut vector = last.clone();
            vector[17] += distance;
            with_last(vector)
        };
        assert!(violates(&moved(1.01 * bounds.max_abs), "max-abs"), "{precision:?}");
        assert!(!violates(&moved(0.99 * bounds.max_abs), "max-abs"), "{precision:?}");
        let mut nan = reference.clone();
        nan[100][5] = f32::NAN;
        assert!(violates(&nan, "cosine") && violates(&nan, "max-abs"), "{precision:?}");
    }
}

/// The agreement of the first ten decides as well, independently of the vectors.
#[test]
fn results_that_change_places_violate_the_bound_of_the_first_ten() {
    let task = task();
    let reference = unit_vectors(&task);
    let (queries, passages) = reference.split_at(task.queries.len());
    // Of the first queries, one passage of the first ten leaves them: it points away from the query.
    let worse = |changed: usize| {
        let mut found = reference.clone();
        for (query, vector) in found[..changed].iter_mut().enumerate() {
            let first = &passages[ranking(&queries[query], passages)[0]];
            let away = vector.iter().zip(first).map(|(a, b)| f64::from(*a) - 0.5 * f64::from(*b));
            *vector = unit(away.collect());
        }
        found
    };
    for precision in LOWER_PRECISIONS {
        let bounds = Bounds::of(precision);
        let agreement = |changed| compare(&task, [&reference, &worse(changed)]).0.top_10;
        let first_outside = (1..=queries.len()).find(|changed| agreement(*changed) < bounds.top_10);
        let outside = first_outside.unwrap_or_else(|| panic!("{precision:?}: no change is large enough"));
        let violates = |changed| bounds.judge(&task, &reference, &worse(changed)).1.contains(&"top 10");
        assert!(violates(outside) && !violates(outside - 1), "{precision:?}: {outside} queries");
    }
}
