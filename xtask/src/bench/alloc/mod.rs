//! `cargo xtask bench alloc`: the allocator that ships beside the libc's own and four others, on Larson's benchmark. It judges
//! the one that ships.
//!
//! The programs are in `benches/alloc`, a workspace of its own: no peer is in the lock file of the product. Each is linked as
//! the product is: statically, against musl, by zig.

mod judge;
mod programs;
mod run;
mod server;
mod table;

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use diag::{Diagnostic, Diagnostics};
use release::context::BuildContext;
use release::plan::Plan;
use serde_json::json;

use crate::Outcome;
use crate::format::{self, Format};
use run::{Allocator, Load, Missing, Run};

diag::codes! {
    /// The allocator that ships breaks a requirement.
    pub REQUIREMENT = Violation "bench-alloc-requirement": "the allocator that ships breaks a requirement" {
        "catches": "a slower allocator, memory that is not returned, an allocation that fails under load",
        "fix": "read docs/allocator.md; run the quoted program by hand on an idle machine, and compare its options in release.toml",
    }
    /// A program has not the allocator that its name says.
    pub OTHER_ALLOCATOR = NotMeasured "bench-alloc-other-allocator": "a program of the comparison lacks the functions of its allocator" {
        "cause": "a new version of zig or of the allocator has other names, or the linker took another definition",
        "fix": "compare `nm` of the program with the names in xtask/src/bench/alloc/run.rs",
    }
}

/// Where the programs and the sources of the peers are described.
const WORKSPACE: &str = "benches/alloc";
const SECONDS: u64 = 60;
const SECONDS_QUICK: u64 = 2;
const SECONDS_SERVER: u64 = 20;

#[derive(ClapArgs)]
pub struct Args {
    /// Seconds of each run; there are 4 for each allocator, and each is followed by 10 s without load [default: 60; 20 with
    /// --server]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// 2 seconds for each run: shows that everything works; noisy figures
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Only this allocator; can be repeated. Requirements that compare with a missing one are not judged
    #[arg(long, value_enum, value_name = "ALLOCATOR")]
    only: Vec<Allocator>,
    /// Load the server built with each allocator instead, 20 s each (2 s with --quick); it is not judged
    #[arg(long)]
    server: bool,
    /// Concurrent clients of `--server`
    #[arg(long, value_name = "N", default_value_t = 200, requires = "server", value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
}

pub fn run(args: Args, format: Format, plan: &Plan, context: &BuildContext) -> anyhow::Result<Outcome> {
    let seconds = args.seconds.unwrap_or(if args.quick { SECONDS_QUICK } else { SECONDS });
    let allocators: Vec<Allocator> = match args.only.is_empty() {
        true => Allocator::value_variants().to_vec(),
        false => Allocator::value_variants().iter().copied().filter(|one| args.only.contains(one)).collect(),
    };
    if args.server {
        return serve(&args, format, &allocators, plan, context);
    }
    let folder = programs::build(plan, context, "larson")?;
    for allocator in &allocators {
        run::check_symbols(*allocator, &folder)?;
    }
    let (mut runs, mut missing) = (Vec::new(), Vec::new());
    for load in Load::ALL {
        for &allocator in &allocators {
            context.events().step(format!("{load}: {}", allocator.name()));
            match run::run(allocator, load, Duration::from_secs(seconds), &folder, context) {
                Ok(run) => runs.push(run),
                // A peer that crashes or does not end is a row; the one that ships is the subject.
                Err(error) if allocator != Allocator::SHIPPED && has_no_result(&error) => {
                    missing.push(Missing { allocator, load, reason: format!("{error:#}") });
                }
                Err(error) => return Err(error),
            }
        }
    }
    let checks = judge::judge(&runs);
    let machine = super::machine();
    let maximum = run::max_map_count();
    let violated: Diagnostics = checks.iter().filter(|check| check.is_violated()).map(violation).collect();
    let document = json!({
        "machine": machine,
        "seconds": seconds,
        "max_map_count": maximum,
        "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
        "not_measured": missing.iter().map(Missing::json).collect::<Vec<_>>(),
        "checks": checks.iter().map(judge::RequirementCheck::json).collect::<Vec<_>>(),
        "diagnostics": violated,
    });
    let human = || table::human(&runs, &missing, &checks, &machine, seconds, maximum);
    format::print(format, human, document)?;
    Ok(format::problems(violated))
}

fn has_no_result(error: &anyhow::Error) -> bool {
    [&process::COMMAND_TIMEOUT, &super::NOT_MEASURED].iter().any(|code| diag::has_code(error, code))
}

fn serve(
    args: &Args,
    format: Format,
    allocators: &[Allocator],
    plan: &Plan,
    context: &BuildContext,
) -> anyhow::Result<Outcome> {
    let seconds = args.seconds.unwrap_or(if args.quick { SECONDS_QUICK } else { SECONDS_SERVER });
    let load = server::ServerLoad { clients: args.clients, duration: Duration::from_secs(seconds) };
    let folder = programs::build(plan, context, "servers")?;
    let model = release::fixtures::folder(context, &plan.config, "model")?;
    let served = server::measure(allocators, &folder, &model, &load, context)?;
    let machine = super::machine();
    let servers: Vec<_> =
        served.iter().map(|one| json!({ "name": one.name, "report": one.report })).collect();
    let document = json!({
        "machine": machine, "seconds": seconds, "clients": args.clients, "servers": servers, "diagnostics": [],
    });
    format::print(format, || server::human(&served, &machine, &load), document)?;
    Ok(Outcome::Pass)
}

fn violation(check: &judge::RequirementCheck) -> Diagnostic {
    Diagnostic::new(&REQUIREMENT, format!("{}: {}", check.subject, check.requirement))
        .rule(check.rule)
        .expected(&check.expected)
        .found(&check.found)
        .hint("cargo xtask bench alloc --seconds 60, on a machine without other load")
}
