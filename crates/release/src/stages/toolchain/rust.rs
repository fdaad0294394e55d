//! A Rust compiler with a standard library for musl: the rustup target when it is installed or can be added, else
//! Debian's `rustc-web` with its own source and `-Zbuild-std`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::codes::{FETCH_FAILED, TOOL_MISSING};
use crate::context::BuildContext;
use crate::fetch::apt;
use crate::resolution::{Fetch, Fetcher, Pin, Resolution, Rust, StdOrigin, StdPreference};
use diag::Diagnostic;
use process::Task;
use store::{CacheEntry, Record};

const NAME: &str = "rust-std";
const ENTRY: &str = "tools/rust-debian";
const WRAPPER: &str = "rustc";
const RUSTDOC_WRAPPER: &str = "rustdoc";
const PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "libstd-rust-web-*"];

fn installed(context: &BuildContext, target: &str) -> Option<Rust> {
    let (cargo, rustc) = (context.which("cargo")?, context.which("rustc")?);
    let mut query = context.command(&rustc);
    query.args(["--print", "target-libdir", "--target", target]);
    let output = context.runner.run(Task::new("query the library folder of rustc", query)).ok()?;
    let folder = PathBuf::from(output.stdout_text());
    let has_std = std::fs::read_dir(folder).ok()?.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    });
    let version = context.version_line(&rustc, "--version")?;
    has_std.then(|| Rust {
        cargo,
        rustc,
        version,
        std: StdOrigin::Installed,
        cargo_args: Vec::new(),
        cargo_env: BTreeMap::new(),
        rustflags: Vec::new(),
        entry: None,
    })
}

fn from_entry(context: &BuildContext, entry: CacheEntry) -> anyhow::Result<Rust> {
    let cargo = context.which("cargo").ok_or_else(|| {
        Diagnostic::new(&TOOL_MISSING, "`cargo` is not in PATH")
            .hint("install Rust with rustup, or Debian's package `cargo-web`")
    })?;
    let rustc = entry.path.join(WRAPPER);
    let version =
        context.version_line(&rustc, "--version").context("Debian's rustc does not run on this machine")?;
    // The source of the compiler uses unstable features, which a stable rustc refuses without this variable.
    let mut env = vec![("RUSTC", rustc.to_string_lossy().into_owned()), ("RUSTC_BOOTSTRAP", "1".into())];
    // rustdoc compiles documentation tests, so it must be of the same build as the std.
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
        entry: Some(entry),
    })
}

pub(super) fn probe(context: &BuildContext, target: &str, preference: StdPreference) -> Resolution<Rust> {
    let missing = |message: String, hint: String| Resolution::Missing {
        problem: Diagnostic::new(&TOOL_MISSING, message).rule(NAME).hint(hint),
    };
    // Every way needs cargo; a message about a missing target would mislead.
    if context.which("cargo").is_none() {
        return missing(
            "`cargo` is not in PATH".into(),
            "install Rust with rustup, or add ~/.cargo/bin to PATH".into(),
        );
    }
    if preference != StdPreference::BuildStd
        && let Some(rust) = installed(context, target)
    {
        return Resolution::Use(rust);
    }
    if preference != StdPreference::Installed
        && let Some(rust) = context.store.find(ENTRY).and_then(|entry| from_entry(context, entry).ok())
    {
        return Resolution::Use(rust);
    }
    let hint = format!("rustup target add {target}");
    if context.offline {
        return missing(format!("no standard library for {target}, and `--offline` is set"), hint);
    }
    let rustup = context.which("rustup").is_some() && preference != StdPreference::BuildStd;
    let debian = context.which("apt-get").is_some() && preference != StdPreference::Installed;
    let from = match (rustup, debian) {
        (true, true) => format!("`rustup target add {target}`, else Debian's `rustc-web` and its source"),
        (true, false) => format!("`rustup target add {target}`"),
        (false, true) => "Debian's `rustc-web` and its source".into(),
        (false, false) => return missing(format!("no standard library for {target}"), hint),
    };
    Resolution::Fetch(Fetch {
        version: "of the source".into(),
        from,
        with: if rustup { Fetcher::Rustup } else { Fetcher::Apt },
        pin: Pin::RustStd { target: target.into(), rustup, debian },
    })
}

pub(super) fn install(context: &BuildContext, resolution: &Resolution<Rust>) -> anyhow::Result<Rust> {
    let (target, rustup, debian) = match resolution {
        Resolution::Use(rust) => {
            super::hold(context, rust.entry.as_ref())?;
            return Ok(rust.clone());
        }
        Resolution::Missing { problem } => return Err(problem.clone().into()),
        Resolution::Fetch(Fetch { pin: Pin::RustStd { target, rustup, debian }, .. }) => {
            (target, *rustup, *debian)
        }
        Resolution::Fetch(fetch) => anyhow::bail!("{} is no Rust standard library", fetch.from),
    };
    let mut failed = Vec::new();
    if rustup {
        context.events().step(format!("adding the Rust target {target}"));
        match add_target(context, target).and_then(|()| {
            installed(context, target).context("the target is added and rustc does not find it")
        }) {
            Ok(rust) => return Ok(rust),
            Err(error) => failed.push(format!("rustup target add {target}: {error:#}")),
        }
    }
    if debian {
        match from_debian(context) {
            Ok(rust) => return Ok(rust),
            Err(error) => failed.push(format!("Debian's rustc-web: {error:#}")),
        }
    }
    context.runner.check()?;
    let problem = Diagnostic::new(&FETCH_FAILED, format!("no Rust standard library for {target}"))
        .rule(NAME)
        .expected(
            "one of: the target installed in rustup; `rustup target add`; Debian's rustc-web with its source",
        )
        .hint(format!("rustup target add {target}"));
    Err(failed.into_iter().fold(problem, Diagnostic::cause).into())
}

fn add_target(context: &BuildContext, target: &str) -> anyhow::Result<()> {
    let mut add = context.command("rustup");
    add.args(["target", "add", target]);
    context.runner.run(Task::new(format!("add the target {target}"), add)).map(|_| ())
}

fn from_debian(context: &BuildContext) -> anyhow::Result<Rust> {
    let entry = context.store.get_or_create(ENTRY, |staging| {
        let packages = apt::fetch_matched(context, staging, &PACKAGES)?;
        // Compiler and source must be of one build: std uses features of exactly its compiler.
        let versions: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
        if versions.iter().any(|version| *version != versions[0]) {
            return Err(Diagnostic::new(
                &FETCH_FAILED,
                "Debian's compiler and its source have different versions at present",
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
    from_entry(context, entry)
}

/// Keeps `library`; the rest of the source package is the compiler, which is not compiled.
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
