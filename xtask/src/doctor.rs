//! `cargo xtask doctor`: what a build needs, what is here, what would be fetched and from where.

use clap::Args as ClapArgs;
use release::plan::describe;
use release::surroundings::Commit;
use release::toolchain::{provide, survey_fetchers};

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Fetch what is missing into the cache, so that later runs can be `--offline`
    #[arg(long)]
    fetch: bool,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = args.common.config()?;
    if args.fetch {
        let setup = args.common.setup(None)?;
        let (plan, site) = (&setup.plan, &setup.site);
        provide(site, &config, &plan.target, plan.std)?;
        for library in &plan.native {
            release::native::fetch_source(site, library)?;
        }
        release::fixtures::variables(site, &config)?;
        release::cargo::fetch(plan, site)?;
    }
    let (site, surroundings) = args.common.site()?;
    let mut findings = args.common.survey(&site, &config);
    findings.extend(release::fixtures::survey(&site, &config));
    findings.extend(survey_fetchers(&site, &findings));
    let problems = surroundings.problems();
    let mut text = String::new();
    let mut line = |part: String| text.extend([part.as_str(), "\n"]);
    line(format!("cache     {}", surroundings.cache_dir.display()));
    line(format!("cores     {}", surroundings.cores));
    line(format!("commit    {}", commit(&surroundings.commit)));
    findings.iter().for_each(|finding| line(describe(finding)));
    for problem in &problems {
        line(format!(
            "IN THE WAY: {problem}\n{:<9} hint: {}",
            "",
            problem.fields().hint.clone().unwrap_or_default()
        ));
    }
    stdout::print(&text)?;
    let missing = findings.iter().filter(|finding| finding.is_missing()).count() + problems.len();
    if missing == 0 {
        return Ok(Outcome::Pass);
    }
    eprintln!("error: things that stand in the way of a build: {missing}");
    eprintln!("hint: each is marked above, with its remedy");
    Ok(Outcome::NotMeasured)
}

fn commit(commit: &Commit) -> String {
    match (commit.is_known(), commit.dirty) {
        (false, _) => {
            "unknown: no git, or this is not a checkout of its own; the manifest will say so".into()
        }
        (true, true) => format!("{}, with changes that are not committed", commit.id),
        (true, false) => commit.id.clone(),
    }
}
