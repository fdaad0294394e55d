//! Tarballs of vendored sources: from disk, from Debian's source package, or from upstream.
//!
//! What comes back is not trusted: `vendor` checks every file of it against the list of digests.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::toolchain::{Fetcher, Finding, Origin, Site, apt, crates};
use diag::Diagnostic;
use patchset::manifest::{Source, SourceManifest};
use process::Task;
use store::Digest;
use store::Record;

/// The name of the survey's finding.
pub const FINDING: &str = "source";

fn entry_name(manifest: &SourceManifest) -> String {
    format!("sources/{}-{}", manifest.name, manifest.version)
}

/// `named` is a tarball that the user gave. A source that is compiled already is not needed, but that only a build can tell.
pub fn survey(site: &Site, manifest: &SourceManifest, named: Option<&Path>) -> Finding {
    let name = FINDING;
    let version = format!("{} {}", manifest.name, manifest.version);
    let ready = |path: PathBuf, origin| Finding::Ready { name, version: version.clone(), path, origin };
    if let Some(path) = named {
        return ready(path.into(), Origin::Machine);
    }
    match site.store.find(&entry_name(manifest)) {
        Some(entry) => ready(entry.path, Origin::Cache),
        None if site.offline => Finding::Missing {
            name,
            problem: format!("{version} is not in the cache, and `--offline` is set"),
            hint: format!(
                "run `cargo xtask doctor --fetch` once with a network, or name a tarball: --source {}=FILE",
                manifest.name
            ),
        },
        None => {
            let from: Vec<String> = manifest.sources.iter().map(Source::describe).collect();
            // The first place decides; cargo fetches crates, and is needed anyway.
            let with = match manifest.sources[0] {
                Source::Crate { .. } => Fetcher::Cargo,
                _ => Fetcher::Apt,
            };
            Finding::WouldFetch { name, version, from: from.join(", else "), with }
        }
    }
}

/// The tarball, fetched once and kept in the cache. Sources are tried in the order of `source.toml`.
pub fn tarball(site: &Site, manifest: &SourceManifest) -> anyhow::Result<PathBuf> {
    let name = entry_name(manifest);
    if site.offline && site.store.find(&name).is_none() {
        return Err(Diagnostic::new(
            &crate::GENERAL,
            format!(
                "the source of {} {} is not in the cache, and `--offline` forbids to fetch it",
                manifest.name, manifest.version
            ),
        )
        .hint(format!(
            "name a tarball with `--source {}=FILE`, or run `cargo xtask doctor --fetch` once with a network",
            manifest.name
        ))
        .into());
    }
    let entry = site.store.get_or_create(&name, |staging| {
        let mut tried = Vec::new();
        for source in &manifest.sources {
            site.runner.check()?;
            match fetch(site, staging, source, manifest) {
                Ok(path) => {
                    let file = path.strip_prefix(staging)?.to_string_lossy().into_owned();
                    let mut record = Record::default();
                    record.add_file(staging, &file)?.set_note("from", source.describe());
                    return Ok(record);
                }
                Err(error) => tried.push(format!("{}: {error:#}", source.describe())),
            }
        }
        // Ctrl-C in the last one is no failure to fetch.
        site.runner.check()?;
        Err(Diagnostic::new(
            &crate::GENERAL,
            format!("no source of {} {} could be fetched", manifest.name, manifest.version),
        )
        .expected("one of the sources of source.toml")
        .found(tried.join("\n"))
        .hint(format!("check the network, or name a tarball with `--source {}=FILE`", manifest.name))
        .into())
    })?;
    let file = entry.record.files.keys().next().context("a cached source without a file")?;
    Ok(entry.path.join(file))
}

fn fetch(
    site: &Site,
    staging: &std::path::Path,
    source: &Source,
    manifest: &SourceManifest,
) -> anyhow::Result<PathBuf> {
    match source {
        Source::DebianSource { package, orig_sha256, .. } => {
            eprintln!("fetching the source of {} {}", manifest.name, manifest.version);
            let path = apt::fetch_orig_tarball(site, staging, package, &manifest.version)?;
            let found = Digest::of_file(&path)?;
            if found.as_str() != orig_sha256 {
                return Err(Diagnostic::new(
                    &crate::GENERAL,
                    format!("{} is not the pinned tarball", path.display()),
                )
                .expected(orig_sha256.as_str())
                .found(found.as_str())
                .into());
            }
            Ok(path)
        }
        Source::Crate { package, version, sha256 } => {
            let path = crates::fetch(site, staging, package, version)?;
            let found = Digest::of_file(&path)?;
            if found.as_str() != sha256 {
                return Err(Diagnostic::new(
                    &crate::GENERAL,
                    format!("{} is not the pinned package", path.display()),
                )
                .expected(sha256.as_str())
                .found(found.as_str())
                .into());
            }
            Ok(path)
        }
        Source::Archive { url, .. } => {
            eprintln!("fetching {url}");
            let path = staging.join(url.rsplit('/').next().unwrap_or("source.tar.gz"));
            let mut curl = site.command("curl");
            curl.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=https", "--output"])
                .arg(&path)
                .arg(url);
            site.runner.run(Task::new(format!("fetch {url}"), curl))?;
            Ok(path)
        }
    }
}
