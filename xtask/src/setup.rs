//! Flags that the verbs share, and the Plan that follows from them.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context;
use clap::{Args, ValueEnum};
use process::Runner;
use release::config::Config;
use release::context::BuildContext;
use release::host_env::HostEnv;
use release::inputs;
use release::plan::{CliOptions, Plan};
use release::resolution::StdPreference;

use crate::format::Format;
use crate::progress::{self, Color, Verbosity};

#[derive(Args, Clone)]
pub struct Common {
    /// Target triple; one of release.toml's `product.targets` [default: the first of them]
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Download nothing: use the machine and the cache
    #[arg(long)]
    pub offline: bool,
    /// Bound of all parallel work: compilers, packers, mutants, the gate [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// The folder that holds release.toml and Cargo.toml [default: this checkout]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The release description [default: release.toml of the workspace]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The cache of tools, sources and native builds [default: ~/.cache/muslin]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Source of the Rust standard library for musl
    #[arg(long, value_enum, default_value_t = RustStd::Auto)]
    pub rust_std: RustStd,
    /// A source archive of a native library on disk; its files are verified like those of a download
    #[arg(long, value_name = "LIBRARY=FILE", value_parser = library_and_file)]
    pub source: Vec<(String, PathBuf)>,
    /// Print only errors and the result
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print each command
    #[arg(long, short)]
    pub verbose: bool,
    /// Colours of messages; NO_COLOR is honoured
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// No effect: no verb changes Cargo.lock
    #[arg(long)]
    pub locked: bool,
    /// Format of the result and errors on stdout; with json the output of children goes to stderr
    #[arg(long, value_enum, default_value_t = Format::Human, global = true)]
    pub format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RustStd {
    /// The installed target, else `rustup target add`, else Debian's compiler and its source
    Auto,
    /// The rustup target only
    Installed,
    /// Debian's compiler and `-Zbuild-std` only
    BuildStd,
}

fn library_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((library, file)) if !library.is_empty() && !file.is_empty() => Ok((library.into(), file.into())),
        _ => Err("write LIBRARY=FILE, such as openblas=OpenBLAS-0.3.34.tar.gz".into()),
    }
}

/// The gate decodes machine code in the pool of rayon, which has a thread for each core unless a program sets its size. The size
/// is set once: all contexts of a verb have the same `--jobs`.
fn bound_thread_pool(jobs: usize) -> anyhow::Result<()> {
    static IS_BOUND: OnceLock<()> = OnceLock::new();
    if IS_BOUND.set(()).is_ok() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs);
        pool.build_global().context("starting the thread pool")?;
    }
    Ok(())
}

/// A decided run and its context.
pub struct Setup {
    pub plan: Plan,
    pub context: BuildContext,
}

/// The folder of the workspace: of the one that `cargo run` has started, otherwise of the one in which this xtask was compiled.
///
/// The two differ when a target folder was copied from another checkout: cargo takes the program in it as its own, because
/// the sources are the same.
#[expect(clippy::disallowed_methods, reason = "set by `cargo run`, and known before any context exists")]
pub fn workspace_root() -> PathBuf {
    let compiled = env!("CARGO_MANIFEST_DIR").into();
    let xtask: PathBuf = std::env::var_os("CARGO_MANIFEST_DIR").map_or(compiled, PathBuf::from);
    xtask.parent().map_or(xtask.clone(), std::path::Path::to_path_buf)
}

impl Common {
    pub fn config(&self) -> anyhow::Result<Config> {
        Config::load(&self.config.clone().unwrap_or_else(|| self.root().join("release.toml")))
    }

    /// The folder of the workspace that is released.
    pub fn root(&self) -> PathBuf {
        self.workspace.clone().unwrap_or_else(workspace_root)
    }

    /// A context without a plan: for verbs that only read or download.
    pub fn context(&self) -> anyhow::Result<(BuildContext, HostEnv)> {
        let mut host = HostEnv::read(&self.root(), self.cache_dir.clone())?;
        progress::set_color(self.color);
        let is_stdout_data = self.format == Format::Json;
        let verbosity = Verbosity { quiet: self.quiet, verbose: self.verbose, is_stdout_data };
        let runner = Runner::new(progress::events(verbosity))?;
        // cargo decides `auto` by its stderr, which is that of this process, and by NO_COLOR, which it does not receive.
        let color = if progress::style().color { "always" } else { "never" };
        host.environment.insert("CARGO_TERM_COLOR".into(), color.into());
        let jobs = self.jobs.map_or(host.cores, usize::from);
        bound_thread_pool(jobs)?;
        let context = BuildContext::new(&host, runner, self.offline, jobs)?;
        Ok((context, host))
    }

    pub fn std(&self) -> StdPreference {
        match self.rust_std {
            RustStd::Auto => StdPreference::Auto,
            RustStd::Installed => StdPreference::Installed,
            RustStd::BuildStd => StdPreference::BuildStd,
        }
    }

    /// What the command line chooses.
    pub fn options(
        &self,
        dist_dir: Option<PathBuf>,
        baseline: Option<PathBuf>,
    ) -> anyhow::Result<CliOptions> {
        let sources =
            self.source.iter().map(|(library, file)| Ok((library.clone(), std::path::absolute(file)?)));
        Ok(CliOptions {
            target: self.target.clone(),
            jobs: self.jobs.map(usize::from),
            dist_dir,
            std: self.std(),
            sources: sources.collect::<std::io::Result<_>>().context("the file of `--source`")?,
            baseline,
            quiet: self.quiet,
        })
    }

    pub fn setup(&self, dist_dir: Option<PathBuf>) -> anyhow::Result<Setup> {
        self.setup_with_baseline(dist_dir, None)
    }

    /// With the manifest of the previous release.
    pub fn setup_with_baseline(
        &self,
        dist_dir: Option<PathBuf>,
        baseline: Option<PathBuf>,
    ) -> anyhow::Result<Setup> {
        let config = self.config()?;
        let (context, host) = self.context()?;
        let options = self.options(dist_dir, baseline)?;
        let inputs = inputs::read(&config, &host, &options, &context)?;
        Ok(Setup { plan: Plan::new(config, &host, &options, inputs)?, context })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        common: Common,
    }

    #[test]
    fn jobs_bound_the_pool_in_which_the_gate_decodes() {
        let Flags { common } = Flags::parse_from(["xtask", "--jobs", "3", "--quiet"]);
        for _ in 0..2 {
            common.context().unwrap();
        }
        assert_eq!(rayon::current_num_threads(), 3);
    }
}
