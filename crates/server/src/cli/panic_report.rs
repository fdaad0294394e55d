//! The report of a panic: a diagnostic instead of a backtrace.

use std::io::Write;

use diag::Diagnostic;
use diag::render::{self, Style};

use crate::build_info::{ISSUES_URL, NAME};
use crate::codes;

/// Replaces the panic message of std on every thread. The panic continues to unwind.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let location = info.location().map_or_else(|| "unknown location".to_string(), ToString::to_string);
        let diagnostic = Diagnostic::new(
            &codes::INTERNAL_ERROR,
            format!("this is a bug in {NAME}: {message} (at {location})"),
        )
        .hint(format!("report it at {ISSUES_URL} with the output of `{NAME} --version`"));
        // A failed write must not panic inside the hook.
        let _ = std::io::stderr().write_all(render::human(&[diagnostic], Style::default()).as_bytes());
    }));
}
