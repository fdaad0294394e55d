use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use diag::Diagnostic;
use process::Runner;

use crate::report::ScenarioReport;
use crate::server::Server;
use crate::{Check, Curve, NO_IMAGE, big_host, container, disk, drain, faults, overload, spike, workload};

/// What to test; the order is the order of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Malformed requests, misbehaving clients, no file descriptors
    Faults,
    /// Model files that are truncated or removed under the server
    Disk,
    /// SIGTERM under load
    Drain,
    /// Twice the capacity, for minutes
    Overload,
    /// Load that needs much memory, then no traffic, twice
    Spike,
    /// The overload in a container with 512 MiB and one CPU
    Container,
    /// The image with 8 GiB, and a model and a load that need more than 6 GB; only by name
    BigHost,
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
            Self::Drain => "drain",
            Self::Overload => "overload",
            Self::Spike => "spike",
            Self::Container => "container",
            Self::BigHost => "big-host",
        }
    }

    /// Whether it is part of a run that names no scenario. The one that writes GBs is not.
    pub fn is_default(self) -> bool {
        self != Self::BigHost
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
        let mut curve = None;
        let checks = self.checks(context, &model, &load, &mut curve);
        // After a signal every other error is a consequence.
        context.runner.check()?;
        Ok(ScenarioReport { scenario: self.name().into(), checks: checks?, curve })
    }

    fn checks(
        self,
        context: &Context<'_>,
        model: &str,
        load: &overload::Load<'_>,
        curve: &mut Option<Curve>,
    ) -> anyhow::Result<Vec<Check>> {
        Ok(match self {
            Self::Faults => faults::run(context.binary, model)?,
            Self::Disk => disk::run(context.binary, context.model)?,
            Self::Drain => drain::run(context.binary, model, load.bodies, context.runner)?,
            Self::Overload => {
                let server = Server::start(
                    context.binary,
                    &["--model", model, "--max-inflight", overload::MAX_INFLIGHT],
                )?;
                overload::judge(&overload::measure(server.address(), load)?)
            }
            Self::Spike => {
                let server = Server::start(context.binary, &["--model", model])?;
                let kinds = spike::mixed_requests();
                let measurement =
                    spike::measure(&server, server.pid()?, &kinds, spike::Phases::DEFAULT, context.runner)?;
                let checks = spike::judge(&measurement);
                *curve = Some(measurement.curve);
                checks
            }
            Self::Container => container::run(image(context)?, context.model, load)?,
            Self::BigHost => {
                let (checks, memory) =
                    big_host::run(image(context)?, context.model, context.duration, context.runner)?;
                *curve = Some(memory);
                checks
            }
        })
    }
}

fn image<'a>(context: &Context<'a>) -> Result<&'a str, Diagnostic> {
    context
        .image
        .ok_or_else(|| Diagnostic::new(&NO_IMAGE, "the scenario needs an image").expected("`--image ID`"))
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
