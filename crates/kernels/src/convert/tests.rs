//! Each conversion against arithmetic in f64, on every instruction set.

use super::*;
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};

/// All values that end an interval of rounding, and others from the whole range.
fn edge_values() -> Vec<f32> {
    let mut values = vec![0.0, 1.0, f32::MIN_POSITIVE, f32::from_bits(1), 3e-41, f32::MAX, f32::INFINITY];
    // Ties and their neighbours, above an even and an odd bf16, at several exponents.
    for upper in [0x0000u32, 0x0001, 0x007f, 0x0080, 0x3f80, 0x3f81, 0x4a7f, 0x7f7e, 0x7f7f] {
        values.extend([0x7fff, 0x8000, 0x8001].map(|lower| f32::from_bits(upper << 16 | lower)));
    }
    values.extend((0..2000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) & 0x7fff_ffff)));
    values.retain(|value| !value.is_nan());
    values.extend(values.clone().iter().map(|value| -value));
    values
}

/// The nearest of the bf16 values around `value`, ties to even: no arithmetic on bits.
fn nearest_bf16(value: f32) -> u16 {
    let below = (value.to_bits() >> 16) as u16;
    let exact = |bf16: u16| match bf16 & 0x7fff {
        // The value after the largest one, where a larger exponent would put it.
        0x7f80 => 2f64.powi(128),
        _ => f64::from(f32::from_bits(u32::from(bf16) << 16)).abs(),
    };
    if value.is_infinite() {
        return below;
    }
    let (low, high, value) = (exact(below), exact(below + 1), f64::from(value).abs());
    match (value - low).total_cmp(&(high - value)) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => below + 1,
        std::cmp::Ordering::Equal => below + below % 2,
    }
}

#[test]
fn f32_becomes_the_nearest_bf16() {
    let values = edge_values();
    let expected: Vec<u16> = values.iter().map(|value| nearest_bf16(*value)).collect();
    for isa in Isa::available() {
        let mut found = vec![9; values.len()];
        bf16_from_f32(*isa, &values, &mut found);
        for (i, value) in values.iter().enumerate() {
            assert_eq!(found[i], expected[i], "{isa}: {value:e}");
        }
    }
}

#[test]
fn every_bf16_is_its_own_nearest() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for isa in Isa::available() {
        let (mut wide, mut back) = (vec![0.0; all.len()], vec![0; all.len()]);
        bf16_to_f32(*isa, &all, &mut wide);
        bf16_from_f32(*isa, &wide, &mut back);
        for (from, to) in all.iter().zip(&back) {
            // A signalling NaN becomes a quiet one.
            let quiet = if from & 0x7fff > 0x7f80 { 0x0040 } else { 0 };
            assert_eq!(*to, from | quiet, "{isa}: {from:#06x}");
        }
    }
}

#[test]
fn nan_stays_nan_with_its_sign() {
    let payloads = [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff, 0x7fc0_0000];
    let values = payloads.map(f32::from_bits);
    for isa in Isa::available() {
        let mut found = [0; 5];
        bf16_from_f32(*isa, &values, &mut found);
        for (value, found) in payloads.iter().zip(found) {
            assert!(found & 0x7fff > 0x7f80, "{isa}: {value:#x} became {found:#x}");
            assert_eq!(found >> 15, (value >> 31) as u16, "{isa}: {value:#x}");
        }
    }
}

#[test]
fn two_bf16_have_16_bits() {
    let values: Vec<f32> = edge_values().into_iter().filter(|v| v.abs() > 1e-30 && v.abs() < 3e38).collect();
    let x = Matrix::new(&values, 1, values.len(), values.len());
    let half = values.len().next_multiple_of(32);
    for isa in Isa::available() {
        let mut split = vec![9; 2 * half];
        split_rows(*isa, x, MatrixMut::new(&mut split, 1, 2 * half, 2 * half));
        for (i, value) in values.iter().enumerate() {
            let [high, low] = [split[i], split[half + i]].map(|bf16| f64::from(bf16::widen(bf16)));
            let (value, error) = (f64::from(*value), 2f64.powi(-16) * f64::from(value.abs()));
            assert!((high + low - value).abs() <= error, "{isa}: {value:e} is {high:e} + {low:e}");
        }
        assert!(split[values.len()..half].iter().all(|padding| *padding == 0), "{isa}");
        assert!(split[half + values.len()..].iter().all(|padding| *padding == 0), "{isa}");
    }
    assert_eq!(split(f32::INFINITY), [0x7f80, 0]);
    assert_eq!(split(f32::MAX), [0x7f80, 0]);
    assert_eq!(split(f32::NAN)[1], 0);
}

/// The value of an f16 by its definition.
fn f16_value(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[test]
fn every_f16_is_widened_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for isa in Isa::available() {
        let mut wide = vec![0.0; all.len()];
        f16_to_f32(*isa, &all, &mut wide);
        for (bits, found) in all.iter().zip(&wide) {
            let expected = f16_value(*bits);
            assert_eq!(found.is_nan(), expected.is_nan(), "{isa}: {bits:#06x}");
            assert!(found.is_nan() || f64::from(*found) == expected, "{isa}: {bits:#06x} became {found:e}");
            assert_eq!(found.is_sign_negative(), bits >> 15 == 1, "{isa}: {bits:#06x}");
        }
    }
}

