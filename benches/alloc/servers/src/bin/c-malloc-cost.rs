//! Time of `malloc`, two written pages and `free`, of the libc and of mimalloc: what a GEMM with threads does for its job array.
//!
//! usage: c-malloc-cost BYTES

use std::ffi::c_void;
use std::time::Instant;

use servers::mi;

const CALLS: u32 = 20_000;
const PAGE: usize = 4096;

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

fn nanoseconds(malloc: Malloc, free: Free, bytes: usize, threads: usize) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                for _ in 0..CALLS {
                    // SAFETY: any size is valid.
                    let block = unsafe { malloc(bytes) }.cast::<u8>();
                    assert!(!block.is_null());
                    for offset in [0, PAGE] {
                        // SAFETY: the block has at least two pages.
                        unsafe { block.add(offset).write_volatile(1) };
                    }
                    // SAFETY: the block is from `malloc`, and nothing uses it any more.
                    unsafe { free(block.cast()) };
                }
            });
        }
    });
    started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn main() {
    let bytes =
        std::env::args().nth(1).and_then(|bytes| bytes.parse().ok()).unwrap_or(512 << 10).max(2 * PAGE);
    for threads in [1, 2] {
        // The first round warms up.
        for round in 0..2 {
            let libc = nanoseconds(libc::malloc, libc::free, bytes, threads);
            let mimalloc = nanoseconds(mi::mi_malloc, mi::mi_free, bytes, threads);
            if round == 1 {
                println!(
                    "{bytes} bytes, {threads} threads: libc {libc:.0} ns, mimalloc {mimalloc:.0} ns a call"
                );
            }
        }
    }
}
