//! What a user sees when the program itself is wrong: three lines, not a backtrace.

use std::io::Write;

use crate::build_info;

/// Replaces std's panic message on every thread. The panic goes on unwinding; whoever catches it decides what ends.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or_else(|| "unknown place".to_string(), ToString::to_string);
        // A failed write must not panic inside the hook.
        let _ = writeln!(
            std::io::stderr(),
            "error: this is a bug in {}: {what} (at {place})\nhint: please report it at {} with the output of `{} --version`",
            build_info::NAME,
            build_info::ISSUES_URL,
            build_info::NAME,
        );
    }));
}
