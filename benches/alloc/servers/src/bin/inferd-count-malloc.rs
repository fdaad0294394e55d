//! As `inferd-c-mimalloc`, and it reports at its end how often C code has allocated.

use std::sync::atomic::Ordering;

servers::define_malloc!(servers::count);

#[global_allocator]
static ALLOCATOR: allocators::MiMalloc = allocators::MiMalloc;

fn main() -> std::process::ExitCode {
    let code = inferd::cli::run(std::env::args_os());
    let [calls, large, bytes] = [&servers::CALLS, &servers::LARGE_CALLS, &servers::LARGE_BYTES]
        .map(|counter| counter.load(Ordering::Relaxed));
    eprintln!("{{\"c_calls\":{calls},\"c_large_calls\":{large},\"c_large_bytes\":{bytes}}}");
    code
}
