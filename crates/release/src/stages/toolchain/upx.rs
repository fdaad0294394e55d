//! UPX 4.2.x: the packer. Debian carries it as `upx-ucl`, in backports where the suite itself is too old.

use std::path::{Path, PathBuf};

use diag::Diagnostic;
use store::{CacheEntry, Digest, Record};

use super::offline;
use crate::codes::{TOOL_MISSING, TOOL_UNUSABLE};
use crate::config::Config;
use crate::context::BuildContext;
use crate::fetch::apt;
use crate::resolution::{Fetch, Fetcher, Origin, Pin, Resolution, Tool};

const NAME: &str = "upx";
const BINARY: &str = "usr/bin/upx-ucl";
const PACKAGE: &str = "upx-ucl";
const ENTRY: &str = "tools/upx-4.2";

/// `upx 4.2.2` -> `4.2.2`
fn version_of(context: &BuildContext, path: &Path) -> Option<String> {
    Some(context.version_line(path, "--version")?.split_whitespace().nth(1)?.to_string())
}

/// Whether a version belongs to a series: `4.2.2` to `4.2`, and not `4.23`.
fn is_of_series(version: &str, series: &str) -> bool {
    version == series || version.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'))
}

fn on_machine(context: &BuildContext, series: &str) -> Option<Tool> {
    let (path, version): (PathBuf, String) = ["upx", "upx-ucl"]
        .iter()
        .filter_map(|name| context.which(name))
        .filter_map(|path| version_of(context, &path).map(|version| (path, version)))
        .find(|(_, version)| is_of_series(version, series))?;
    let sha256 = Digest::of_file(&path).ok()?;
    Some(Tool { name: NAME, version, path, sha256, origin: Origin::Machine, entry: None })
}

fn from_entry(entry: CacheEntry, series: &str) -> Option<Tool> {
    let version = entry.record.notes.get("version")?.clone();
    is_of_series(&version, series).then(|| Tool {
        name: NAME,
        version,
        path: entry.path.join(BINARY),
        sha256: entry.record.files[BINARY].clone(),
        origin: Origin::Cache,
        entry: Some(entry),
    })
}

pub(super) fn probe(context: &BuildContext, config: &Config) -> Resolution<Tool> {
    let series = &config.upx_version;
    let found = on_machine(context, series).or_else(|| from_entry(context.store.find(ENTRY)?, series));
    match found {
        Some(tool) => Resolution::Use(tool),
        None if context.offline => {
            Resolution::Missing { problem: offline(NAME, &format!("UPX {series}"), ", or install UPX 4.2") }
        }
        None if context.which("apt-get").is_none() => Resolution::Missing {
            problem: Diagnostic::new(
                &TOOL_MISSING,
                format!("UPX {series} is not installed and not in the cache, and the machine has no apt"),
            )
            .rule(NAME)
            .hint("install UPX 4.2 with `upx` in PATH"),
        },
        None => Resolution::Fetch(Fetch {
            version: format!("{series}.x"),
            from: "the Debian package `upx-ucl`, from the suites of this machine or its backports".into(),
            with: Fetcher::Apt,
            pin: Pin::DebianPackage { package: PACKAGE.into(), series: series.clone() },
        }),
    }
}

pub(super) fn install(context: &BuildContext, resolution: &Resolution<Tool>) -> anyhow::Result<Tool> {
    let Resolution::Fetch(Fetch { pin: Pin::DebianPackage { package, series }, .. }) = resolution else {
        return super::installed(context, resolution);
    };
    let entry = context.store.get_or_create(ENTRY, |staging| {
        let mut record = Record::default();
        let fits = |version: &str| is_of_series(version.split('-').next().unwrap_or(version), series);
        let package = apt::fetch_binary(context, staging, package, &fits)?;
        let version = version_of(context, &staging.join(BINARY)).ok_or_else(|| {
            Diagnostic::new(
                &TOOL_UNUSABLE,
                format!("{} {} does not run on this machine", package.name, package.version),
            )
            .hint("apt-get install libstdc++6, or install UPX 4.2")
        })?;
        record
            .add_file(staging, BINARY)?
            .set_note("version", version)
            .set_note("package", package.to_string());
        Ok(record)
    })?;
    let path = entry.path.clone();
    from_entry(entry, series).ok_or_else(|| {
        Diagnostic::new(&TOOL_UNUSABLE, "the cached UPX has another version than release.toml demands")
            .expected(format!("{series}.x"))
            .hint(format!("rm -r {}", path.display()))
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::is_of_series;

    #[test]
    fn a_series_matches_whole_numbers() {
        assert!(is_of_series("4.2", "4.2") && is_of_series("4.2.2", "4.2"));
        assert!(!is_of_series("4.23", "4.2") && !is_of_series("4.1.9", "4.2"));
    }
}
