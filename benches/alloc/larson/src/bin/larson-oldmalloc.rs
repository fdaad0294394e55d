#[global_allocator]
static ALLOCATOR: allocators::Oldmalloc = allocators::Oldmalloc;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::Oldmalloc>()
}
