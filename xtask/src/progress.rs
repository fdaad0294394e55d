//! Events of the libraries as lines on stderr.

use diag::{Event, Events};

/// Shows steps and warnings, and with `verbose` each command.
pub fn events(verbose: bool) -> Events {
    Events::new(move |event| match event {
        Event::Command { quoted } if verbose => eprintln!("+ {quoted}"),
        Event::Step { message } => eprintln!("{message}"),
        Event::Warning(diagnostic) => {
            eprint!(
                "{}",
                diag::render::human(std::slice::from_ref(diagnostic), diag::render::Style::default())
            );
        }
        _ => {}
    })
}
