use super::gelu::gelu;
use super::norm::{add_bias_and_normalize, unit_length};
use super::simd::Simd;
use super::softmax::{exp, softmax_rows};
use super::transpose::transpose;

/// erf in f64 by its Taylor series near 0 and its continued fraction elsewhere: independent of the polynomial under test.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut fraction = 0.0;
        for n in (1..200).rev() {
            fraction = f64::from(n) / 2.0 / (a + fraction);
        }
        1.0 - (-a * a).exp() / std::f64::consts::PI.sqrt() / (a + fraction)
    };
    value.copysign(x)
}

#[test]
fn the_reference_erf_equals_known_values() {
    for (x, expected) in
        [(0.5, 0.520_499_877_813_046_5), (2.0, 0.995_322_265_018_952_7), (3.5, 0.999_999_256_901_627_7)]
    {
        assert!((erf(x) - expected).abs() < 1e-13, "{x}: {} {expected}", erf(x));
    }
}

#[test]
fn gelu_is_within_its_error_bound_on_every_instruction_set() {
    for simd in Simd::available() {
        let inputs: Vec<f32> =
            (-120_000..=120_000).map(|i| i as f32 / 10_000.0).chain([-1e30, 1e30, -0.0]).collect();
        let mut outputs = inputs.clone();
        gelu(simd, &mut outputs);
        let mut worst = 0f64;
        for (x, y) in inputs.iter().zip(&outputs) {
            let x = f64::from(*x);
            let exact = x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2));
            if x.abs() < 100.0 {
                worst = worst.max((f64::from(*y) - exact).abs());
            } else {
                let relative = (f64::from(*y) - exact).abs() / x.abs();
                assert!(relative < 1e-7, "{simd:?}: gelu({x}) = {y}");
            }
        }
        assert!(worst < 1.2e-6, "{simd:?}: {worst:e}");
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    for i in 0..=860_000 {
        let x = -(i as f32) / 10_000.0;
        let exact = f64::from(x).exp();
        for found in [exp::<true>(x), exp::<false>(x)] {
            let relative = (f64::from(found) - exact).abs() / exact;
            assert!(relative < 2.4e-7, "exp({x}) = {found}, exactly {exact}: {relative:e}");
        }
    }
    assert!(exp::<true>(f32::NEG_INFINITY) < 2e-38);
}

#[test]
fn softmax_equals_its_definition_also_for_large_scores() {
    for simd in Simd::available() {
        for columns in [1, 2, 15, 16, 17, 100, 256] {
            let scores: Vec<f32> = (0..3 * columns).map(|i| ((i * 37) % 101) as f32 * 3.0 - 100.0).collect();
            let mut found = scores.clone();
            softmax_rows(simd, &mut found, columns);
            for (row, scores) in found.chunks(columns).zip(scores.chunks(columns)) {
                let largest = scores.iter().copied().fold(f32::MIN, f32::max);
                let exact: Vec<f64> = scores.iter().map(|s| f64::from(s - largest).exp()).collect();
                let sum: f64 = exact.iter().sum();
                for (value, exact) in row.iter().zip(&exact) {
                    assert!((f64::from(*value) - exact / sum).abs() < 3e-7, "{simd:?} {columns}");
                }
            }
        }
    }
}

#[test]
fn layer_norm_equals_its_definition() {
    for simd in Simd::available() {
        for width in [1, 16, 32, 33, 384] {
            let wave = |seed: usize| {
                (0..width).map(move |i| ((i * seed) % 17) as f32 * 0.25 - 2.0).collect::<Vec<f32>>()
            };
            let (bias, weight, shift) = (wave(3), wave(5), wave(7));
            let rows: Vec<f32> = [wave(11), wave(13)].concat();
            let mut found = rows.clone();
            add_bias_and_normalize(simd, &mut found, &bias, &weight, &shift, 1e-12);
            for (found, row) in found.chunks(width).zip(rows.chunks(width)) {
                let row: Vec<f64> = row.iter().zip(&bias).map(|(a, b)| f64::from(a + b)).collect();
                let mean = row.iter().sum::<f64>() / width as f64;
                let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / width as f64;
                for i in 0..width {
                    let exact = (row[i] - mean) / (variance + 1e-12).sqrt() * f64::from(weight[i])
                        + f64::from(shift[i]);
                    assert!(
                        (f64::from(found[i]) - exact).abs() < 2e-6,
                        "{simd:?} {width}: {} {exact}",
                        found[i]
                    );
                }
            }
        }
    }
}

#[test]
fn unit_length_scales_to_length_one_and_keeps_a_zero_vector() {
    let mut zero = [0.0; 4];
    unit_length(&mut zero);
    assert_eq!(zero, [0.0; 4]);
    let mut three_four = [3.0, 4.0];
    unit_length(&mut three_four);
    assert_eq!(three_four, [0.6, 0.8]);
}

#[test]
fn transpose_swaps_rows_and_columns_within_the_stride() {
    for (rows, columns, stride) in [(1, 1, 1), (3, 5, 7), (16, 32, 98), (17, 33, 40)] {
        let data: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
        let mut out = vec![0.0; rows * columns];
        transpose(&data, stride, columns, &mut out);
        for row in 0..rows {
            for column in 0..columns {
                assert_eq!(out[column * rows + row], data[row * stride + column], "{rows}x{columns}");
            }
        }
    }
}
