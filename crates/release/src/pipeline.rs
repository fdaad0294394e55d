//! `cargo xtask dist`, to be read from top to bottom.

use std::fs::File;
use std::path::Path;

use process::Runner;

use crate::context::BuildContext;
use crate::plan::Plan;
use crate::stage::{StageId, StageTimes};
use crate::stages::mutation::{self, DamagedPack};
use crate::stages::pack::{self, Packed};
use crate::stages::publish::{self, Release};
use crate::stages::strip::{self, Stripped};
use crate::stages::{image, link, native, prove, sources, toolchain};

/// Every stage of [`crate::stage::STAGES`], in that order.
pub fn dist(plan: &Plan, context: &BuildContext, times: &mut StageTimes) -> anyhow::Result<Release> {
    let _lock = lock(&plan.paths.work, &context.runner)?;
    let events = context.events();
    let (packed, damaged) = build_packed(plan, context, times)?;
    let tested =
        times.measure(events, StageId::Mutation, || mutation::test(plan, context, packed, &damaged))?;
    let proved = times.measure(events, StageId::Prove, || prove::prove(plan, context, tested))?;
    let image = times.measure(events, StageId::Image, || image::build(plan, proved))?;
    context.runner.check()?;
    times.measure(events, StageId::Publish, || publish::publish(plan, context, image))
}

/// Up to the packed file, for verbs that test or run it.
pub fn packed(plan: &Plan, context: &BuildContext, times: &mut StageTimes) -> anyhow::Result<Packed> {
    let _lock = lock(&plan.paths.work, &context.runner)?;
    build_packed(plan, context, times).map(|(packed, _)| packed)
}

fn build_packed(
    plan: &Plan,
    context: &BuildContext,
    times: &mut StageTimes,
) -> anyhow::Result<(Packed, DamagedPack)> {
    plan.check_tools()?;
    let events = context.events();
    let toolchain = times.measure(events, StageId::Toolchain, || toolchain::install(plan, context))?;
    let sources = times.measure(events, StageId::Sources, || sources::fetch(plan, context, toolchain))?;
    let native = times.measure(events, StageId::Native, || native::build(plan, context, sources))?;
    let linked = times.measure(events, StageId::Link, || link::link(plan, context, native))?;
    let stripped = times.measure(events, StageId::Strip, || strip::strip(plan, context, linked))?;
    times.measure(events, StageId::Pack, || pack_both(plan, context, stripped))
}

/// The file that ships, and in parallel the damaged copy that the gate must reject.
fn pack_both(
    plan: &Plan,
    context: &BuildContext,
    stripped: Stripped,
) -> anyhow::Result<(Packed, DamagedPack)> {
    let (damaged, compressed) = context.jobs.join(
        || mutation::pack_damaged(plan, context, &stripped),
        || pack::compress(plan, context, &stripped),
    );
    Ok((pack::pack(plan, stripped, compressed?)?, damaged?))
}

/// One run at a time uses the work folder and `dist/`; a second one waits.
fn lock(work: &Path, runner: &Runner) -> anyhow::Result<File> {
    std::fs::create_dir_all(work).map_err(|error| store::cannot_write(work, error))?;
    store::lock_exclusive(&work.join(".lock"), runner)
}
