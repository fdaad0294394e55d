use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use diag::Diagnostic;
use process::Runner;

use crate::report::ScenarioReport;
use crate::server::Server;
use crate::{
    Check, NO_IMAGE, blocked_log, container, disk, drain, faults, overload, tokenize_flood, tokenize_memory,
    unread_responses, workload,
};

/// What to test; the order is the order of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Malformed requests, misbehaving clients, no file descriptors
    Faults,
    /// Model files that are truncated or removed under the server
    Disk,
    /// Large responses that nobody reads
    UnreadResponses,
    /// Embeddings beside many long texts for `/tokenize`
    TokenizeFlood,
    /// One `/tokenize` request with more tokens than the limit
    TokenizeMemory,
    /// A log that nobody reads, and requests with long paths
    BlockedLog,
    /// SIGTERM under load
    Drain,
    /// Twice the capacity, for minutes
    Overload,
    /// The same in a container with 512 MiB and one CPU
    Container,
}

/// The server under test and the size of the load.
pub struct Context<'a> {
    /// The server's program.
    pub binary: &'a Path,
    /// The model folder.
    pub model: &'a Path,
    /// ID of the server's image in the container engine; needed by [`Scenario::Container`].
    pub image: Option<&'a str>,
    /// Concurrent clients of an overload.
    pub clients: usize,
    /// Time of an overload.
    pub duration: Duration,
    /// Runs container commands, reports progress, and ends the load after a signal.
    pub runner: &'a Runner,
}

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Disk => "disk",
            Self::UnreadResponses => "unread-responses",
            Self::TokenizeFlood => "tokenize-flood",
            Self::TokenizeMemory => "tokenize-memory",
            Self::BlockedLog => "blocked-log",
            Self::Drain => "drain",
            Self::Overload => "overload",
            Self::Container => "container",
        }
    }

    /// Starts a server, loads it, and checks what was observed. Fails when nothing can be said about the server.
    pub fn run(self, context: &Context<'_>) -> anyhow::Result<ScenarioReport> {
        let model = format!("minilm={}", context.model.display());
        let load = overload::Load {
            clients: context.clients,
            duration: context.duration,
            bodies: &workload::embedding_requests(),
            runner: context.runner,
        };
        let checks = self.checks(context, &model, &load);
        // After a signal every other error is a consequence.
        context.runner.check()?;
        Ok(ScenarioReport { scenario: self.name().into(), checks: checks? })
    }

    fn checks(
        self,
        context: &Context<'_>,
        model: &str,
        load: &overload::Load<'_>,
    ) -> anyhow::Result<Vec<Check>> {
        Ok(match self {
            Self::Faults => faults::run(context.binary, model)?,
            Self::Disk => disk::run(context.binary, context.model)?,
            Self::UnreadResponses => unread_responses::run(context.binary, model, context.runner)?,
            Self::TokenizeFlood => tokenize_flood::run(context.binary, model, context.runner)?,
            Self::TokenizeMemory => tokenize_memory::run(context.binary, model)?,
            Self::BlockedLog => blocked_log::run(context.binary, model, context.runner)?,
            Self::Drain => drain::run(context.binary, model, load.bodies, context.runner)?,
            Self::Overload => {
                let server = Server::start(
                    context.binary,
                    &["--model", model, "--max-inflight", overload::MAX_INFLIGHT],
                )?;
                overload::judge(&overload::measure(server.address(), load)?)
            }
            Self::Container => {
                let image = context.image.ok_or_else(|| {
                    Diagnostic::new(&NO_IMAGE, "the scenario `container` needs an image")
                        .expected("`--image ID`")
                })?;
                container::run(image, context.model, load)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_command_line() {
        for scenario in Scenario::value_variants() {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
        }
    }
}
