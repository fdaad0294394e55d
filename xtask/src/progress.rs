//! Events of the libraries on stderr: progress bars on a terminal, plain lines in CI and pipes, nothing with `--quiet`. What
//! children write to their stdout is part of the result of a verb: it goes to stdout, and with `--format json` to stderr.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;
use diag::render::{Style, human};
use diag::{Diagnostic, Event, Events};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// When to use ANSI colours.
#[derive(Clone, Copy, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What is shown, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verbosity {
    /// Nothing but errors.
    pub quiet: bool,
    /// Each command too.
    pub verbose: bool,
    /// stdout has one JSON document and nothing else.
    pub is_stdout_data: bool,
}

static STYLE: OnceLock<Style> = OnceLock::new();

/// Decides once whether this process writes colours: `--color`, else NO_COLOR and whether stderr is a terminal.
pub fn set_color(color: Color) {
    let _ = STYLE.set(style_of(color, no_color().as_deref(), std::io::stderr().is_terminal()));
}

fn style_of(color: Color, no_color: Option<&OsStr>, is_terminal: bool) -> Style {
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        // https://no-color.org: any value that is not empty.
        Color::Auto => is_terminal && no_color.is_none_or(|value| value.is_empty()),
    };
    Style { color }
}

/// How errors are printed.
pub fn style() -> Style {
    *STYLE.get_or_init(|| style_of(Color::Auto, no_color().as_deref(), std::io::stderr().is_terminal()))
}

/// Read here, and not in `host_env`, because errors of `host_env` are printed too.
#[expect(clippy::disallowed_methods, reason = "the terminal of this process; no build depends on it")]
fn no_color() -> Option<OsString> {
    std::env::var_os("NO_COLOR")
}

/// An observer for the libraries.
pub fn events(verbosity: Verbosity) -> Events {
    if std::io::stderr().is_terminal() && !verbosity.quiet {
        let bars = Mutex::new(Bars { multi: MultiProgress::new(), verbosity, bars: BTreeMap::new() });
        return Events::new(move |event| bars.lock().unwrap_or_else(PoisonError::into_inner).show(event));
    }
    Events::new(move |event| match event {
        Event::Output { bytes } => pass_on(bytes, verbosity),
        event => {
            if let Some(line) = line(event, verbosity) {
                // A closed stderr stops no build.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
    })
}

/// Output of a child. A reader that went away stops no build.
fn pass_on(bytes: &[u8], verbosity: Verbosity) {
    let _ = match verbosity.is_stdout_data {
        true => std::io::stderr().write_all(bytes),
        false => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        }
    };
}

/// One event as a line of a log. A log has no lines for single units of work.
fn line(event: &Event, verbosity: Verbosity) -> Option<String> {
    match event {
        _ if verbosity.quiet => None,
        Event::Command { quoted } => verbosity.verbose.then(|| format!("+ {quoted}\n")),
        Event::StageStarted { stage } => Some(format!("{stage:>10} ...\n")),
        Event::StageFinished { stage, wall, .. } => {
            Some(format!("{stage:>10} {:.1} s\n", wall.as_secs_f64()))
        }
        Event::Step { message } => Some(format!("{message}\n")),
        Event::Warning(diagnostic) => Some(text(diagnostic)),
        _ => None,
    }
}

fn text(diagnostic: &Diagnostic) -> String {
    human(std::slice::from_ref(diagnostic), style())
}

/// One bar for each task with progress; stages are lines, because cargo writes to the same terminal.
struct Bars {
    multi: MultiProgress,
    verbosity: Verbosity,
    bars: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Progress { task, done, total, unit } => {
                let template = match total {
                    Some(_) => format!("{{prefix:>10}} {{bar:30}} {{pos}} of {{len}} {unit}, {{elapsed}}"),
                    None => format!("{{prefix:>10}} {{spinner}} {{pos}} {unit}, {{elapsed}}"),
                };
                let bar = self.bar(task, &template);
                if let Some(total) = total {
                    bar.set_length(*total);
                }
                bar.set_position(*done);
            }
            Event::ProgressFinished { task } => self.finish(task),
            Event::Output { bytes } => self.multi.suspend(|| pass_on(bytes, self.verbosity)),
            other => {
                if let Some(line) = line(other, self.verbosity) {
                    let _ = self.multi.println(line.trim_end());
                }
            }
        }
    }

    fn bar(&mut self, name: &str, template: &str) -> ProgressBar {
        let multi = &self.multi;
        let new = || {
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            multi.add(ProgressBar::no_length().with_style(style).with_prefix(name.to_owned()))
        };
        self.bars.entry(name.into()).or_insert_with(new).clone()
    }

    fn finish(&mut self, name: &str) {
        if let Some(bar) = self.bars.remove(name) {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn color_follows_the_flag_then_no_color_then_the_terminal() {
        let of = |color, no_color: Option<&str>, terminal| {
            style_of(color, no_color.map(OsStr::new), terminal).color
        };
        assert!(of(Color::Always, Some("1"), false) && !of(Color::Never, None, true));
        assert!(of(Color::Auto, None, true) && !of(Color::Auto, None, false));
        assert!(!of(Color::Auto, Some("1"), true) && of(Color::Auto, Some(""), true));
    }

    #[test]
    fn a_log_has_one_line_at_the_start_and_one_at_the_end_of_a_stage() {
        let plain = |event: &Event| line(event, Verbosity::default());
        let second = Duration::from_secs(1);
        assert_eq!(plain(&Event::StageStarted { stage: "link" }).unwrap(), "      link ...\n");
        let finished = Event::StageFinished { stage: "link", wall: second, cpu: second };
        assert_eq!(plain(&finished).unwrap(), "      link 1.0 s\n");
        assert_eq!(plain(&Event::Progress { task: "a".into(), done: 1, total: None, unit: "objects" }), None);
        let command = Event::Command { quoted: "true".into() };
        assert_eq!(plain(&command), None);
        let verbose = Verbosity { verbose: true, ..Verbosity::default() };
        assert_eq!(line(&command, verbose).unwrap(), "+ true\n");
        let quiet = Verbosity { quiet: true, ..Verbosity::default() };
        assert_eq!(line(&finished, quiet), None);
    }
}
