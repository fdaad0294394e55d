//! Each operation of each set.

mod arrays;

pub(super) use arrays::is_portable_selected;

use super::*;

/// Each operation of a set, against the same operation on f32.
struct Operations;

impl Kernel for Operations {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let a: [f32; LANES] = std::array::from_fn(|i| i as f32 * 0.75 - 3.5);
        let b: [f32; LANES] = std::array::from_fn(|i| if i == 5 { f32::NAN } else { 2.25 - i as f32 });
        // SAFETY: an array of 16 floats.
        let x = unsafe { s.load(a.as_ptr()) };
        // SAFETY: an array of 16 floats.
        let y = unsafe { s.load(b.as_ptr()) };
        let same = |found: S::F32, expected: fn(f32, f32) -> f32| {
            let found = s.to_array(found).map(f32::to_bits);
            let expected: [u32; LANES] = std::array::from_fn(|i| expected(a[i], b[i]).to_bits());
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(*found == expected || (f32::from_bits(*found).is_nan() && b[i].is_nan()), "lane {i}");
            }
        };
        same(s.add(x, y), |a, b| a + b);
        same(s.sub(x, y), |a, b| a - b);
        same(s.mul(x, y), |a, b| a * b);
        same(s.div(x, y), |a, b| a / b);
        same(s.max(x, y), |a, b| if a > b { a } else { b });
        same(s.min(x, y), |a, b| if a < b { a } else { b });
        // All products are exact, so one and two roundings agree.
        same(s.mul_add(x, y, s.splat(1.0)), |a, b| a * b + 1.0);
        let n = s.splat(12_582_912.0 + 127.0 - 3.0);
        assert_eq!(s.to_array(s.power_of_two(n)), [0.125; LANES]);
        assert_eq!(s.reduce_add(x), a.iter().sum());
        assert_eq!(s.reduce_max(x), a[15]);
        // Folding in pairs: the rounding of a sum depends on its order, and the largest of a NaN and a number on theirs.
        let uneven: [f32; LANES] = std::array::from_fn(|i| 1.0 / (3.0 + i as f32) * [1.0, -1e3][i % 2]);
        // SAFETY: an array of 16 floats.
        let lanes = unsafe { s.load(uneven.as_ptr()) };
        assert_eq!(s.reduce_add(lanes), fold_in_pairs(uneven, |a, b| a + b));
        let largest = fold_in_pairs(b, |a, b| if a > b { a } else { b });
        assert_eq!(s.reduce_max(y).to_bits(), largest.to_bits());
        let mut bytes = [7; LANES + 1];
        // SAFETY: an array of 17 bytes.
        unsafe { s.store_low_bytes(bytes.as_mut_ptr(), s.add(x, s.splat(12_582_912.0))) };
        let expected: [u8; LANES] = std::array::from_fn(|i| a[i].round_ties_even() as i8 as u8);
        assert_eq!((&bytes[..LANES], bytes[LANES]), (&expected[..], 7));

        let mut rows = [x; LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = s.add(x, s.splat(100.0 * i as f32));
        }
        for (i, column) in s.transpose(rows).into_iter().enumerate() {
            let expected: [f32; LANES] = std::array::from_fn(|j| a[i] + 100.0 * j as f32);
            assert_eq!(s.to_array(column), expected, "column {i}");
        }
        for len in 0..=LANES {
            // SAFETY: arrays of 16 floats.
            let part = unsafe { s.load_partial(a.as_ptr(), len) };
            let expected: [f32; LANES] = std::array::from_fn(|i| if i < len { a[i] } else { 0.0 });
            assert_eq!(s.to_array(part), expected);
            let mut written = [9.0; LANES];
            // SAFETY: an array of 16 floats.
            unsafe { s.store_partial(written.as_mut_ptr(), x, len) };
            let expected: [f32; LANES] = std::array::from_fn(|i| if i < len { a[i] } else { 9.0 });
            assert_eq!(written, expected);
        }
        let mut written = [9.0; LANES];
        // SAFETY: an array of 16 floats.
        unsafe { s.store(written.as_mut_ptr(), x) };
        assert_eq!(written, a);
    }
}

#[test]
fn operations_equal_those_of_f32_on_every_set() {
    for isa in Isa::available() {
        dispatch(*isa, Operations);
    }
    Portable::new().call(Operations);
}
