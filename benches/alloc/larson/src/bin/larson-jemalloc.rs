#[global_allocator]
static ALLOCATOR: allocators::Jemalloc = allocators::Jemalloc;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::Jemalloc>()
}
