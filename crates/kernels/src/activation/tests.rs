use super::*;

/// `e^x` of a slice, as the other functions have it through [`apply`].
struct Exp;

impl Function for Exp {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        exp(s, x)
    }
}

/// [`gelu`] with one coefficient off by a unit of its fifth digit, which the bound must report.
struct WrongGelu;

impl Function for WrongGelu {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        s.mul_add(s.mul(x, x), s.splat(1e-6), gelu(s, x))
    }
}

/// [`exp`] without the low part of ln 2.
struct WrongExp;

impl Function for WrongExp {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        exp(s, s.mul_add(x, s.splat(1e-5), x))
    }
}

fn map<F: Function>(isa: Isa, function: F, inputs: &[f32]) -> Vec<f32> {
    let mut values = inputs.to_vec();
    dispatch(isa, Map { values: &mut values, function });
    values
}

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

fn exact_gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

fn exact_gelu_tanh(x: f64) -> f64 {
    x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

fn exact_silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// From -20 to 20, and values far outside of the clamped ranges.
fn inputs() -> Vec<f32> {
    (-100_000..=100_000).map(|i| i as f32 / 5_000.0).chain([-1e30, -300.0, 300.0, 1e30, -0.0]).collect()
}

/// Whether each output is within 1.2e-6 of the exact one: absolute up to 6, relative to the input beyond, where the error is that
/// of the factor of the input.
fn is_within(function: fn(f64) -> f64, inputs: &[f32], outputs: &[f32]) -> bool {
    inputs.iter().zip(outputs).all(|(x, y)| {
        let x = f64::from(*x);
        (f64::from(*y) - function(x)).abs() <= 1.2e-6 * (x.abs() / 6.0).max(1.0)
    })
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
fn activations_are_within_their_error_bounds_on_every_set() {
    let inputs = inputs();
    for isa in Isa::available() {
        let outputs = |activation: Activation| {
            let mut outputs = inputs.clone();
            apply(*isa, activation, &mut outputs);
            outputs
        };
        assert!(is_within(exact_gelu, &inputs, &outputs(Activation::Gelu)), "{isa}");
        assert!(is_within(exact_gelu_tanh, &inputs, &outputs(Activation::GeluTanh)), "{isa}");
        assert!(is_within(exact_silu, &inputs, &outputs(Activation::Silu)), "{isa}");
    }
}

#[test]
fn the_bound_of_gelu_reports_a_wrong_gelu() {
    let inputs = inputs();
    for isa in Isa::available() {
        assert!(!is_within(exact_gelu, &inputs, &map(*isa, WrongGelu, &inputs)), "{isa}");
    }
}

/// The largest relative error on the whole range.
fn exp_error(outputs: &[f32], inputs: &[f32]) -> f64 {
    let errors = inputs.iter().zip(outputs).map(|(x, y)| {
        let exact = f64::from(*x).exp();
        (f64::from(*y) - exact).abs() / exact
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn exp_is_within_two_units_in_the_last_place_on_every_set() {
    let inputs: Vec<f32> = (-870_000..=880_000).map(|i| i as f32 / 10_000.0).collect();
    for isa in Isa::available() {
        let error = exp_error(&map(*isa, Exp, &inputs), &inputs);
        assert!(error < 2.4e-7, "{isa}: {error:e}");
        assert!(exp_error(&map(*isa, WrongExp, &inputs), &inputs) > 2.4e-7, "{isa}");
        let outside = map(*isa, Exp, &[f32::NEG_INFINITY, -1e30, 1e30, f32::INFINITY]);
        assert!(outside[..2].iter().all(|y| *y > 1e-38 && *y < 2e-38), "{isa}: {outside:?}");
        assert!(outside[2..].iter().all(|y| *y > 1.6e38 && *y < 1.7e38), "{isa}: {outside:?}");
    }
}

#[test]
fn a_nan_stays_a_nan_in_its_lane() {
    for isa in Isa::available() {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            let mut values = [1.0; LANES];
            values[3] = f32::NAN;
            apply(*isa, activation, &mut values);
            for (lane, value) in values.iter().enumerate() {
                assert_eq!(value.is_nan(), lane == 3, "{isa} {activation:?} lane {lane}");
            }
        }
        assert!(map(*isa, Exp, &[f32::NAN])[0].is_nan(), "{isa}");
    }
}

/// Every position of an element in a vector, and a tail of every length, has the result of the element alone.
#[test]
fn a_result_depends_on_its_element_only() {
    for isa in Isa::available() {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            let alone = |x: f32| {
                let mut value = [x];
                apply(*isa, activation, &mut value);
                value[0].to_bits()
            };
            for len in 0..=2 * LANES {
                let inputs: Vec<f32> = (0..len).map(|i| i as f32 * 0.37 - 4.0).collect();
                // The element after the slice is not to be written.
                let mut values = [&inputs[..], &[9.0]].concat();
                apply(*isa, activation, &mut values[..len]);
                assert_eq!(values[len], 9.0);
                for (x, y) in inputs.iter().zip(&values) {
                    assert_eq!(alone(*x), y.to_bits(), "{isa} {activation:?} {len}");
                }
            }
        }
    }
}

#[test]
fn sets_with_fma_have_equal_bits() {
    let inputs = inputs();
    let fma: Vec<Isa> = Isa::available().iter().copied().filter(|isa| *isa != Isa::BASELINE).collect();
    for pair in fma.windows(2) {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            let run = |isa: Isa| {
                let mut values = inputs.clone();
                apply(isa, activation, &mut values);
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert!(run(pair[0]) == run(pair[1]), "{activation:?}: {} and {} differ", pair[0], pair[1]);
        }
    }
}
