//! What a library reports while it works: stages, commands and their output, progress, warnings. The program at the edge decides how to
//! show it, so that no library prints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Diagnostic;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A stage of a pipeline begins.
    StageStarted {
        /// Its name.
        stage: &'static str,
    },
    /// A stage of a pipeline is done.
    StageFinished {
        /// Its name.
        stage: &'static str,
        /// Elapsed time.
        wall: Duration,
        /// Processor time of this process and its children.
        cpu: Duration,
    },
    /// A child process starts.
    Command {
        /// As a shell takes it.
        quoted: String,
    },
    /// A child process has written to its stdout. Each event continues the text of the one before.
    Output {
        /// As they arrive: a character or a line may be in two events.
        bytes: Vec<u8>,
    },
    /// A step that is worth a line, such as a download.
    Step {
        /// A clause in the progressive form: `fetching ziglang 0.17.0`.
        message: String,
    },
    /// A task with a known or unknown number of units goes on.
    Progress {
        /// What is being worked on; one task at a time has this name.
        task: String,
        /// Units that are done.
        done: u64,
        /// All units, when they are known.
        total: Option<u64>,
        /// Name of the units, plural: `objects`.
        unit: &'static str,
    },
    /// A task that reported progress has ended, with or without an error.
    ProgressFinished {
        /// The name given to [`Event::Progress`].
        task: String,
    },
    /// Something to look at that stops nothing.
    Warning(Diagnostic),
}

/// Where events go. Cheap to clone; events of parallel work arrive in any order.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(&Event) + Send + Sync>);

impl Events {
    /// Calls `observer` for each event, on the thread that reports it.
    pub fn new(observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observer))
    }

    /// Drops every event.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Reports an event.
    pub fn emit(&self, event: &Event) {
        (self.0)(event);
    }

    /// Reports a step.
    pub fn step(&self, message: impl Into<String>) {
        self.emit(&Event::Step { message: message.into() });
    }

    /// Reports a warning.
    pub fn warn(&self, diagnostic: Diagnostic) {
        self.emit(&Event::Warning(diagnostic.warning()));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
