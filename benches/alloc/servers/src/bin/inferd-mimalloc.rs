#[global_allocator]
static ALLOCATOR: allocators::MiMalloc = allocators::MiMalloc;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
