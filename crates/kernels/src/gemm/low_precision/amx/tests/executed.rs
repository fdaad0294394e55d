//! The tile instructions as the CPU executes them. On a CPU without AMX these tests check nothing; the report of the sets that were not
//! run says so.

use std::sync::mpsc;

use super::super::super::Terms;
use super::super::super::tests::case::{Bf16Case, Int8Case, Shape};
use super::super::{Amx, Functions};
use super::{compute, small_shapes};
use crate::isa::{Isa, Level};

/// Products of bf16 on this CPU.
fn bf16(terms: Terms) -> Option<Amx> {
    // SAFETY: the value of `Isa` shows that the CPU has the instructions and the kernel enabled them.
    Isa::of_level(Level::Amx).ok().map(|_| unsafe { Amx::bf16(terms) })
}

/// Products of int8 on this CPU.
fn int8() -> Option<Amx> {
    // SAFETY: as above.
    Isa::of_level(Level::Amx).ok().map(|_| unsafe { Amx::int8() })
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// The interpreter has the arithmetic of the CPU: order of sums, fused multiply-adds, and rounding.
#[test]
fn the_cpu_and_the_interpreter_yield_equal_bits() {
    for shape in small_shapes() {
        for terms in [Terms::One, Terms::Two] {
            let Some(bf16) = bf16(terms) else { return };
            let case = Bf16Case::new(shape, terms);
            // SAFETY: the case has checked the shapes.
            let executed = case.run(&|product| unsafe { bf16.compute(product) }).unwrap();
            let interpreted = case.run(&|product| compute(product, Functions::of_bf16(terms), None)).unwrap();
            assert!(bits(executed) == bits(interpreted), "{shape:?} {terms:?}");
        }
    }
}

const SHAPE: Shape = Shape { rows: 50, columns: 33, inner: 130 };

fn is_exact(int8: Amx) -> bool {
    // SAFETY: the case has checked the shapes.
    Int8Case::new(SHAPE).check(&|product| unsafe { int8.compute(product) }).is_ok()
}

/// The permission for the tile registers belongs to the process, not to the thread that requests it.
#[test]
fn a_thread_that_is_older_than_the_permission_computes() {
    let (request, requested) = mpsc::channel();
    let older = std::thread::spawn(move || {
        let int8: Option<Amx> = requested.recv().unwrap();
        int8.is_none_or(is_exact)
    });
    request.send(int8()).unwrap();
    assert!(older.join().unwrap());
}

/// Threads that are interrupted between the instructions of a product keep their tiles.
#[test]
fn more_threads_than_cores_compute_at_the_same_time() {
    let Some(bf16) = bf16(Terms::One) else { return };
    let case = || Bf16Case::new(Shape { rows: 64, columns: 256, inner: 1536 }, Terms::One);
    // SAFETY: the case has checked the shapes.
    let run = move |case: &Bf16Case| bits(case.run(&|product| unsafe { bf16.compute(product) }).unwrap());
    let expected = run(&case());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let case = case();
                for round in 0..50 {
                    assert!(run(&case) == expected, "round {round}");
                }
            });
        }
    });
}

/// A child of `fork` has the permission of its parent.
#[test]
fn a_forked_process_computes() {
    let Some(int8) = int8() else { return };
    // The child allocates nothing: another thread of the parent could hold the lock of the allocator.
    // SAFETY: the child calls functions on memory of its own only, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = forked::computes(int8);
        // SAFETY: ends the child without the handlers of the parent.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
}

mod forked {
    use super::super::super::super::tiles::{BLOCK_BYTES, Operands, Pass, Unit};
    use super::super::super::Amx;
    use super::super::super::{Configuration, Tiles};
    use crate::gemm::prefetch::Prefetch;

    /// The status of the child: a tile of ones times a tile of ones.
    pub fn computes(int8: Amx) -> i32 {
        let (ones, start, mut sums) = ([1u8; 16 * BLOCK_BYTES], [0u8; BLOCK_BYTES], [0.0f32; 16 * 32]);
        let operands = Operands {
            x: ones.as_ptr(),
            x_stride: BLOCK_BYTES,
            w: ones.as_ptr(),
            w_step: 0,
            start: start.as_ptr(),
            start_step: 0,
            passes: &[Pass { x: 0, w: 0 }],
            groups: 16,
            prefetch: Prefetch::none(ones.as_ptr().cast()),
        };
        int8.configure(&Configuration::new(16));
        // SAFETY: the operands have 16 rows and a tile of weights.
        unsafe { Tiles(int8).sums(16, operands, sums.as_mut_ptr(), 32) };
        int8.release();
        i32::from(sums.iter().any(|sum| sum.to_bits() != BLOCK_BYTES as u32))
    }
}
