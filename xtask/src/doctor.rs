//! `cargo xtask doctor`: what a build needs, what the machine and the cache have, and what a build would download.

use clap::Args as ClapArgs;
use diag::Diagnostics;
use release::host_env::Commit;
use release::resolution::Summary;
use release::stages::{sources, toolchain};
use release::{fixtures, inputs};
use serde_json::json;

use crate::Outcome;
use crate::format;
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Download what is missing into the cache, so that later runs can be `--offline`
    #[arg(long)]
    fetch: bool,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.fetch {
        fetch(&args.common)?;
    }
    let config = args.common.config()?;
    let (context, host) = args.common.context()?;
    let options = args.common.options(None, None)?;
    let inputs = inputs::read(&config, &host, &options, &context)?;
    let mut rows = inputs.tools.summaries();
    let fixtures = fixtures::probe(&context, &config);
    rows.extend(release::fetch::probe_fetchers(&context, &fixtures));
    rows.extend(fixtures);
    rows.dedup_by(|a, b| a.name == b.name && a.name != "source" && a.name != "fixture");

    let mut text = format!("cache     {}\n", host.cache_dir.display());
    text += &format!("cores     {}\n", host.cores);
    text += &format!("commit    {}\n", commit(&host.commit));
    for row in &rows {
        text += &format!("{row}\n");
    }
    let problems: Diagnostics =
        host.problems().into_iter().chain(rows.iter().filter_map(Summary::problem).cloned()).collect();
    let document = json!({
        "cache": host.cache_dir,
        "cores": host.cores,
        "commit": { "id": host.commit.id, "dirty": host.commit.dirty },
        "needs": rows,
        "diagnostics": problems,
    });
    format::print(args.common.format, || text, document)?;
    Ok(format::problems(problems))
}

fn fetch(common: &Common) -> anyhow::Result<()> {
    let setup = common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    toolchain::install(plan, context)?;
    for library in &plan.native {
        if let Some(resolution) = plan.tools.sources.get(&library.name) {
            sources::install(context, &library.vendored.manifest, resolution)?;
        }
    }
    fixtures::variables(context, &plan.config)?;
    release::cargo::fetch(plan, context)
}

fn commit(commit: &Commit) -> String {
    match (commit.is_known(), commit.dirty) {
        (false, _) => {
            "unknown: git is missing, or this is no checkout; the manifest records `unknown`".into()
        }
        (true, true) => format!("{}, with uncommitted changes", commit.id),
        (true, false) => commit.id.clone(),
    }
}
