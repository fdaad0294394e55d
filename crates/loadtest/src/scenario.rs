use std::fmt;
use std::time::Instant;

use diag::Diagnostic;

use crate::context::Context;
use crate::report::ScenarioReport;
use crate::server::Server;
use crate::{
    Curve, NO_IMAGE, ScenarioCheck, big_host, container, disk, drain, faults, idle_connections, malformed,
    overload, peak, slow_body, soak, spike, timeouts, workload,
};

/// What to test: one entry of [`SCENARIOS`].
#[derive(Clone, Copy)]
pub struct Scenario {
    name: &'static str,
    about: &'static str,
    time: Time,
    /// Runs only if it is named.
    is_optional: bool,
    run: fn(&Context<'_>) -> anyhow::Result<Observed>,
}

/// What a scenario observed.
#[derive(Debug, Default)]
pub struct Observed {
    /// Every check, in the order in which it was made.
    pub checks: Vec<ScenarioCheck>,
    /// Memory over time.
    pub curve: Option<Curve>,
}

impl From<Vec<ScenarioCheck>> for Observed {
    fn from(checks: Vec<ScenarioCheck>) -> Self {
        Self { checks, curve: None }
    }
}

/// What decides how long a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Its own steps.
    Fixed,
    /// [`Context::duration`].
    Chosen,
}

/// Every scenario. A new one needs a line here and a module with a function from [`Context`] to checks.
#[rustfmt::skip]
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("faults", Time::Fixed, "Malformed requests, misbehaving clients, no file descriptors", |c| Ok(faults::run(c.binary, &c.model_argument())?.into())),
    Scenario::new("slow-body", Time::Fixed, "Bodies that are announced and do not arrive; a second client beside them", |c| Ok(slow_body::run(c.binary, &c.model_argument())?.into())),
    Scenario::new("idle-connections", Time::Fixed, "As many connections as the server accepts, without requests; a second client and probes beside them", |c| Ok(idle_connections::run(c.binary, &c.model_argument())?.into())),
    Scenario::new("timeouts", Time::Fixed, "Requests that exceed their time limit; the latency of the request after each", |c| Ok(timeouts::run(c.binary, &c.model_argument())?.into())),
    Scenario::new("unread-responses", Time::Fixed, "Large responses that the clients do not read", |c| Ok(crate::unread_responses::run(c.binary, &c.model_argument(), c.runner)?.into())),
    Scenario::new("tokenize-flood", Time::Fixed, "Embeddings beside many long texts for `/tokenize`", |c| Ok(crate::tokenize_flood::run(c.binary, &c.model_argument(), c.runner)?.into())),
    Scenario::new("large-json", Time::Fixed, "Embeddings beside bodies of 8 MiB and responses of megabytes", |c| Ok(crate::large_json::run(c.binary, &c.model_argument(), c.runner)?.into())),
    Scenario::new("tokenize-memory", Time::Fixed, "One `/tokenize` request with more tokens than the limit", |c| Ok(crate::tokenize_memory::run(c.binary, &c.model_argument())?.into())),
    Scenario::new("blocked-log", Time::Fixed, "A log that is not read, and requests with long paths", |c| Ok(crate::blocked_log::run(c.binary, &c.model_argument(), c.runner)?.into())),
    Scenario::new("disk", Time::Fixed, "Model files that are truncated or removed under the server", |c| Ok(disk::run(c.binary, c.model)?.into())),
    Scenario::new("drain", Time::Fixed, "SIGTERM under load", |c| Ok(drain::run(c.binary, &c.model_argument(), &workload::embedding_requests(), c.runner)?.into())),
    Scenario::new("malformed", Time::Fixed, "Requests that violate the OpenAPI document, and bytes that are almost HTTP", |c| Ok(malformed::run(c)?.into())),
    Scenario::new("overload", Time::Chosen, "Twice the capacity, for minutes", run_overload),
    Scenario::new("spike", Time::Fixed, "Load that needs much memory, then no traffic, twice", run_spike),
    Scenario::new("container", Time::Chosen, "The same in a container with 512 MiB and one CPU", run_container),
    Scenario::new("soak", Time::Chosen, "Mixed load with six spikes and attacks, for an hour with `--minutes 60`", |c| Ok(soak::run(c)?.into())),
    Scenario::new("big-host", Time::Chosen, "The image with 8 GiB, and a model and a load that need more than 6 GB; only by name", run_big_host).optional(),
];

