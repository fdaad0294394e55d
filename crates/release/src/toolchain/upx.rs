//! UPX 4.2.x: the packer. Debian carries it as `upx-ucl`, in backports where the suite itself is too old.

use std::path::PathBuf;

use super::{Fetcher, Finding, Origin, Site, Tool, apt, offline};
use crate::config::Config;
use diag::Diagnostic;
use store::Digest;
use store::{Entry, Record};

const BINARY: &str = "usr/bin/upx-ucl";
const ENTRY: &str = "tools/upx-4.2";

/// `upx 4.2.2` -> `4.2.2`
fn version_of(site: &Site, path: &std::path::Path) -> Option<String> {
    Some(site.version_line(path, "--version")?.split_whitespace().nth(1)?.to_string())
}

fn fits(version: &str, wanted: &str) -> bool {
    version == wanted || version.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn on_machine(site: &Site, config: &Config) -> Option<Tool> {
    let (path, version): (PathBuf, String) = ["upx", "upx-ucl"]
        .iter()
        .filter_map(|name| site.which(name))
        .filter_map(|path| version_of(site, &path).map(|version| (path, version)))
        .find(|(_, version)| fits(version, &config.upx_version))?;
    let sha256 = Digest::of_file(&path).ok()?;
    Some(Tool { name: "upx", version, path, sha256, origin: Origin::Machine })
}

fn from_entry(entry: &Entry, config: &Config) -> Option<Tool> {
    let version = entry.record.notes.get("version")?.clone();
    fits(&version, &config.upx_version).then(|| Tool {
        name: "upx",
        version,
        path: entry.path.join(BINARY),
        sha256: entry.record.files[BINARY].clone(),
        origin: Origin::Cache,
    })
}

pub fn survey(site: &Site, config: &Config) -> Finding {
    let name = "upx";
    let found = on_machine(site, config).or_else(|| from_entry(&site.store.find(ENTRY)?, config));
    match found {
        Some(tool) => Finding::of(Ok(&tool), name),
        None if site.offline => Finding::Missing {
            name,
            problem: format!("UPX {} is not here, and `--offline` is set", config.upx_version),
            hint: "run `cargo xtask doctor --fetch` once with a network, or install UPX 4.2".into(),
        },
        None if site.which("apt-get").is_none() => Finding::Missing {
            name,
            problem: format!("UPX {} is not here, and there is no apt to fetch it with", config.upx_version),
            hint: "install UPX 4.2 and have `upx` in PATH".into(),
        },
        None => Finding::WouldFetch {
            name,
            version: format!("{}.x", config.upx_version),
            from: "the Debian package `upx-ucl`, from the suites of this machine or its backports".into(),
            with: Fetcher::Apt,
        },
    }
}

pub fn provide(site: &Site, config: &Config) -> anyhow::Result<Tool> {
    if let Some(tool) = on_machine(site, config) {
        return Ok(tool);
    }
    if site.offline && site.store.find(ENTRY).is_none() {
        return Err(offline("UPX 4.2"));
    }
    let entry = site.store.get_or_create(ENTRY, |staging| {
        let mut record = Record::default();
        let fits_wanted =
            |version: &str| fits(version.split('-').next().unwrap_or(version), &config.upx_version);
        let package = apt::fetch_binary(site, staging, "upx-ucl", &fits_wanted)?;
        let version = version_of(site, &staging.join(BINARY)).ok_or_else(|| {
            Diagnostic::new(
                &crate::GENERAL,
                format!("{} {} does not run on this machine", package.name, package.version),
            )
            .hint("apt-get install libstdc++6, or install UPX 4.2 yourself")
        })?;
        record
            .add_file(staging, BINARY)?
            .set_note("version", version)
            .set_note("package", package.to_string());
        Ok(record)
    })?;
    from_entry(&entry, config).ok_or_else(|| {
        Diagnostic::new(&crate::GENERAL, "the cached UPX is of another version than release.toml asks for")
            .hint(format!("rm -r {}", entry.path.display()))
            .into()
    })
}
