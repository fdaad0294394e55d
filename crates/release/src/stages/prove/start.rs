//! Generic proofs of a start: `prove.start_args` must give exit status 0 and the same output in every situation.

use std::collections::BTreeMap;

use super::isolation::Isolation;
use super::run::{End, Run, exit_text};
use super::{Conclusion, Observation, ProofContext};
use crate::config::Prove;

/// One situation in which the file is started.
struct Situation {
    name: String,
    run: Run,
}

/// The situations in the order in which they run. The first one is the measure of the others.
fn situations(config: &Prove) -> Vec<Situation> {
    let environment = |count: &u32| Situation {
        name: format!("start with {count} environment variables"),
        run: Run { env: variables(*count), ..Run::default() },
    };
    let mut situations: Vec<Situation> = config.environment_counts.iter().map(environment).collect();
    situations.push(Situation {
        name: format!("start with a stack of {}", config.start_stack_limit),
        run: Run { stack_limit: Some(config.start_stack_limit), ..Run::default() },
    });
    for (name, isolation) in [("isolated", Isolation::Root), ("no-proc", Isolation::RootWithoutProc)] {
        let run = Run { isolation: Some(isolation), ..Run::default() };
        situations.push(Situation { name: name.into(), run });
    }
    situations
}

pub(super) fn names(config: &Prove) -> Vec<String> {
    situations(config).into_iter().map(|situation| situation.name).collect()
}

/// The stub of UPX moves the program over itself while the environment lies on the stack above it, so both the number of
/// variables and their length vary.
fn variables(count: u32) -> BTreeMap<String, String> {
    (0..count)
        .map(|number| (format!("MUSLIN_PROBE_{number:04}"), "x".repeat(number as usize % 200)))
        .collect()
}

pub(super) fn observe(context: &ProofContext) -> anyhow::Result<Vec<Observation>> {
    let mut first_output: Option<Vec<u8>> = None;
    let mut observations = Vec::new();
    for Situation { name, mut run } in situations(context.config) {
        run.args = context.config.start_args.iter().map(|arg| context.expand(arg).into()).collect();
        let condition = run.isolation.map(|isolation| format!(" {}", isolation.description()));
        observations.push(observe_one(context, name, run, condition, &mut first_output)?);
    }
    Ok(observations)
}

fn observe_one(
    context: &ProofContext,
    name: String,
    run: Run,
    condition: Option<String>,
    first_output: &mut Option<Vec<u8>>,
) -> anyhow::Result<Observation> {
    let ran = context.run(&name, run)?;
    let wanted = context.expand(&context.config.start_contains);
    let mut expected = format!("exit status 0{}", condition.unwrap_or_default());
    if !wanted.is_empty() {
        expected += &format!(", `{wanted}` in the output");
    }
    if first_output.is_some() {
        expected += ", the same output as the first start";
    }
    let (conclusion, found) = match &ran.end {
        End::NotIsolated(why) => (Conclusion::NotMeasured, why.clone()),
        End::Failed(why) => (Conclusion::Violated, why.clone()),
        End::Exited(output) => {
            let text = output.stdout_text();
            let first_line = text.lines().next().unwrap_or("no output").to_string();
            let same = first_output.as_ref().is_none_or(|first| *first == output.stdout);
            let holds = output.status.success() && text.contains(&wanted) && same;
            if holds {
                first_output.get_or_insert_with(|| output.stdout.clone());
                (Conclusion::Holds, first_line)
            } else {
                let difference = if same { "" } else { ", another output than the first start" };
                (Conclusion::Violated, format!("`{first_line}`{difference}, {}", exit_text(output)))
            }
        }
    };
    Ok(ran.observation(name, conclusion, expected, found))
}
