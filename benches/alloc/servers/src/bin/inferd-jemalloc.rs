#[global_allocator]
static ALLOCATOR: allocators::Jemalloc = allocators::Jemalloc;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
