//! Vectors that are arrays of registers narrower than 16 lanes: SSE2 and AVX2.
//!
//! A module of a set imports its intrinsics by their names without the width, such as `add_ps` for `_mm256_add_ps`, and gives what
//! the other sets do not have to [`implement_by_registers`].

/// Calls an intrinsic for each register, in a method that has `self` as evidence for its instructions. Repeats the code instead of
/// calling a closure: the function that would call it, such as `array::from_fn`, is compiled without the instructions.
macro_rules! each {
    ([$($register:literal)*] $i:ident => $call:expr) => {
        [$({
            let $i = $register;
            // SAFETY: a value of the token exists only when the CPU has the instructions.
            unsafe { $call }
        }),*]
    };
}
pub(super) use each;

/// Implements [`super::Simd`] and [`super::Integers`] for the token of a set.
///
/// `call` must define its function with the instructions inside of the braces: the gate finds the loops of a set by the name
/// `call::run`.
macro_rules! implement_by_registers {
    (
        $token:ident: [$float:ty, $integer:ty], registers [$($register:literal)*], tile_vectors $tile_vectors:literal,
        call |$simd:ident, $kernel:ident| $call:expr,
        mul_add |$a:ident, $b:ident, $c:ident| $mul_add:expr,
        mul_i32 |$x:ident, $y:ident| $mul_i32:expr,
        panel_loop |$rows:ident, $tile:ident| $panel_loop:expr,
    ) => {
        /// Registers of a vector.
        const REGISTERS: usize = [$($register),*].len();
        /// Lanes of a register.
        const WIDTH: usize = LANES / REGISTERS;

        impl Simd for $token {
            type F32 = [$float; REGISTERS];
            const TILE_VECTORS: usize = $tile_vectors;

            // Not inlined here, because Rust 1.95 ignores `inline(never)` on a function with `target_feature`.
            #[inline(never)]
            fn call<K: Kernel>(self, kernel: K) -> K::Output {
                let ($simd, $kernel) = (self, kernel);
                $call
            }

            #[inline(always)]
            unsafe fn panel_loop(self, $rows: usize, $tile: &super::PanelLoop) -> bool {
                $panel_loop
            }

            #[inline(always)]
            fn splat(self, value: f32) -> Self::F32 {
                each!([$($register)*] _i => set1_ps(value))
            }

            #[inline(always)]
            unsafe fn load(self, from: *const f32) -> Self::F32 {
                each!([$($register)*] i => loadu_ps(from.add(i * WIDTH)))
            }

            #[inline(always)]
            unsafe fn load_partial(self, from: *const f32, len: usize) -> Self::F32 {
                let mut lanes = [0.0f32; LANES];
                debug_assert!(len <= LANES);
                // SAFETY: as the caller promises; the array has 16 floats.
                unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len) };
                // SAFETY: the array has 16 floats.
                unsafe { self.load(lanes.as_ptr()) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32, value: Self::F32) {
                let _: [(); REGISTERS] = each!([$($register)*] i => storeu_ps(to.add(i * WIDTH), value[i]));
            }

            #[inline(always)]
            unsafe fn store_partial(self, to: *mut f32, value: Self::F32, len: usize) {
                debug_assert!(len <= LANES);
                let lanes = self.to_array(value);
                // SAFETY: as the caller promises; the array has 16 floats.
                unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, len) };
            }

            #[inline(always)]
            fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => add_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => sub_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => mul_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => div_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
                each!([$($register)*] i => {
                    let ($a, $b, $c) = (a[i], b[i], c[i]);
                    $mul_add
                })
            }

            #[inline(always)]
            fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => max_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
                each!([$($register)*] i => min_ps(a[i], b[i]))
            }

            #[inline(always)]
            fn power_of_two(self, rounded: Self::F32) -> Self::F32 {
                each!([$($register)*] i => castsi_ps(slli_epi32::<23>(castps_si(rounded[i]))))
            }

            #[inline(always)]
            fn to_array(self, value: Self::F32) -> [f32; LANES] {
                // SAFETY: both types have 64 bytes, and every bit pattern is a value.
                unsafe { std::mem::transmute(value) }
            }
        }

        impl Integers for $token {
            type I32 = [$integer; REGISTERS];

            #[inline(always)]
            unsafe fn load_bytes(self, from: *const u8) -> Self::I32 {
                each!([$($register)*] i => loadu_si(from.add(i * size_of::<$integer>()).cast()))
            }

            #[inline(always)]
            fn splat_i32(self, value: i32) -> Self::I32 {
                each!([$($register)*] _i => set1_epi32(value))
            }

            #[inline(always)]
            fn to_bits(self, value: Self::F32) -> Self::I32 {
                each!([$($register)*] i => castps_si(value[i]))
            }

            #[inline(always)]
            fn from_bits(self, bits: Self::I32) -> Self::F32 {
                each!([$($register)*] i => castsi_ps(bits[i]))
            }

            #[inline(always)]
            fn to_f32(self, value: Self::I32) -> Self::F32 {
                each!([$($register)*] i => cvtepi32_ps(value[i]))
            }

            #[inline(always)]
            fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
                each!([$($register)*] i => sub_epi32(a[i], b[i]))
            }

            #[inline(always)]
            fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
                each!([$($register)*] i => {
                    let ($x, $y) = (a[i], b[i]);
                    $mul_i32
                })
            }

            #[inline(always)]
            fn bf16_pairs(self, lanes: Self::I32) -> [Self::F32; 2] {
                let low = each!([$($register)*] i => slli_epi32::<16>(lanes[i]));
                let high = each!([$($register)*] i => and_si(lanes[i], set1_epi32(!0xffff)));
                [self.from_bits(low), self.from_bits(high)]
            }

            #[inline(always)]
            fn signed_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
                let low = each!([$($register)*] i => srai_epi16::<8>(slli_epi16::<8>(lanes[i])));
                [low, each!([$($register)*] i => srai_epi16::<8>(lanes[i]))]
            }

            #[inline(always)]
            fn unsigned_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
                let low = each!([$($register)*] i => and_si(lanes[i], set1_epi32(0x00ff_00ff)));
                [low, each!([$($register)*] i => srli_epi16::<8>(lanes[i]))]
            }

            #[inline(always)]
            fn dot_i16(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32 {
                each!([$($register)*] i => add_epi32(sum[i], madd_epi16(a[i], b[i])))
            }
        }
    };
}
pub(super) use implement_by_registers;