impl Scenario {
    const fn new(
        name: &'static str,
        time: Time,
        about: &'static str,
        run: fn(&Context<'_>) -> anyhow::Result<Observed>,
    ) -> Self {
        Self { name, about, time, is_optional: false, run }
    }

    const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One line for `--help`.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// Whether it runs only if it is named: it writes gigabytes.
    pub fn is_optional(&self) -> bool {
        self.is_optional
    }

    /// What decides how long it runs.
    pub fn time(&self) -> Time {
        self.time
    }

    /// Starts a server, loads it, and checks what was observed. An error of the scenario, after which nothing is known about
    /// the server, is a part of the report; a signal is an error.
    pub fn run(&self, context: &Context<'_>) -> anyhow::Result<ScenarioReport> {
        peak::take();
        let started = Instant::now();
        let observed = (self.run)(context);
        // After a signal every other error is a consequence.
        context.runner.check()?;
        let (Observed { checks, curve }, errors) = match observed {
            Ok(observed) => (observed, Vec::new()),
            Err(error) => (Observed::default(), diag::collect(&error)),
        };
        Ok(ScenarioReport {
            scenario: self.name.into(),
            checks,
            errors: diag::Diagnostics(errors),
            seconds: started.elapsed().as_secs_f64(),
            peak_resident_bytes: peak::take(),
            curve,
        })
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn load<'a>(context: &'a Context<'_>, bodies: &'a [Vec<u8>]) -> overload::Load<'a> {
    overload::Load { clients: context.clients, duration: context.duration, bodies, runner: context.runner }
}

fn image<'a>(context: &Context<'a>) -> Result<&'a str, Diagnostic> {
    context
        .image
        .ok_or_else(|| Diagnostic::new(&NO_IMAGE, "the scenario needs an image").expected("`--image ID`"))
}

fn run_overload(context: &Context<'_>) -> anyhow::Result<Observed> {
    // All clients have one address, and one address gets three quarters of the connections.
    let connections = (2 * context.clients).max(1024).to_string();
    let model = context.model_argument();
    let arguments = ["--model", &model, "--max-connections", &connections];
    let start = |further: &[&str]| {
        Server::start(context.binary, &[&arguments, &overload::ARGUMENTS[..], further].concat())
    };
    let bodies = workload::embedding_requests();
    let (measurement, _server) = overload::measure(start, &load(context, &bodies))?;
    Ok(overload::judge(&measurement).into())
}

fn run_spike(context: &Context<'_>) -> anyhow::Result<Observed> {
    let server = Server::start(context.binary, &["--model", &context.model_argument()])?;
    let kinds = spike::mixed_requests();
    let measurement = spike::measure(&server, server.pid()?, &kinds, spike::Phases::DEFAULT, context.runner)?;
    Ok(Observed { checks: spike::judge(&measurement), curve: Some(measurement.curve) })
}

fn run_container(context: &Context<'_>) -> anyhow::Result<Observed> {
    let bodies = workload::embedding_requests();
    Ok(container::run(image(context)?, context.model, &load(context, &bodies))?.into())
}

fn run_big_host(context: &Context<'_>) -> anyhow::Result<Observed> {
    let (checks, curve) = big_host::run(image(context)?, context.model, context.duration, context.runner)?;
    Ok(Observed { checks, curve: Some(curve) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use process::Runner;

    use super::*;

    #[test]
    fn names_are_unique_and_none_is_the_name_of_all() {
        let mut names: Vec<_> = SCENARIOS.iter().map(Scenario::name).collect();
        assert!(!names.contains(&crate::Selection::ALL));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_error_of_a_scenario_is_a_part_of_its_report() {
        let runner = Runner::without_signals();
        let context = Context {
            binary: Path::new("/nonexistent"),
            model: Path::new("/nonexistent"),
            image: None,
            clients: 1,
            duration: Duration::ZERO,
            requests: 1,
            seed: 1,
            runner: &runner,
        };
        let scenario = Scenario::new("fails", Time::Fixed, "", |_| anyhow::bail!("no server"));
        let report = scenario.run(&context).unwrap();
        assert_eq!(report.errors.0.len(), 1);
        assert_eq!(diag::exit_code(&report.problems()), 2);
    }
}