/// Quantizes one row to a row of `padded` bytes.
fn quantize(isa: Isa, row: &[f32], padded: usize) -> (Vec<u8>, RowScale) {
    let (mut bytes, mut scale) = (vec![99; padded], [RowScale { scale: 5.0, zero_point: 5 }]);
    let x = Matrix::new(row, 1, row.len(), row.len());
    quantize_rows(isa, x, MatrixMut::new(&mut bytes, 1, padded, padded), &mut scale);
    (bytes, scale[0])
}

/// Rows with the sign and the size of activations at several places of a model, and extreme ones.
fn rows_to_quantize() -> Vec<Vec<f32>> {
    let wave = |len: usize, low: f32, high: f32| -> Vec<f32> {
        (0..len).map(|i| low + (high - low) * ((i * 37 % 101) as f32 / 100.0)).collect()
    };
    vec![
        wave(384, -2.5, 3.5),
        wave(1536, -0.17, 9.0),
        wave(33, 1.0, 2.0),
        wave(17, -8.0, -3.0),
        wave(15, -1e-30, 2e-30),
        vec![-3.4e38, 3.4e38, 0.0, 1e38],
        vec![-1.0],
        vec![],
    ]
}

#[test]
fn bytes_are_within_a_step_of_their_values() {
    for row in rows_to_quantize() {
        for isa in Isa::available() {
            let (bytes, scale) = quantize(*isa, &row, row.len() + 3);
            assert!((0..=255).contains(&scale.zero_point));
            for (value, byte) in row.iter().zip(&bytes) {
                let found = f64::from(i32::from(*byte) - scale.zero_point) * f64::from(scale.scale);
                let error = (found - f64::from(*value)).abs() / f64::from(scale.scale);
                assert!(error <= 0.51, "{isa}: {value} became {found}, {error} steps of {}", scale.scale);
            }
            assert_eq!(bytes[row.len()..], [0; 3], "{isa}");
            assert_eq!((bytes, scale), quantize(Isa::BASELINE, &row, row.len() + 3), "{isa}");
        }
    }
}

#[test]
fn zeros_stay_zero_and_use_of_the_range_is_full() {
    for isa in Isa::available() {
        assert_eq!(quantize(*isa, &[0.0, -0.0, 0.0], 3).1.scale, 0.0, "{isa}");
        assert_eq!(
            quantize(*isa, &[f32::from_bits(1), 0.0], 2).1.scale,
            0.0,
            "{isa}: below the smallest step"
        );
        let (bytes, scale) = quantize(*isa, &[-1.0, 0.0, 4.0], 3);
        assert_eq!(bytes, [0, 51, 255], "{isa}");
        assert_eq!(scale, RowScale { scale: 4.0 / 255.0 + 1.0 / 255.0, zero_point: 51 }, "{isa}");
    }
}

#[test]
fn a_value_that_is_not_finite_makes_the_scale_nan() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 15, 16, 39] {
            let mut row = [1.0; 40];
            row[place] = value;
            for isa in Isa::available() {
                assert!(quantize(*isa, &row, 40).1.scale.is_nan(), "{isa}: {value} at {place}");
            }
        }
    }
}

/// The weights of a column on a set, with a canary after them.
fn quantize_column(isa: Isa, weights: &[f32], factor: f32) -> (Vec<i8>, ColumnScale) {
    let mut bytes = vec![77; weights.len() + 1];
    let scale = quantize_weights(isa, weights, factor, &mut bytes[..weights.len()]);
    assert_eq!(bytes.pop(), Some(77), "{isa}");
    (bytes, scale)
}

#[test]
fn weights_are_rounded_to_steps_of_the_largest() {
    let of_lengths = [0, 1, 15, 16, 17, 384].map(|len| {
        (0..len).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).map(|w| w * 1.37).collect::<Vec<f32>>()
    });
    for weights in of_lengths.into_iter().chain([vec![f32::from_bits(3), -0.0], vec![-3e38, 1e-30, 3e37]]) {
        for factor in [1.0, 0.3] {
            let scaled: Vec<f32> = weights.iter().map(|weight| weight * factor).collect();
            let scale = scaled.iter().fold(0.0, |largest, weight| f32::max(largest, weight.abs())) / 127.0;
            // A column whose steps would be smaller than the smallest number becomes zero.
            let divisor = if scale == 0.0 { f32::INFINITY } else { scale };
            let step = |weight: &f32| (weight / divisor).round_ties_even().clamp(-127.0, 127.0) as i8;
            let bytes: Vec<i8> = scaled.iter().map(step).collect();
            let sum = bytes.iter().map(|byte| i32::from(*byte)).sum();
            for isa in Isa::available() {
                let found = quantize_column(*isa, &weights, factor);
                assert_eq!(found, (bytes.clone(), ColumnScale { scale, sum }), "{isa}, factor {factor}");
            }
        }
    }
    for isa in Isa::available() {
        let (bytes, scale) = quantize_column(*isa, &[-3.0, 1.0, 3.0, -254.0], 1.0);
        assert_eq!((bytes, scale), (vec![-2, 0, 2, -127], ColumnScale { scale: 2.0, sum: -127 }), "{isa}");
    }
}

#[test]
fn a_weight_that_is_not_finite_makes_the_scale_nan() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 15, 16, 39] {
            let mut weights = [1.0; 40];
            weights[place] = value;
            for isa in Isa::available() {
                let (bytes, scale) = quantize_column(*isa, &weights, 1.0);
                assert!(scale.scale.is_nan() && bytes == [0; 40], "{isa}: {value} at {place}");
            }
        }
    }
}
