//! A Rust compiler with a standard library for musl: the rustup target when it is installed or can be added, else
//! Debian's `rustc-web` with its own source and `-Zbuild-std`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{Fetcher, Finding, Origin, Site, apt, offline};
use diag::Diagnostic;
use process::Task;
use store::{Entry, Record};

const ENTRY: &str = "tools/rust-debian";
const WRAPPER: &str = "rustc";
const RUSTDOC_WRAPPER: &str = "rustdoc";
const PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "libstd-rust-web-*"];

/// How to call cargo for the product.
#[derive(Debug, Clone, Serialize)]
pub struct Rust {
    #[serde(skip)]
    pub cargo: PathBuf,
    #[serde(skip)]
    pub rustc: PathBuf,
    /// `rustc --version`.
    pub version: String,
    pub std: StdOrigin,
    /// Added to cargo's arguments and environment.
    pub cargo_args: Vec<String>,
    #[serde(skip)]
    pub cargo_env: BTreeMap<String, String>,
    /// Added to the plan's: a std that is compiled here must not bring the paths of this machine along.
    pub rustflags: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StdOrigin {
    /// The target is installed beside the compiler that is in PATH.
    Installed,
    /// Compiled from the source that belongs to Debian's compiler.
    BuildStd,
}

/// Which of the ways to take; `Auto` takes the first that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdPreference {
    #[default]
    Auto,
    Installed,
    BuildStd,
}

fn installed(site: &Site, target: &str) -> Option<Rust> {
    let (cargo, rustc) = (site.which("cargo")?, site.which("rustc")?);
    let mut ask = site.command(&rustc);
    ask.args(["--print", "target-libdir", "--target", target]);
    let folder = PathBuf::from(site.ask("ask rustc for its libraries", ask)?);
    let has_std = std::fs::read_dir(folder).ok()?.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    });
    let version = site.version_line(&rustc, "--version")?;
    has_std.then(|| Rust {
        cargo,
        rustc,
        version,
        std: StdOrigin::Installed,
        cargo_args: Vec::new(),
        cargo_env: BTreeMap::new(),
        rustflags: Vec::new(),
    })
}

fn from_entry(site: &Site, entry: &Entry) -> anyhow::Result<Rust> {
    let cargo = site.which("cargo").ok_or_else(|| {
        Diagnostic::new(&crate::GENERAL, "`cargo` is not in PATH")
            .hint("install Rust: rustup, or Debian's package `cargo-web`")
    })?;
    let rustc = entry.path.join(WRAPPER);
    let version =
        site.version_line(&rustc, "--version").context("Debian's rustc does not run on this machine")?;
    // Features of the compiler that its own source needs; without this a stable rustc refuses them.
    let mut env = vec![("RUSTC", rustc.to_string_lossy().into_owned()), ("RUSTC_BOOTSTRAP", "1".into())];
    // Documentation tests are compiled by rustdoc itself, so it must be of the same build as the std.
    let rustdoc = entry.path.join(RUSTDOC_WRAPPER);
    if rustdoc.is_file() {
        env.push(("RUSTDOC", rustdoc.to_string_lossy().into_owned()));
    }
    Ok(Rust {
        cargo,
        rustc,
        version,
        std: StdOrigin::BuildStd,
        cargo_args: vec!["-Zbuild-std=std,panic_unwind,test".into()],
        cargo_env: env.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        rustflags: vec![format!("--remap-path-prefix={}=/rust-debian", entry.path.display())],
    })
}

pub fn survey(site: &Site, target: &str, preference: StdPreference) -> Finding {
    let name = "rust-std";
    // Each way needs cargo; to speak of a missing target would send people the wrong way.
    if site.which("cargo").is_none() {
        return Finding::Missing {
            name,
            problem: "`cargo` is not in PATH".into(),
            hint: "install Rust with rustup, or have ~/.cargo/bin in PATH".into(),
        };
    }
    if preference != StdPreference::BuildStd
        && let Some(rust) = installed(site, target)
    {
        return Finding::Ready { name, version: rust.version, path: rust.rustc, origin: Origin::Machine };
    }
    if preference != StdPreference::Installed
        && let Some(rust) = site.store.find(ENTRY).and_then(|entry| from_entry(site, &entry).ok())
    {
        return Finding::Ready { name, version: rust.version, path: rust.rustc, origin: Origin::Cache };
    }
    let hint = format!("rustup target add {target}");
    if site.offline {
        return Finding::Missing {
            name,
            problem: format!("no standard library for {target}, and `--offline` is set"),
            hint,
        };
    }
    let rustup = site.which("rustup").is_some() && preference != StdPreference::BuildStd;
    let apt = site.which("apt-get").is_some() && preference != StdPreference::Installed;
    let from = match (rustup, apt) {
        (true, true) => format!("`rustup target add {target}`, else Debian's `rustc-web` and its source"),
        (true, false) => format!("`rustup target add {target}`"),
        (false, true) => "Debian's `rustc-web` and its source".into(),
        (false, false) => {
            return Finding::Missing { name, problem: format!("no standard library for {target}"), hint };
        }
    };
    let with = if rustup { Fetcher::Rustup } else { Fetcher::Apt };
    Finding::WouldFetch { name, version: "as the source has it".into(), from, with }
}

