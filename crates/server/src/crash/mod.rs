//! Reports of crashes: what std and the C library leave silent or print without an address that can be resolved.
//!
//! A fatal signal prints a report on stderr and then ends the process by the same signal, so that exit status and core
//! dump are those of a program without this module. The handler runs in a broken process, therefore everything that it
//! calls allocates nothing, takes no lock, and writes to stderr within a bounded time:
//!
//! - `handler` decides who reports when several threads crash, or the report itself crashes, and ends the process;
//! - `report` composes the text, from facts that `threads`, `elf_image`, `backtrace`, `instruction` and `exhaustion` read;
//! - `output` formats into a fixed buffer and writes it.
//!
//! `threads` gives every thread of the process an alternate signal stack, also those that C code creates: without one the
//! kernel cannot run a handler after a stack overflow. `allocator` records allocations that fail and holds a reserve, so
//! that the server can finish its requests.

mod allocator;
mod backtrace;
mod elf_image;
mod exhaustion;
mod frame_lines;
mod handler;
mod instruction;
mod output;
mod report;
mod threads;

pub use allocator::{Allocator, has_recovered, hold_reserve, is_exhausted};
pub use handler::has_crashed;

/// Installs the handlers and the alternate stack of the main thread. To be called by the main thread.
///
/// A failure is not an error: the program works without reports, and the signals keep their default action.
pub fn install() {
    elf_image::read_own();
    threads::prepare_main();
    handler::install();
}

/// The build-id in hexadecimal digits; `none` before [`install`] and in a program without one.
pub fn build_id() -> String {
    match elf_image::own().map(elf_image::ElfImage::build_id) {
        Some(id) if !id.is_empty() => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => "none".to_string(),
    }
}

/// Whether an address is in the code of this program. False before [`install`].
pub fn is_code(address: usize) -> bool {
    elf_image::own().is_some_and(|image| image.code.contains(&address))
}
