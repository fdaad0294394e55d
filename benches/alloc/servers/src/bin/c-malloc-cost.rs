//! Time of `malloc`, a write to the first and the last byte, and `free`, of the libc and of mimalloc: what C code pays for a buffer.
//!
//! usage: c-malloc-cost BYTES...

use std::ffi::c_void;
use std::time::Instant;

// Links the archive that defines the functions below.
use mimalloc_sys as _;

unsafe extern "C" {
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_free(block: *mut c_void);
}

/// The best counts: other load only adds time.
const ROUNDS: usize = 5;

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

/// So many that the start of the threads does not count; SmpAllocator maps and unmaps blocks of 64 KiB or more.
fn calls(bytes: usize) -> u32 {
    if bytes < 64 << 10 { 1_000_000 } else { 20_000 }
}

/// Of one call and its `free`, in each thread.
fn nanoseconds(malloc: Malloc, free: Free, bytes: usize, threads: usize) -> f64 {
    let calls = calls(bytes);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                for _ in 0..calls {
                    // SAFETY: any size is valid.
                    let block = unsafe { malloc(bytes) }.cast::<u8>();
                    assert!(!block.is_null());
                    for offset in [0, bytes - 1] {
                        // SAFETY: the offset is below the size of the block.
                        unsafe { block.add(offset).write_volatile(1) };
                    }
                    // SAFETY: the block is from `malloc`, and nothing uses it any more.
                    unsafe { free(block.cast()) };
                }
            });
        }
    });
    started.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn main() -> std::process::ExitCode {
    let sizes: Result<Vec<usize>, _> = std::env::args().skip(1).map(|bytes| bytes.parse()).collect();
    let Some(sizes) = sizes.ok().filter(|sizes| !sizes.is_empty() && !sizes.contains(&0)) else {
        eprintln!("usage: c-malloc-cost BYTES...");
        return std::process::ExitCode::from(2);
    };
    for bytes in sizes {
        for threads in [1, 2] {
            let (mut libc, mut mimalloc) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..ROUNDS {
                libc = libc.min(nanoseconds(libc::malloc, libc::free, bytes, threads));
                mimalloc = mimalloc.min(nanoseconds(mi_malloc, mi_free, bytes, threads));
            }
            println!("{bytes} bytes, {threads} threads: libc {libc:.0} ns, mimalloc {mimalloc:.0} ns a call");
        }
    }
    std::process::ExitCode::SUCCESS
}
