use super::*;

const WIDTHS: [usize; 12] = [1, 2, 15, 16, 17, 33, 63, 64, 65, 384, 1023, 1024];
const CANARY: f32 = 7.5;

fn wave(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * seed) % 17) as f32 * 0.25 - 1.7).collect()
}

/// Which norm, for checks that both have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    Layer,
    Rms,
}

const EPSILON: f32 = 1e-5;

/// The normalized rows, computed with canaries between the rows.
fn run(norm: Norm, isa: Isa, rows: &[f32], weight: &[f32], shift: &[f32]) -> Vec<f32> {
    let (width, stride) = (weight.len(), weight.len() + 3);
    let mut data: Vec<f32> = rows.chunks_exact(width).flat_map(|row| [row, &[CANARY; 3]].concat()).collect();
    let values = MatrixMut::new(&mut data, rows.len() / width, width, stride);
    match norm {
        Norm::Layer => layer_norm(isa, values, weight, shift, EPSILON),
        Norm::Rms => rms_norm(isa, values, weight, EPSILON),
    }
    assert!(data.chunks_exact(stride).all(|row| row[width..] == [CANARY; 3]), "{norm:?} {isa} {width}");
    data.chunks_exact(stride).flat_map(|row| &row[..width]).copied().collect()
}

/// Whether the rows equal the definition to within the rounding of sums that large.
fn is_norm(norm: Norm, found: &[f32], rows: &[f32], weight: &[f32], shift: &[f32]) -> bool {
    let width = weight.len();
    found.chunks_exact(width).zip(rows.chunks_exact(width)).all(|(found, row)| {
        let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        let mean = if norm == Norm::Layer { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        (0..width).all(|i| {
            let shift = if norm == Norm::Layer { f64::from(shift[i]) } else { 0.0 };
            let exact = (row[i] - mean) * scale * f64::from(weight[i]) + shift;
            let magnitude = (row[i].abs() + mean.abs()) * scale * f64::from(weight[i]).abs() + shift.abs();
            (f64::from(found[i]) - exact).abs() <= 1e-6 * magnitude + 1e-7
        })
    })
}

#[test]
fn rows_equal_their_definition_for_every_width_on_every_set() {
    for isa in Isa::available() {
        for width in WIDTHS {
            let (weight, shift) = (wave(width, 5), wave(width, 7));
            let rows = [wave(width, 11), wave(width, 13), vec![0.0; width]].concat();
            for norm in [Norm::Layer, Norm::Rms] {
                let found = run(norm, *isa, &rows, &weight, &shift);
                assert!(is_norm(norm, &found, &rows, &weight, &shift), "{norm:?} {isa} {width}");
            }
        }
    }
}

#[test]
fn the_check_reports_wrong_norms() {
    for width in [17, 384] {
        let (weight, shift, rows) = (wave(width, 5), wave(width, 7), wave(3 * width, 11));
        let none = vec![0.0; width];
        for norm in [Norm::Layer, Norm::Rms] {
            let reports = |found: &[f32]| !is_norm(norm, found, &rows, &weight, &shift);
            assert!(!reports(&run(norm, Isa::BASELINE, &rows, &weight, &shift)));
            // The last element is not part of the sums.
            let mut short = rows.clone();
            short.chunks_exact_mut(width).for_each(|row| row[width - 1] = row[0]);
            assert!(reports(&run(norm, Isa::BASELINE, &short, &weight, &shift)), "{norm:?} {width}");
            assert!(reports(&run(norm, Isa::BASELINE, &rows, &shift, &shift)), "{norm:?} {width}");
            let other = if norm == Norm::Layer { Norm::Rms } else { Norm::Layer };
            assert!(reports(&run(other, Isa::BASELINE, &rows, &weight, &shift)), "{norm:?} {width}");
        }
        assert!(!is_norm(
            Norm::Layer,
            &run(Norm::Layer, Isa::BASELINE, &rows, &weight, &none),
            &rows,
            &weight,
            &shift
        ));
    }
}

#[test]
fn a_nan_stays_in_its_row() {
    for isa in Isa::available() {
        for width in [16, 17, 384] {
            let (weight, shift, clean) = (wave(width, 5), wave(width, 7), wave(3 * width, 11));
            let mut dirty = clean.clone();
            dirty[2 * width - 1] = f32::NAN;
            for norm in [Norm::Layer, Norm::Rms] {
                let clean = run(norm, *isa, &clean, &weight, &shift);
                let found = run(norm, *isa, &dirty, &weight, &shift);
                assert!(found[width..2 * width].iter().all(|v| v.is_nan()), "{norm:?} {isa} {width}");
                assert_eq!(found[..width], clean[..width]);
                assert_eq!(found[2 * width..], clean[2 * width..]);
            }
        }
    }
}

#[test]
fn sets_with_fma_have_equal_bits() {
    let fma: Vec<Isa> = Isa::available().iter().copied().filter(|isa| *isa != Isa::BASELINE).collect();
    for pair in fma.windows(2) {
        for width in WIDTHS {
            let (weight, shift, rows) = (wave(width, 5), wave(width, 7), wave(2 * width, 11));
            for norm in [Norm::Layer, Norm::Rms] {
                let [a, b] = [pair[0], pair[1]].map(|isa| run(norm, isa, &rows, &weight, &shift));
                assert_eq!(a, b, "{norm:?} {pair:?} {width}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "weight and shift of (4, 3) values for 4 columns")]
fn a_shift_of_another_width_is_refused() {
    layer_norm(Isa::BASELINE, MatrixMut::new(&mut [0.0; 4], 1, 4, 4), &[0.0; 4], &[0.0; 3], 0.0);
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
