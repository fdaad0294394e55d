//! Arrays, which the compiler maps to the registers of the architecture.

use super::{Integers, Kernel, LANES, Simd};

/// The baseline of an architecture without kernels of its own.
#[derive(Clone, Copy)]
pub(crate) struct Portable(());

impl Portable {
    /// Every CPU of the architecture has the instructions.
    #[inline(always)]
    pub fn new() -> Self {
        Portable(())
    }
}

/// Whether the architecture has a fused multiply-add. Without one, `f32::mul_add` is a call into libm for each lane.
const FMA: bool = cfg!(target_arch = "aarch64");

impl Simd for Portable {
    type F32 = [f32; LANES];
    const TILE_VECTORS: usize = 4;

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: as the caller promises.
        unsafe { from.cast::<[f32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, len: usize) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        debug_assert!(len <= LANES);
        // SAFETY: as the caller promises; the array has 16 floats.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len) };
        lanes
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32) {
        // SAFETY: as the caller promises.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(value) };
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, value: Self::F32, len: usize) {
        debug_assert!(len <= LANES);
        // SAFETY: as the caller promises; the array has 16 floats.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, len) };
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| if FMA { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn power_of_two(self, rounded: Self::F32) -> Self::F32 {
        rounded.map(|r| f32::from_bits(r.to_bits() << 23))
    }

    #[inline(always)]
    fn to_array(self, value: Self::F32) -> [f32; LANES] {
        value
    }
}

/// A number of 16 bits from each of two adjacent bytes of a lane.
fn halves(lane: i32, low: fn(i32) -> i32) -> i32 {
    low(lane) & 0xffff | low(lane >> 16) << 16
}

impl Integers for Portable {
    type I32 = [i32; LANES];

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Self::I32 {
        // SAFETY: as the caller promises.
        unsafe { from.cast::<[i32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::I32 {
        [value; LANES]
    }

    #[inline(always)]
    fn to_bits(self, value: Self::F32) -> Self::I32 {
        value.map(|v| v.to_bits() as i32)
    }

    #[inline(always)]
    fn from_bits(self, bits: Self::I32) -> Self::F32 {
        bits.map(|b| f32::from_bits(b as u32))
    }

    #[inline(always)]
    fn to_f32(self, value: Self::I32) -> Self::F32 {
        value.map(|v| v as f32)
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        std::array::from_fn(|i| a[i].wrapping_mul(b[i]))
    }

    #[inline(always)]
    fn bf16_pairs(self, lanes: Self::I32) -> [Self::F32; 2] {
        [self.from_bits(lanes.map(|l| l << 16)), self.from_bits(lanes.map(|l| l & !0xffff))]
    }

    #[inline(always)]
    fn signed_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        [
            lanes.map(|l| halves(l, |h| i32::from(h as i8))),
            lanes.map(|l| halves(l >> 8, |h| i32::from(h as i8))),
        ]
    }

    #[inline(always)]
    fn unsigned_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        [lanes.map(|l| l & 0x00ff_00ff), lanes.map(|l| l >> 8 & 0x00ff_00ff)]
    }

    #[inline(always)]
    fn dot_i16(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32 {
        let low = |i: usize| i32::from(a[i] as i16) * i32::from(b[i] as i16);
        std::array::from_fn(|i| sum[i].wrapping_add(low(i)).wrapping_add((a[i] >> 16) * (b[i] >> 16)))
    }
}
