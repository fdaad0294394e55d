#[global_allocator]
static ALLOCATOR: allocators::Mallocng = allocators::Mallocng;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
