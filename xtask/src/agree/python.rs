//! A Python package in an environment of its own, in the cache. Nothing of it is needed for a release.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use release::failure::Failure;
use release::run::Job;
use release::toolchain::Site;

/// Installed once; `pip` is asked for the exact version.
pub fn environment(site: &Site, package: &str, version: &str, instead: &str) -> anyhow::Result<PathBuf> {
    let folder = site.store.root().join(format!("tools/{package}-{version}"));
    let python = folder.join("bin/python");
    if is_ready(&folder, version) {
        return Ok(python);
    }
    if site.offline {
        return Err(Failure::new(format!(
            "{package} {version} is not in the cache, and --offline forbids to fetch it"
        ))
        .hint(format!("run it once without --offline; {instead}"))
        .into());
    }
    let system = site.which("python3").ok_or_else(|| {
        Failure::new(format!("`python3` is not in PATH; {package} is a Python package"))
            .hint("apt-get install python3 python3-venv")
    })?;
    eprintln!("installing {package} {version}");
    let mut venv = site.command(&system);
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    site.runner.run(Job::new("make a Python environment", venv))?;
    let mut pip = site.command(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]);
    pip.arg("--only-binary=:all:").arg(format!("{package}=={version}"));
    site.runner.run(Job::new(format!("install {package} {version}"), pip))?;
    fs::write(folder.join("ready"), version).context("cannot write to the cache")?;
    Ok(python)
}

fn is_ready(folder: &Path, version: &str) -> bool {
    fs::read_to_string(folder.join("ready")).is_ok_and(|known| known == version)
}
