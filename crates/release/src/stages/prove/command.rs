//! Declared proofs: command lines of release.toml for the packed file.

use std::ffi::OsString;
use std::time::Duration;

use super::check::ProofCheck;
use super::input::read_json;
use super::isolation::Isolation;
use super::judge::judge;
use super::run::{Emulation, End, Run};
use super::{Conclusion, Observation, PROOF_INPUT, ProofContext};
use crate::config::{ArgsFrom, Cpu, EMULATED_PROOFS, ProofCommand, WorkingDirectory};
use diag::Diagnostic;

/// One observation for the command, or one for each check of its report.
pub(super) fn observe(
    context: &ProofContext,
    declared: &ProofCommand,
    cpu: &Cpu,
) -> anyhow::Result<Vec<Observation>> {
    let name = declared.name_on(cpu);
    let emulation = match (cpu, context.emulator) {
        (Cpu::Native, _) => None,
        (Cpu::Emulated(model), Some(emulator)) => {
            Some(Emulation { emulator: emulator.into(), model: model.clone() })
        }
        (Cpu::Emulated(model), None) => return Ok(vec![without_emulator(name, model)]),
    };
    let mut args: Vec<OsString> =
        declared.args.iter().map(|argument| context.expand(argument).into()).collect();
    if let Some(from) = &declared.args_from {
        args.extend(args_from(context, from)?);
    }
    let run = Run {
        args,
        env: declared.env.iter().map(|(name, value)| (name.clone(), context.expand(value))).collect(),
        stdin: context.expand(&declared.stdin).into_bytes(),
        stack_limit: declared.stack_limit,
        isolation: (declared.working_directory == WorkingDirectory::ReadOnly)
            .then_some(Isolation::ReadOnlyDirectory),
        emulation,
        timeout: declared.timeout.map(|timeout| timeout.0),
    };
    let ran = context.run(&name, run)?;
    let output = match &ran.end {
        End::Exited(output) => output,
        End::Failed(why) => {
            let found = why.clone();
            let expected = "an end by itself within the time limit";
            return Ok(vec![ran.observation(name, Conclusion::Violated, expected, found)]);
        }
        End::NotIsolated(why) => {
            let found = why.clone();
            let expected = "a run in a read-only working directory";
            return Ok(vec![ran.observation(name, Conclusion::NotMeasured, expected, found)]);
        }
    };
    let checks = judge(context, declared, output)?;
    let (command, elapsed) = (&ran.command, ran.elapsed);
    let observe = |check: ProofCheck| Observation {
        name: check.name.map_or(name.clone(), |part| format!("{name} {part}")),
        conclusion: check.conclusion,
        permission: None,
        expected: check.expected,
        found: check.found,
        command: command.clone(),
        elapsed: check.elapsed.unwrap_or(elapsed),
    };
    // Checks of a report are proofs of their own; all others are parts of one proof.
    let (named, parts): (Vec<ProofCheck>, Vec<ProofCheck>) =
        checks.into_iter().partition(|check| check.name.is_some());
    Ok(combine(parts).into_iter().chain(named).map(observe).collect())
}

fn without_emulator(name: String, model: &str) -> Observation {
    Observation {
        name,
        conclusion: Conclusion::NotMeasured,
        permission: Some(EMULATED_PROOFS),
        expected: format!("a run on the CPU model {model}"),
        found: "this machine has no qemu-user, and it cannot be fetched".into(),
        command: String::new(),
        elapsed: Duration::ZERO,
    }
}

/// One check out of several; only what is wrong, when something is.
fn combine(parts: Vec<ProofCheck>) -> Option<ProofCheck> {
    let wrong: Vec<ProofCheck> =
        parts.iter().filter(|part| part.conclusion != Conclusion::Holds).cloned().collect();
    let shown = if wrong.is_empty() { parts } else { wrong };
    let join = |text: fn(&ProofCheck) -> &str| shown.iter().map(text).collect::<Vec<_>>().join("; ");
    let conclusion = shown.first()?.conclusion;
    Some(ProofCheck {
        name: None,
        conclusion,
        expected: join(|check| &check.expected),
        found: join(|check| &check.found),
        elapsed: None,
    })
}

fn args_from(context: &ProofContext, from: &ArgsFrom) -> anyhow::Result<Vec<OsString>> {
    let path = context.root.join(&from.file);
    let document = read_json(&path)?;
    let malformed = |message: String| Diagnostic::new(&PROOF_INPUT, message).file(&path);
    let list = document
        .pointer(&from.list)
        .and_then(serde_json::Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| malformed(format!("`{}` is no list of at least one element", from.list)))?;
    let string = |(number, element): (usize, &serde_json::Value)| {
        let string = element.get(&from.field).and_then(serde_json::Value::as_str);
        let missing =
            || malformed(format!("element {number} of `{}` has no string `{}`", from.list, from.field));
        Ok(string.ok_or_else(missing)?.into())
    };
    list.iter().enumerate().map(string).collect()
}
