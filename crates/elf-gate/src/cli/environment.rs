//! The only place that reads the environment and the clock.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::policy::Date;

/// Values from the environment of the process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The current day, for the expiry of waivers. `None` when the clock is before 1970.
    pub today: Option<Date>,
    /// `GITHUB_STEP_SUMMARY`: the file whose contents GitHub Actions shows on the page of a run.
    pub step_summary: Option<PathBuf>,
    /// Colours are the default: stdout is a terminal and `NO_COLOR` is not set.
    pub use_color: bool,
}

impl Environment {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
    pub fn from_process() -> Environment {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            today: today(),
            step_summary: variable("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            use_color: std::io::stdout().is_terminal() && variable("NO_COLOR").is_none(),
        }
    }
}

/// The current day, not the day of a commit: waivers end on calendar days.
#[expect(clippy::disallowed_methods, reason = "no released file depends on the value")]
fn today() -> Option<Date> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Date::of_unix_time(now.as_secs()))
}