pub fn provide(site: &Site, target: &str, preference: StdPreference) -> anyhow::Result<Rust> {
    let mut tried = Vec::new();
    if preference != StdPreference::BuildStd {
        if let Some(rust) = installed(site, target) {
            return Ok(rust);
        }
        if site.which("rustup").is_some() && !site.offline {
            eprintln!("adding the Rust target {target}");
            match add_target(site, target)
                .and_then(|()| installed(site, target).context("added, and still not there"))
            {
                Ok(rust) => return Ok(rust),
                Err(error) => tried.push(format!("rustup target add {target}: {error:#}")),
            }
        }
    }
    if preference != StdPreference::Installed {
        match from_debian(site) {
            Ok(rust) => return Ok(rust),
            Err(error) => tried.push(format!("Debian's rustc-web: {error:#}")),
        }
    }
    Err(Diagnostic::new(&crate::GENERAL, format!("no Rust standard library for {target}"))
        .expected(
            "one of: the target installed in rustup; `rustup target add`; Debian's rustc-web with its source",
        )
        .found(if tried.is_empty() { "none of them".into() } else { tried.join("\n") })
        .hint(format!("rustup target add {target}"))
        .into())
}

fn add_target(site: &Site, target: &str) -> anyhow::Result<()> {
    let mut add = site.command("rustup");
    add.args(["target", "add", target]);
    site.runner.run(Task::new(format!("add the target {target}"), add)).map(|_| ())
}

fn from_debian(site: &Site) -> anyhow::Result<Rust> {
    if site.offline && site.store.find(ENTRY).is_none() {
        return Err(offline("a Rust std for musl"));
    }
    let entry = site.store.get_or_create(ENTRY, |staging| {
        let packages = apt::fetch_matched(site, staging, &PACKAGES)?;
        // Compiler and source must be of one build: std uses what its own compiler has.
        let versions: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
        if versions.iter().any(|version| *version != versions[0]) {
            return Err(Diagnostic::new(
                &crate::GENERAL,
                "Debian's compiler and its source do not match today",
            )
            .found(packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            .hint("try again later, or: rustup target add x86_64-unknown-linux-musl")
            .into());
        }
        prune_source(&staging.join("usr/src"))?;
        let mut record = Record::default();
        for (wrapper, program) in [(WRAPPER, "rustc"), (RUSTDOC_WRAPPER, "rustdoc")] {
            let script = format!(
                "#!/bin/sh\nhere=$(dirname \"$0\")\n\
                 LD_LIBRARY_PATH=\"$here/usr/lib:$here/usr/lib/$(uname -m)-linux-gnu\" \
                 exec \"$here/usr/bin/{program}\" \"$@\"\n"
            );
            std::fs::write(staging.join(wrapper), script)?;
            std::fs::set_permissions(staging.join(wrapper), std::fs::Permissions::from_mode(0o755))?;
        }
        record
            .add_file(staging, WRAPPER)?
            .add_file(staging, RUSTDOC_WRAPPER)?
            .add_file(staging, "usr/bin/rustc")?;
        for package in packages {
            record.set_note(&package.name, package.version.clone());
        }
        Ok(record)
    })?;
    from_entry(site, &entry)
}

/// The source package holds the whole compiler; only `library` is compiled.
fn prune_source(sources: &Path) -> anyhow::Result<()> {
    for tree in std::fs::read_dir(sources).with_context(|| format!("reading {}", sources.display()))? {
        for entry in std::fs::read_dir(tree?.path())? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "library") {
                std::fs::remove_dir_all(&path)?;
            }
        }
    }
    Ok(())
}
