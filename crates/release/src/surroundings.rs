//! The one place that reads the environment, the clock and the checkout. Everything later takes what it needs from the
//! Plan, so that two runs with the same plan do the same.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use crate::failure::Failure;

/// Names of variables that reach children: what finds programs and registries, and nothing that steers a compiler.
const PASSED_ON: [&str; 19] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_AUTO_INSTALL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "XDG_CACHE_HOME",
    "DOCKER_HOST",
];
const PASSED_ON_PREFIXES: [&str; 6] =
    ["PIP_", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

#[derive(Debug)]
pub struct Surroundings {
    pub root: PathBuf,
    pub cache_dir: PathBuf,
    pub cores: usize,
    pub commit: Commit,
    /// What children may see.
    pub environment: BTreeMap<String, OsString>,
    /// Variables that would change the build behind our back, with their values.
    pub hostile: BTreeMap<String, String>,
}

/// The state of the checkout that is built.
#[derive(Debug, Clone, Serialize)]
pub struct Commit {
    /// Forty digits, or `unknown` outside of a checkout.
    pub id: String,
    pub dirty: bool,
    /// SOURCE_DATE_EPOCH, or else the commit's time.
    pub epoch_seconds: u64,
}

impl Surroundings {
    /// `root` is the folder of the workspace.
    pub fn read(root: &Path, cache_dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let variables: BTreeMap<String, OsString> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let folder = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache_dir = match cache_dir.or_else(|| folder("MUSLIN_CACHE_DIR")) {
            Some(named) => std::path::absolute(named)?,
            None => folder("XDG_CACHE_HOME")
                .or_else(|| Some(folder("HOME")?.join(".cache")))
                .ok_or_else(|| {
                    Failure::new("neither HOME nor XDG_CACHE_HOME is set, so there is no place for the cache")
                        .hint("name one with `--cache-dir DIR`")
                })?
                .join("muslin"),
        };
        Ok(Self {
            root: root.canonicalize().with_context(|| format!("finding {}", root.display()))?,
            cache_dir,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: Commit::read(root, variables.get("SOURCE_DATE_EPOCH"))?,
            hostile: hostile(&variables),
            environment: variables
                .into_iter()
                .filter(|(name, _)| {
                    PASSED_ON.contains(&name.as_str())
                        || PASSED_ON_PREFIXES.iter().any(|p| name.starts_with(p))
                })
                .collect(),
        })
    }
}

/// cargo reads each of these instead of `.cargo/config.toml`'s `rustflags`, and says nothing.
fn hostile(variables: &BTreeMap<String, OsString>) -> BTreeMap<String, String> {
    let replaces_flags = |name: &str| {
        matches!(name, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS" | "RUSTC_WRAPPER")
            || (name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS"))
            || name.starts_with("CARGO_PROFILE_")
    };
    variables
        .iter()
        .filter(|(name, value)| replaces_flags(name) && !value.is_empty())
        .map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()))
        .collect()
}

impl Commit {
    fn read(root: &Path, epoch: Option<&OsString>) -> anyhow::Result<Self> {
        let git = |args: &[&str]| {
            let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let time = git(&["log", "-1", "--format=%ct"]);
        let epoch_seconds = match epoch.map(|value| value.to_string_lossy().into_owned()).or(time) {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                Failure::new("SOURCE_DATE_EPOCH is no time")
                    .expected("seconds since 1970")
                    .found(text)
                    .hint("unset SOURCE_DATE_EPOCH, or: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)")
            })?,
        };
        Ok(Self {
            id: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into()),
            dirty: git(&["status", "--porcelain", "--untracked-files=no"])
                .is_some_and(|text| !text.is_empty()),
            epoch_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replaces_the_link_flags_is_hostile() {
        let variables = [
            ("RUSTFLAGS", "-C debuginfo=2"),
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "-g"),
            ("CARGO_BUILD_RUSTFLAGS", ""),
            ("RUST_BACKTRACE", "1"),
        ];
        let variables =
            variables.iter().map(|(name, value)| (name.to_string(), OsString::from(value))).collect();
        let found: Vec<_> = hostile(&variables).into_keys().collect();
        assert_eq!(found, ["CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "RUSTFLAGS"]);
    }
}
