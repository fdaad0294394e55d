#[global_allocator]
static ALLOCATOR: allocators::Libc = allocators::Libc;

fn main() -> std::process::ExitCode {
    inferd::cli::run(std::env::args_os())
}
