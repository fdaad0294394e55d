use super::*;

const CANARY: f32 = 7.5;
/// Half a unit in the last place of 1.
const U: f64 = 5.960_464_477_539_063e-8;

/// Query, key and value of all heads with unused columns before, between and after them, as a layer can have.
struct Case {
    shape: AttentionShape,
    tokens: usize,
    stride: usize,
    qkv: Vec<f32>,
}

fn case(tokens: usize, heads: usize, kv_heads: usize, head_size: usize) -> Case {
    let (query, kv) = (kv_heads * head_size + 2, kv_heads * head_size);
    let value = query + heads * head_size + 3;
    let shape = AttentionShape { heads, kv_heads, head_size, query, key: 1, value };
    let stride = value + kv + 1;
    let qkv = (0..tokens * stride).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
    Case { shape, tokens, stride, qkv }
}

/// The output of some heads, computed with canaries between its rows and after the scratch memory.
fn run(isa: Isa, case: &Case, heads: Range<usize>) -> Vec<f32> {
    let Case { shape, tokens, stride, qkv } = case;
    let width = heads.len() * shape.head_size;
    let mut out = vec![CANARY; tokens * (width + 3)];
    let floats = attention_scratch_floats(*tokens, shape.head_size);
    let mut scratch = vec![f32::NAN; floats + 16];
    scratch[floats..].fill(CANARY);
    let qkv = Matrix::new(qkv, *tokens, *stride, *stride);
    let view = MatrixMut::new(&mut out, *tokens, width, width + 3);
    attention(isa, shape, qkv, heads, view, &mut scratch[..floats]);
    assert!(scratch[floats..].iter().all(|v| *v == CANARY));
    assert!(out.chunks_exact(width + 3).all(|row| row[width..] == [CANARY; 3]));
    out.chunks_exact(width + 3).flat_map(|row| &row[..width]).copied().collect()
}

/// Whether the output of all heads equals attention in f64 to within the bound of its roundings: of the scores, whose error is
/// relative for their exponentials, of exp, and of the sums.
fn is_attention(case: &Case, found: &[f32]) -> bool {
    let Case { shape, tokens, stride, qkv } = case;
    let AttentionShape { heads, kv_heads, head_size, query, key, value } = *shape;
    let at = |row: usize, column: usize| f64::from(qkv[row * stride + column]);
    (0..heads).all(|head| {
        let kv = head / (heads / kv_heads) * head_size;
        (0..*tokens).all(|row| {
            let products = |token: usize| {
                (0..head_size).map(move |i| at(row, query + head * head_size + i) * at(token, key + kv + i))
            };
            let scores: Vec<f64> = (0..*tokens).map(|token| products(token).sum()).collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let errors = (0..*tokens).map(|token| {
                let magnitude = products(token).map(f64::abs).sum::<f64>();
                2.0 * head_size as f64 * U * magnitude + U * (largest - scores[token]) + 5.0 * U
            });
            let error = errors.fold(0.0, f64::max);
            let exponentials: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            (0..head_size).all(|i| {
                let terms =
                    exponentials.iter().enumerate().map(|(token, e)| e / sum * at(token, value + kv + i));
                let (exact, magnitude) =
                    terms.fold((0.0, 0.0), |(sum, abs), term| (sum + term, abs + term.abs()));
                let bound = magnitude * (2.0 * error + (2 * tokens + 4) as f64 * U) + 1e-30;
                let found = f64::from(found[row * heads * head_size + head * head_size + i]);
                (found - exact).abs() <= bound
            })
        })
    })
}

fn cases() -> impl Iterator<Item = Case> {
    let tokens = (1..=14).chain([15, 16, 17, 23, 24, 25, 31, 32, 33, 34, 50, 100]);
    let small = tokens.map(|tokens| case(tokens, 2, 2, 32));
    let sizes = [1, 8, 15, 16, 17, 31, 33, 48, 64, 80, 128];
    let sizes = sizes.into_iter().flat_map(|size| [5, 18].map(|tokens| case(tokens, 2, 2, size)));
    let shared = [(4, 2, 32), (6, 1, 16), (8, 2, 64)];
    small
        .chain(sizes)
        .chain(shared.map(|(heads, kv, size)| case(19, heads, kv, size)))
        .chain([case(600, 1, 1, 32)])
}

#[test]
fn output_is_within_the_bound_for_every_shape_on_every_set() {
    for isa in Isa::available() {
        for case in cases() {
            let found = run(*isa, &case, 0..case.shape.heads);
            assert!(is_attention(&case, &found), "{isa}, {} tokens, {:?}", case.tokens, case.shape);
        }
    }
}

#[test]
fn scores_in_the_hundreds_do_not_overflow() {
    for isa in Isa::available() {
        for tokens in [2, 33] {
            let mut case = case(tokens, 2, 2, 32);
            case.qkv.iter_mut().for_each(|v| *v *= 16.0);
            assert!(is_attention(&case, &run(*isa, &case, 0..2)), "{isa}, {tokens} tokens");
        }
    }
}

