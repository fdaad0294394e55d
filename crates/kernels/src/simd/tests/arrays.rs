//! The arrays of architectures without kernels of their own, computed here too: each function has the bits that it has with the
//! registers of the baseline. Those are compared with f64 elsewhere.

use std::cell::Cell;

use crate::activation::{self, Activation};
use crate::attention::{AttentionShape, attention, attention_scratch_floats};
use crate::convert::{RowScale, f16_to_f32, quantize_rows, round_rows, split_rows};
use crate::gemm::tests::case::values;
use crate::gemm::tests::guarded::Guarded;
use crate::gemm::{Epilogue, LinearPart, PackedF32, gemm_f32, gemm_unpacked};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::norm::{layer_norm, rms_norm};
use crate::softmax::softmax;

thread_local! {
    static IS_PORTABLE_SELECTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the baseline of this thread computes with arrays.
pub fn is_portable_selected() -> bool {
    IS_PORTABLE_SELECTED.get()
}

/// Compares the results of both. `compute` uses [`Isa::BASELINE`].
#[track_caller]
fn assert_equal<T: PartialEq>(name: &str, compute: impl Fn() -> T) {
    let registers = compute();
    IS_PORTABLE_SELECTED.set(true);
    let arrays = compute();
    IS_PORTABLE_SELECTED.set(false);
    assert!(registers == arrays, "{name}");
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The bits of `[rows, columns]` that a function writes; the memory ends at an inaccessible page.
fn written(rows: usize, columns: usize, write: impl FnOnce(MatrixMut<'_, f32>)) -> Vec<u32> {
    let mut out = Guarded::new(&values(9, rows * columns));
    write(MatrixMut::new(&mut out, rows, columns, columns));
    bits(&out)
}

#[test]
fn products_on_arrays_have_the_bits_of_the_baseline() {
    let epilogues = [Epilogue::Store, Epilogue::AddTo, Epilogue::Gelu, Epilogue::GeluTanh, Epilogue::Silu];
    for (i, rows) in [1, 2, 3, 4, 5, 8, 9, 12, 13, 25].into_iter().enumerate() {
        for columns in [1, 15, 16, 17, 33, 64] {
            let inner = [0, 1, 3, 64, 65][(i + columns) % 5];
            let (x, weight) = (Guarded::new(&values(1, rows * inner)), values(2, columns * inner));
            let bias = values(3, columns);
            let part = LinearPart {
                weight: Matrix::new(&weight, columns, inner, inner),
                bias: Some(&bias),
                scale: 1.0,
            };
            let w = PackedF32::pack(&[part]).unwrap();
            let x = Matrix::new(&x, rows, inner, inner);
            for epilogue in epilogues {
                assert_equal(&format!("{rows} x {columns} x {inner} {epilogue:?}"), || {
                    written(rows, columns, |out| {
                        gemm_f32(Isa::BASELINE, x, &w, 0..w.panels(), epilogue, out);
                    })
                });
            }
            let b = Guarded::new(&weight);
            let b = Matrix::new(&b, inner, columns, columns);
            assert_equal(&format!("{rows} x {columns} x {inner} unpacked"), || {
                written(rows, columns, |out| gemm_unpacked(Isa::BASELINE, x, b, out))
            });
        }
    }
}

#[test]
fn attention_and_softmax_on_arrays_have_the_bits_of_the_baseline() {
    for (tokens, head_size) in [(1, 1), (3, 16), (17, 32), (34, 32), (65, 20)] {
        let width = 2 * head_size;
        let shape =
            AttentionShape { heads: 2, kv_heads: 2, head_size, query: 0, key: width, value: 2 * width };
        let qkv = Guarded::new(&values(4, tokens * 3 * width));
        let qkv = Matrix::new(&qkv, tokens, 3 * width, 3 * width);
        assert_equal(&format!("{tokens} tokens of {head_size}"), || {
            let mut scratch = vec![f32::NAN; attention_scratch_floats(tokens, head_size)];
            written(tokens, width, |out| {
                attention(Isa::BASELINE, &shape, qkv, 0..2, out, &mut scratch);
            })
        });
        let columns = tokens.next_multiple_of(16);
        assert_equal(&format!("{tokens} scores"), || {
            written(3, columns, |scores| softmax(Isa::BASELINE, scores, tokens))
        });
    }
}

#[test]
fn elementwise_functions_on_arrays_have_the_bits_of_the_baseline() {
    for len in [1, 15, 16, 17, 100, 384] {
        let (weight, shift) = (values(5, len), values(6, len));
        assert_equal(&format!("layer norm of {len}"), || {
            written(3, len, |rows| layer_norm(Isa::BASELINE, rows, &weight, &shift, 1e-12))
        });
        assert_equal(&format!("RMS norm of {len}"), || {
            written(3, len, |rows| rms_norm(Isa::BASELINE, rows, &weight, 1e-6))
        });
        for function in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            assert_equal(&format!("{function:?} of {len}"), || {
                let mut wide: Vec<f32> = weight.iter().map(|value| 12.0 * value).collect();
                activation::apply(Isa::BASELINE, function, &mut wide);
                bits(&wide)
            });
        }
        let x = Matrix::new(&weight, 1, len, len);
        assert_equal(&format!("conversions of {len}"), || {
            let (mut rounded, mut split) = (vec![7u16; len + 3], vec![7u16; 2 * len + 4]);
            round_rows(Isa::BASELINE, x, MatrixMut::new(&mut rounded, 1, len + 3, len + 3));
            split_rows(Isa::BASELINE, x, MatrixMut::new(&mut split, 1, 2 * len + 4, 2 * len + 4));
            let (mut bytes, mut scales) = (vec![7u8; len + 3], [RowScale::default()]);
            quantize_rows(Isa::BASELINE, x, MatrixMut::new(&mut bytes, 1, len + 3, len + 3), &mut scales);
            let (halves, mut floats) = (vec![0x3555; len], vec![0.0; len]);
            f16_to_f32(Isa::BASELINE, &halves, &mut floats);
            (rounded, split, bytes, scales, bits(&floats))
        });
    }
}
