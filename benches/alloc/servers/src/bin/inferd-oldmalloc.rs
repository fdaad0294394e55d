#[global_allocator]
static ALLOCATOR: allocators::Oldmalloc = allocators::Oldmalloc;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
