#[global_allocator]
static ALLOCATOR: allocators::Snmalloc = allocators::Snmalloc;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
