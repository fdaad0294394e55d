//! qemu-user: runs the packed file on processors that the build machine is not. Debian carries it as a static program in
//! `qemu-user` from version 10 on, in backports where the suite itself is too old.

use std::fs;
use std::path::Path;

use anyhow::Context;
use diag::Diagnostic;
use store::{CacheEntry, Digest, Record};

use super::offline;
use crate::codes::{TOOL_MISSING, TOOL_UNUSABLE};
use crate::context::BuildContext;
use crate::fetch::apt;
use crate::resolution::{EMULATOR, Fetch, Fetcher, Origin, Pin, Resolution, Tool};

/// AVX and AVX2 are emulated since 7.2. Older versions end every program that uses them with SIGILL.
const VERSION_MIN: (u32, u32) = (7, 2);
/// `qemu-user` of Debian is linked statically since 10.
const SERIES: &str = "10";
const PACKAGE: &str = "qemu-user";
const PROGRAM: &str = "qemu-x86_64";
const ENTRY: &str = "tools/qemu-user-10";
const HINT: &str = "install qemu-user 7.2 or later with `qemu-x86_64` in PATH, or allow releases without these proofs: \
                    `emulated` in [prove.allow_not_measured]";

/// `qemu-x86_64 version 7.2.22 (Debian 1:7.2+dfsg-7)` -> `7.2.22`
fn version_in(line: &str) -> Option<&str> {
    line.split_once(" version ")?.1.split_whitespace().next()
}

/// Whether a version emulates AVX2.
fn is_suitable(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= VERSION_MIN
}

/// The version of a Debian package without epoch and packaging: `1:10.0.2+ds-2` -> `10.0.2`.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

fn on_machine(context: &BuildContext) -> Option<Tool> {
    let (path, version) = [PROGRAM, "qemu-x86_64-static"]
        .iter()
        .filter_map(|name| context.which(name))
        .filter_map(|path| {
            let line = context.version_line(&path, "--version")?;
            Some((path, version_in(&line)?.to_owned()))
        })
        .find(|(_, version)| is_suitable(version))?;
    let sha256 = Digest::of_file(&path).ok()?;
    Some(Tool { name: EMULATOR, version, path, sha256, origin: Origin::Machine, entry: None })
}

fn from_entry(entry: CacheEntry) -> Option<Tool> {
    Some(Tool {
        name: EMULATOR,
        version: entry.record.notes.get("version")?.clone(),
        path: entry.path.join(PROGRAM),
        sha256: entry.record.files.get(PROGRAM)?.clone(),
        origin: Origin::Cache,
        entry: Some(entry),
    })
}

pub(super) fn probe(context: &BuildContext) -> Resolution<Tool> {
    match on_machine(context).or_else(|| from_entry(context.store.find(ENTRY)?)) {
        Some(tool) => Resolution::Use(tool),
        None if context.offline => {
            Resolution::Missing { problem: offline(EMULATOR, "qemu-user", ", or install qemu-user") }
        }
        None if context.which("apt-get").is_none() => Resolution::Missing {
            problem: Diagnostic::new(
                &TOOL_MISSING,
                "qemu-user is not installed and not in the cache, and the machine has no apt",
            )
            .rule(EMULATOR)
            .hint(HINT),
        },
        None => Resolution::Fetch(Fetch {
            version: format!("{SERIES}.x"),
            from: "the Debian package `qemu-user`, from the suites of this machine or its backports".into(),
            with: Fetcher::Apt,
            pin: Pin::DebianPackage { package: PACKAGE.into(), series: SERIES.into() },
        }),
    }
}

pub(super) fn install(context: &BuildContext, resolution: &Resolution<Tool>) -> anyhow::Result<Tool> {
    let Resolution::Fetch(Fetch { pin: Pin::DebianPackage { package, series }, .. }) = resolution else {
        return super::installed(context, resolution);
    };
    let entry = context.store.get_or_create(ENTRY, |staging| {
        let fits = |version: &str| upstream(version).split('.').next() == Some(series.as_str());
        let package = apt::fetch_binary(context, staging, package, &fits)?;
        keep_program(staging)?;
        let line = context.version_line(&staging.join(PROGRAM), "--version");
        let version = line.as_deref().and_then(version_in).ok_or_else(|| {
            Diagnostic::new(
                &TOOL_UNUSABLE,
                format!("{} {} does not run on this machine", package.name, package.version),
            )
            .hint(HINT)
        })?;
        let mut record = Record::default();
        record
            .add_file(staging, PROGRAM)?
            .set_note("version", version)
            .set_note("package", package.to_string());
        Ok(record)
    })?;
    from_entry(entry).context("the new cache entry of qemu-user is incomplete")
}

/// The package has emulators for 40 machines, 440 MiB; one of them is kept.
fn keep_program(staging: &Path) -> anyhow::Result<()> {
    let unpacked = staging.join("usr");
    fs::rename(unpacked.join("bin").join(PROGRAM), staging.join(PROGRAM))
        .with_context(|| format!("the package `{PACKAGE}` has no {PROGRAM}"))?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("removing `{}`", unpacked.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_the_program_and_of_the_package() {
        let line = "qemu-x86_64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)";
        assert_eq!(version_in(line), Some("7.2.22"));
        assert_eq!(version_in("bash: not found"), None);
        assert_eq!(upstream("1:10.0.2+ds-2+deb13u1~bpo12+1"), "10.0.2");
    }

    #[test]
    fn versions_without_avx2_are_not_suitable() {
        assert!(is_suitable("7.2.22") && is_suitable("10.0.2") && is_suitable("8.0.0"));
        assert!(!is_suitable("7.1.9") && !is_suitable("6.2.0") && !is_suitable("nonsense"));
    }
}
