//! Runs and judges the edited copies of one program.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use diag::Diagnostic;
use process::sandbox::{End, Program, Ran, Sandbox};
use release::context::BuildContext;

use super::codes::ORIGINAL_FAILS;
use super::edits::Edit;
use super::test_program::{Judgement, Rules, TestProgram};

/// Time of one run. A run that needs processor time is ended earlier by the sandbox.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the kernel made of an edited copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Exit status and output are those of the original.
    Same,
    /// The kernel does not execute it, or it ends by a signal or a time limit.
    Fails(String),
    /// It ends by itself with another exit status or another output.
    Differs(String),
}

/// One edit with both answers.
pub struct Observation<'a> {
    pub edit: &'a Edit,
    pub start: Start,
    pub judgement: Judgement,
}

/// Runs and judges every edit, on at most as many threads as there are jobs.
pub fn observe<'a>(
    context: &BuildContext,
    program: &TestProgram,
    edits: &'a [Edit],
    rules: Rules,
) -> anyhow::Result<Vec<Observation<'a>>> {
    let next = AtomicUsize::new(0);
    let observations = Mutex::new(Vec::with_capacity(edits.len()));
    let worker = |_| -> anyhow::Result<()> {
        let (mut sandbox, original) = start(program)?;
        let mut bytes = program.bytes.clone();
        while let Some((index, edit)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            edits.get(index).map(|edit| (index, edit))
        } {
            context.runner.check()?;
            let start = start_of(&mut sandbox, edit, &original)?;
            let undo = edit.apply(&mut bytes);
            let judgement = program.gate.judge(&bytes, rules);
            undo.apply(&mut bytes);
            let mut observations = observations.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
            observations.push((index, Observation { edit, start, judgement }));
        }
        Ok(())
    };
    let workers = context.jobs.count().min(edits.len()).max(1);
    context.jobs.map(workers, worker).into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    let mut observations = observations.into_inner().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    observations.sort_by_key(|(index, _)| *index);
    Ok(observations.into_iter().map(|(_, observation)| observation).collect())
}

fn sandbox(program: &TestProgram) -> anyhow::Result<Sandbox> {
    let mut server = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    server.arg(super::SANDBOX_VERB).arg("--");
    Ok(Sandbox::start(server, &Program { file: &program.path, args: &program.args, timeout: TIMEOUT })?)
}

/// How a copy in a file of its own starts, compared with the original.
pub fn start_of_copy(copy: &TestProgram, original: &Ran) -> anyhow::Result<Start> {
    Ok(compare(&sandbox(copy)?.run(&[])?, original))
}

/// A sandbox with the program, and the run of the original in it.
pub fn start(program: &TestProgram) -> anyhow::Result<(Sandbox, Ran)> {
    let mut sandbox = sandbox(program)?;
    let original = sandbox.run(&[])?;
    let text = String::from_utf8_lossy(&original.stdout);
    // A second run shows that the output does not change by itself.
    let is_stable = sandbox.run(&[])? == original;
    if !matches!(original.end, End::Exited(_)) || !text.contains(&program.contains) || !is_stable {
        let mut command = Command::new(&program.path);
        command.args(&program.args);
        return Err(Diagnostic::new(&ORIGINAL_FAILS, "an unchanged program does not start in the sandbox")
            .file(&program.path)
            .expected(format!("`{}` in its output, the same at each run", program.contains))
            .found(describe(&original))
            .hint(format!("to run it by hand: env -i {}", process::quote(&command)))
            .into());
    }
    Ok((sandbox, original))
}

fn start_of(sandbox: &mut Sandbox, edit: &Edit, original: &Ran) -> anyhow::Result<Start> {
    let mut ran = sandbox.run(&edit.patches)?;
    if ran.end == End::TimedOut {
        // On a busy machine a correct program can be late once.
        ran = sandbox.run(&edit.patches)?;
    }
    Ok(compare(&ran, original))
}

fn compare(ran: &Ran, original: &Ran) -> Start {
    if *ran == *original {
        return Start::Same;
    }
    match ran.end {
        End::Exited(_) => Start::Differs(describe(ran)),
        _ => Start::Fails(describe(ran)),
    }
}

fn describe(ran: &Ran) -> String {
    match &ran.end {
        End::Exited(code) => {
            let text = String::from_utf8_lossy(&ran.stdout);
            format!("exit status {code}, output `{}`", text.lines().next().unwrap_or_default())
        }
        End::Killed(signal) => format!("signal {signal}"),
        End::TimedOut => format!("still running after {} s", TIMEOUT.as_secs()),
        End::NotStarted(error) => {
            format!("not executed: {}", std::io::Error::from_raw_os_error(*error))
        }
    }
}
