#[global_allocator]
static ALLOCATOR: allocators::Snmalloc = allocators::Snmalloc;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::Snmalloc>()
}
