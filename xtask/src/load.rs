//! `cargo xtask load`: the shipped server under more than it can do, on loopback, for a bounded time.
//!
//! Unlike `bench` it judges: each line is a promise of docs/server.md, and one that does not hold is exit code 1.

mod client;
mod container;
mod disk;
mod drain;
mod faults;
mod findings;
mod server;
mod steady;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use diag::Diagnostic;
use units::TimeSpan;

use crate::Outcome;
use crate::setup::Common;
use findings::Findings;
use server::Server;
use steady::Settings;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Only these [default: all of them]
    #[arg(value_enum, value_name = "WHAT")]
    what: Vec<What>,
    /// How long the overload lasts
    #[arg(long, value_name = "TIME", default_value = "5 min", value_parser = parse_span)]
    time: TimeSpan,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: u16,
    /// The model folder [default: the one of `cargo xtask model`]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The server [default: the packed file in dist/]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Twice the capacity, for minutes
    Steady,
    /// The same inside a container with 512 MiB and one CPU
    Container,
    /// SIGTERM in mid-load
    Drain,
    /// Clients that misbehave, and no file descriptors
    Faults,
    /// Model files that are cut or vanish
    Disk,
}

/// A third more than this is what `--queue` is set to: one address holds three quarters of it at most.
const QUEUE: usize = 48;

fn parse_span(text: &str) -> Result<TimeSpan, String> {
    text.parse::<TimeSpan>().map_err(|error| error.to_string())
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    let binary = args.binary.unwrap_or_else(|| plan.paths.dist.join(&plan.names.packed));
    if !binary.is_file() {
        return Err(Diagnostic::new(&release::GENERAL, format!("{} is not there", binary.display()))
            .hint("cargo xtask dist")
            .into());
    }
    let binary = std::path::absolute(&binary).context("the path of the server")?;
    let model = match args.model {
        Some(model) => model,
        None => release::model::folder(site, &plan.config)?,
    };
    let named = format!("minilm={}", model.display());
    // Threads of this verb ask it; the runner's own flag serves children only.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("registering signal handlers")?;
    }
    let settings = Settings {
        clients: args.clients.into(),
        time: args.time.0.max(Duration::from_secs(5)),
        queue: QUEUE,
    };
    let bodies = bodies();
    let all = [What::Faults, What::Disk, What::Drain, What::Steady, What::Container];
    let mut findings = Findings::default();
    for what in all.into_iter().filter(|what| args.what.is_empty() || args.what.contains(what)) {
        println!("{}", what.to_possible_value().map_or(String::new(), |value| value.get_name().to_string()));
        match what {
            What::Faults => faults::run(&binary, &named, &mut findings)?,
            What::Disk => disk::run(&binary, &model, &mut findings)?,
            What::Drain => drain::run(&binary, &named, &bodies, &stop, &mut findings)?,
            What::Steady => {
                let queue = (QUEUE * 4 / 3).to_string();
                let server = Server::start(&binary, &["--model", &named, "--queue", &queue])?;
                let numbers = steady::measure(server.address, &bodies, &settings, &stop)?;
                steady::judge(&numbers, &mut findings);
            }
            What::Container => {
                container::run(&plan.paths.dist, &model, &bodies, &settings, &stop, &mut findings)?;
            }
        }
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Diagnostic::new(&process::INTERRUPTED, "interrupted").into());
        }
    }
    Ok(if findings.hold() { Outcome::Pass } else { Outcome::Violated })
}

/// Sentences of 6 to 30 words, the same in every run.
fn bodies() -> Vec<Vec<u8>> {
    const WORDS: [&str; 16] = [
        "river", "stone", "the", "engine", "of", "a", "quiet", "harbour", "carries", "light", "over",
        "seven", "old", "bridges", "and", "fields",
    ];
    (0..64)
        .map(|number| {
            let length = 6 + number * 7 % 25;
            let words: Vec<_> =
                (0..length).map(|word| WORDS[(number * 5 + word * 3 + word * word) % WORDS.len()]).collect();
            format!("{{\"input\":{:?}}}", words.join(" ")).into_bytes()
        })
        .collect()
}
