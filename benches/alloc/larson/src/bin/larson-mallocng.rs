#[global_allocator]
static ALLOCATOR: allocators::Mallocng = allocators::Mallocng;

fn main() -> std::process::ExitCode {
    larson::main::<allocators::Mallocng>()
}
