#[global_allocator]
static ALLOCATOR: allocators::MiMalloc = allocators::MiMalloc;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::MiMalloc>()
}