/// Each variant is the right kernel on wrong operands.
#[test]
fn the_check_reports_wrong_attention() {
    for isa in Isa::available() {
        let right = case(34, 4, 2, 32);
        let wrong = |change: &dyn Fn(&mut Case)| {
            let mut case = case(34, 4, 2, 32);
            change(&mut case);
            !is_attention(&right, &run(*isa, &case, 0..4))
        };
        assert!(!wrong(&|_| {}), "{isa}");
        assert!(wrong(&|case| case.shape.key += 1), "{isa}: keys of other columns");
        assert!(wrong(&|case| std::mem::swap(&mut case.shape.key, &mut case.shape.value)), "{isa}: swapped");
        assert!(wrong(&|case| case.shape.kv_heads = 1), "{isa}: all heads with the first keys");
        let last = 33 * right.stride;
        let last_value = last + right.shape.value + 31;
        assert!(wrong(&|case| case.qkv[last_value] = 0.0), "{isa}: the last value of the last token skipped");
        let last_key = last + right.shape.key;
        assert!(wrong(&|case| case.qkv[last_key..][..32].fill(0.0)), "{isa}: the last key skipped");
        let queries = right.shape.query..right.shape.query + 128;
        let scale = |case: &mut Case| case.qkv[queries.clone()].iter_mut().for_each(|v| *v *= 0.999);
        assert!(wrong(&scale), "{isa}: another scale in the first row");
        let mut found = run(*isa, &right, 0..4);
        let len = found.len();
        found[len - 128..].fill(0.0);
        assert!(!is_attention(&right, &found), "{isa}: the last row skipped");
    }
}

#[test]
fn a_head_has_the_same_bits_alone_and_beside_others() {
    for isa in Isa::available() {
        for (kv_heads, head_size) in [(6, 32), (2, 64), (3, 17)] {
            let case = case(37, 6, kv_heads, head_size);
            let all = run(*isa, &case, 0..6);
            for heads in [0..1, 1..3, 2..6, 5..6, 4..4] {
                let columns = heads.start * head_size..heads.end * head_size;
                let expected: Vec<f32> =
                    all.chunks_exact(6 * head_size).flat_map(|row| &row[columns.clone()]).copied().collect();
                assert_eq!(run(*isa, &case, heads.clone()), expected, "{isa} {heads:?} of {head_size}");
            }
        }
    }
}

/// Tokens with equal queries have equal outputs, in every block of rows.
#[test]
fn a_row_has_the_same_bits_in_every_block() {
    for isa in Isa::available() {
        for tokens in [1, 3, 5, 11, 12, 13, 17, 35, 50] {
            let mut case = case(tokens, 2, 2, 32);
            for row in 1..tokens {
                let (query, stride) = (case.shape.query, case.stride);
                case.qkv.copy_within(query..query + 64, row * stride + query);
            }
            let found = run(*isa, &case, 0..2);
            assert!(found.chunks_exact(64).all(|row| row == &found[..64]), "{isa}, {tokens} tokens");
        }
    }
}

#[test]
fn a_nan_in_a_query_stays_in_its_row() {
    for isa in Isa::available() {
        let clean = case(30, 2, 2, 32);
        let mut dirty = case(30, 2, 2, 32);
        let at = 17 * dirty.stride + dirty.shape.query;
        dirty.qkv[at] = f32::NAN;
        let (clean, found) = (run(*isa, &clean, 0..2), run(*isa, &dirty, 0..2));
        for (row, (clean, found)) in clean.chunks_exact(64).zip(found.chunks_exact(64)).enumerate() {
            let (first, second) = found.split_at(32);
            assert_eq!(second, &clean[32..], "{isa} row {row}");
            assert!(
                if row == 17 { first.iter().all(|v| v.is_nan()) } else { first == &clean[..32] },
                "{isa} row {row}"
            );
        }
    }
}

#[test]
fn sets_with_fma_have_equal_bits() {
    let fma: Vec<Isa> = Isa::available().iter().copied().filter(|isa| *isa != Isa::BASELINE).collect();
    for pair in fma.windows(2) {
        for case in cases() {
            let [a, b] = [pair[0], pair[1]].map(|isa| run(isa, &case, 0..case.shape.heads));
            assert!(a == b, "{pair:?}, {} tokens, {:?}", case.tokens, case.shape);
        }
    }
}

#[test]
fn scratch_memory_grows_with_the_tokens_not_with_their_square() {
    assert_eq!(attention_scratch_floats(8192, 32), 8192 * (32 + 32 + 32) + 32 * 32);
    assert_eq!(attention_scratch_floats(1, 17), 32 + 32 + 32 + 32 * 17);
}

#[test]
#[should_panic(expected = "floats of scratch memory for")]
fn scratch_memory_that_is_too_short_is_refused() {
    let Case { shape, tokens, stride, qkv } = case(20, 2, 2, 32);
    let mut out = vec![0.0; tokens * 64];
    let qkv = Matrix::new(&qkv, tokens, stride, stride);
    let mut scratch = vec![0.0; attention_scratch_floats(tokens, 32) - 1];
    attention(Isa::BASELINE, &shape, qkv, 0..2, MatrixMut::new(&mut out, tokens, 64, 64), &mut scratch);
}
