//! `loadtest`: runs scenarios against a server program and judges it. `cargo xtask loadtest` supplies the paths.
//!
//! Exit status: 0 every check holds, 1 a check is violated, 2 no result, 130 after a signal.
#![expect(clippy::print_stderr, reason = "a program")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Parser, ValueEnum};
use diag::render::{Style, explanation_json, human, json};
use diag::{Diagnostic, Event, Events};
use loadtest::{Budget, Context, LoadReport, SCENARIOS, SERVER_NOT_STARTED, Selection};
use process::Runner;
use units::TimeSpan;

/// Load and fault tests of `inferd`.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Cli {
    /// Scenarios to run [default: all]
    #[arg(value_name = "SCENARIO", value_parser = scenario_names())]
    scenarios: Vec<String>,
    /// The server's program
    #[arg(long, value_name = "FILE", required_unless_present = "explain")]
    binary: Option<PathBuf>,
    /// The model folder
    #[arg(long, value_name = "DIR", required_unless_present = "explain")]
    model: Option<PathBuf>,
    /// ID of the server's image in the container engine, for the scenario `container`
    #[arg(long, value_name = "ID")]
    image: Option<String>,
    /// Time of each overload and of the soak, at least 5 s
    #[arg(long, value_name = "TIME", default_value = "5 min")]
    duration: TimeSpan,
    /// Time of the whole run: what is left after the scenarios with a fixed time is shared by the others
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u16).range(1..=1440))]
    minutes: Option<u16>,
    /// Concurrent clients of an overload
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: u16,
    /// Requests that `malformed` generates from the OpenAPI document, and connections that it sends bytes on
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    requests: usize,
    /// Seed of the generated requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Format of the results on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Explain a code of a violation, and exit
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

fn scenario_names() -> PossibleValuesParser {
    let all = PossibleValue::new(Selection::ALL).help("Every scenario");
    let scenarios =
        SCENARIOS.iter().map(|scenario| PossibleValue::new(scenario.name()).help(scenario.about()));
    [all].into_iter().chain(scenarios).collect::<Vec<_>>().into()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.format;
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            let diagnostics = diag::collect(&error);
            match format {
                Format::Human => eprint!("{}", human(&diagnostics, Style::default())),
                Format::Json => drop(print(&json(&diagnostics))),
            }
            ExitCode::from(diag::exit_code(&diagnostics))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(id) = &cli.explain {
        let mut known = loadtest::CODES.iter().chain(diag::CODES);
        let unknown =
            || diag::unknown_code(id, loadtest::CODES.iter().map(|code| code.id), "docs/benchmarks.md");
        let code = known.find(|code| code.id == id).ok_or_else(unknown)?;
        print(&match cli.format {
            Format::Human => diag::explain(code),
            Format::Json => explanation_json(code),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let binary = std::path::absolute(cli.binary.unwrap_or_default()).context("the path of the server")?;
    if !binary.is_file() {
        return Err(Diagnostic::new(&SERVER_NOT_STARTED, "the server's program does not exist")
            .file(binary)
            .hint("cargo xtask dist")
            .into());
    }
    let runner = Runner::new(Events::new(|event| match event {
        Event::Step { message } => eprintln!("{message}"),
        Event::Warning(warning) => eprint!("{}", human(std::slice::from_ref(warning), Style::default())),
        _ => {}
    }))?;
    let model = std::path::absolute(cli.model.unwrap_or_default()).context("the path of the model")?;
    let budget = match cli.minutes {
        Some(minutes) => Budget::Total(Duration::from_mins(minutes.into()), Instant::now()),
        None => Budget::Each(cli.duration.duration()),
    };
    let mut reports = Vec::new();
    for (scenario, remaining) in Selection::new(&cli.scenarios).scenarios() {
        let context = Context {
            binary: &binary,
            model: &model,
            image: cli.image.as_deref(),
            clients: cli.clients.into(),
            duration: budget.next(remaining),
            requests: cli.requests,
            seed: cli.seed,
            runner: &runner,
        };
        eprintln!("running scenario `{}`", scenario.name());
        let report = scenario.run(&context)?;
        if cli.format == Format::Human {
            print(&report.human())?;
            eprint!("{}", human(&report.problems(), Style::default()));
        }
        reports.push(report);
    }
    let report = LoadReport::new(reports);
    match cli.format {
        Format::Human => print(&format!("\n{}", report.summary()))?,
        Format::Json => print(&report.json()?)?,
    }
    let problems = report.problems();
    Ok(if problems.0.is_empty() { ExitCode::SUCCESS } else { diag::exit_code(&problems.0).into() })
}

/// A closed pipe (`| head`) is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}
