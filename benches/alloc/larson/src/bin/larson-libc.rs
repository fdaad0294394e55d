#[global_allocator]
static ALLOCATOR: allocators::Libc = allocators::Libc;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::Libc>()
}
