//! `cargo xtask lint`: format and lints over the whole workspace. Both run, so that one report has everything.

use clap::Args as ClapArgs;
use process::Task;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (site, _) = args.common.site()?;
    let steps: [(&str, &[&str]); 2] = [
        ("check the format", &["fmt", "--all", "--check"]),
        (
            "run clippy",
            &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"],
        ),
    ];
    let mut violated = false;
    for (what, arguments) in steps {
        let mut cargo = site.command("cargo");
        cargo.current_dir(workspace_root()).args(arguments);
        let finished = site.runner.output(Task::new(what, cargo).inherit_stderr(true).tee_stdout())?;
        if !finished.status.success() {
            violated = true;
            eprintln!("error: could not {what}: exit code {}", finished.shell_code());
            eprintln!("hint: cargo {}", arguments.join(" ").replace(" --check", ""));
        }
    }
    Ok(if violated { Outcome::Violated } else { Outcome::Pass })
}
