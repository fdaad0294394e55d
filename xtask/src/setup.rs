//! Flags that the verbs share, and the way from them to a Plan.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use patchset::Vendored;
use process::Runner;
use release::config::Config;
use release::plan::{Choices, Plan};
use release::sources;
use release::surroundings::Surroundings;
use release::toolchain::{Asked, Finding, Site, StdPreference, survey, survey_fetchers};
use store::Store;

#[derive(Args, Clone)]
pub struct Common {
    /// What to build for; one of release.toml's `product.targets` [default: the first of them]
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Use only what is on this machine and in the cache
    #[arg(long)]
    pub offline: bool,
    /// Compilers that may run at once, for make and cargo together [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// The folder that holds release.toml and Cargo.toml [default: this checkout]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The release description [default: release.toml of the workspace]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where tools, sources and native builds are kept [default: ~/.cache/muslin]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Where the standard library for musl comes from
    #[arg(long, value_enum, default_value_t = RustStd::Auto)]
    pub rust_std: RustStd,
    /// A source tarball of a native library that is on disk already; its files are verified all the same
    #[arg(long, value_name = "LIBRARY=FILE", value_parser = library_and_file)]
    pub source: Vec<(String, PathBuf)>,
    /// Print nothing but errors and the result
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print each command before it is run
    #[arg(long, short)]
    pub verbose: bool,
    /// Colours of cargo's messages; ours have none
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Accepted for habit's sake: Cargo.lock is never changed by any verb
    #[arg(long)]
    pub locked: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
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

/// The decided run: what to do, and where.
pub struct Setup {
    pub plan: Plan,
    pub site: Site,
}

/// The folder of the workspace that this xtask was compiled in.
pub fn workspace_root() -> PathBuf {
    let xtask = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

impl Common {
    pub fn config(&self) -> anyhow::Result<Config> {
        Config::load(&self.config.clone().unwrap_or_else(|| self.root().join("release.toml")))
    }

    /// The folder of the workspace that is released.
    pub fn root(&self) -> PathBuf {
        self.workspace.clone().unwrap_or_else(workspace_root)
    }

    /// A site without a plan: for verbs that only look or fetch.
    pub fn site(&self) -> anyhow::Result<(Site, Surroundings)> {
        let mut surroundings = Surroundings::read(&self.root(), self.cache_dir.clone())?;
        let runner = Runner::new(crate::progress::events(self.verbose))?;
        // cargo decides `auto` by its own stderr, which is ours.
        if let Some(color) = match self.color {
            Color::Auto => None,
            Color::Always => Some("always"),
            Color::Never => Some("never"),
        } {
            surroundings.environment.insert("CARGO_TERM_COLOR".into(), color.into());
        }
        let site = Site {
            store: Store::new(surroundings.cache_dir.clone(), runner.clone()),
            runner,
            environment: surroundings.environment.clone(),
            asked: Asked::default(),
            offline: self.offline,
        };
        Ok((site, surroundings))
    }

    pub fn std(&self) -> StdPreference {
        match self.rust_std {
            RustStd::Auto => StdPreference::Auto,
            RustStd::Installed => StdPreference::Installed,
            RustStd::BuildStd => StdPreference::BuildStd,
        }
    }

    /// What `dist` needs; `doctor` adds what only tests need.
    pub fn survey(&self, site: &Site, config: &Config) -> Vec<Finding> {
        let target = self.target.as_ref().unwrap_or(&config.product.targets[0]);
        let mut findings = survey(site, config, target, self.std());
        // A vendor folder that cannot be read is told by the plan.
        for (name, library) in &config.native {
            if let Ok(vendored) = Vendored::read(&self.root().join(&library.vendor)) {
                let named =
                    self.source.iter().find(|(library, _)| library == name).map(|(_, file)| file.as_path());
                findings.push(sources::survey(site, &vendored.manifest, named));
            }
        }
        findings
    }

    pub fn setup(&self, dist_dir: Option<PathBuf>) -> anyhow::Result<Setup> {
        self.setup_after(dist_dir, None)
    }

    /// With the manifest of the release before.
    pub fn setup_after(&self, dist_dir: Option<PathBuf>, previous: Option<PathBuf>) -> anyhow::Result<Setup> {
        let config = self.config()?;
        let (site, surroundings) = self.site()?;
        let mut tools = self.survey(&site, &config);
        tools.extend(survey_fetchers(&site, &tools));
        let choices = Choices {
            target: self.target.clone(),
            jobs: self.jobs.map(usize::from),
            dist_dir,
            std: self.std(),
            sources: self
                .source
                .iter()
                .map(|(library, file)| Ok((library.clone(), std::path::absolute(file)?)))
                .collect::<std::io::Result<_>>()
                .context("the file of `--source`")?,
            previous,
            quiet: self.quiet,
        };
        Ok(Setup { plan: Plan::new(config, &surroundings, choices, tools)?, site })
    }
}
