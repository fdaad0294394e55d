//! The one place that reads the environment, the clock and the checkout. Everything later takes what it needs from the
//! Plan, so that two runs with the same plan do the same.

mod cargo_settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use diag::Diagnostic;

/// Names of variables that reach children: what finds programs and registries, and nothing that steers a compiler.
const PASSED_ON: [&str; 20] = [
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
    "CARGO_TERM_COLOR",
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
    /// Configuration files of cargo that set a profile.
    pub profiles: Vec<PathBuf>,
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
        let mut variables: BTreeMap<String, OsString> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        // cargo finds the user's folder without HOME as well; what is built must not depend on whether it is set.
        if variables.get("HOME").is_none_or(|home| home.is_empty())
            && let Some(home) = std::env::home_dir().filter(|home| home.is_absolute())
        {
            variables.insert("HOME".into(), home.into());
        }
        let folder = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache_dir = match cache_dir.or_else(|| folder("MUSLIN_CACHE_DIR")) {
            Some(named) => std::path::absolute(named)?,
            None => folder("XDG_CACHE_HOME")
                .or_else(|| Some(folder("HOME")?.join(".cache")))
                .ok_or_else(|| {
                    Diagnostic::new(&crate::GENERAL, "this user has no home folder and XDG_CACHE_HOME is not set, so there is no place for the cache")
                        .hint("name one: cargo xtask dist --cache-dir DIR")
                })?
                .join("muslin"),
        };
        Ok(Self {
            root: root.canonicalize().with_context(|| format!("finding {}", root.display()))?,
            cache_dir,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: Commit::read(root, variables.get("SOURCE_DATE_EPOCH"))?,
            hostile: hostile(&variables),
            profiles: cargo_settings::with_profile(root, folder("CARGO_HOME"), folder("HOME")),
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

impl Surroundings {
    /// What would change the build behind our back, each with its remedy.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let variables = self.hostile.iter().map(|(name, value)| {
            let what = if name.ends_with("RUSTFLAGS") {
                "cargo would take it in place of `.cargo/config.toml`, and the link flags that set the stack size would \
                 vanish without a word"
            } else {
                "cargo would obey it, and something else would be made than what this project describes"
            };
            Diagnostic::new(&crate::GENERAL, format!("{name} is set: {what}"))
                .expected(format!("{name} unset"))
                .found(format!("{name}=\"{value}\""))
                .hint(format!("unset {name}"))
        });
        let profiles = self.profiles.iter().map(|file| {
            Diagnostic::new(&crate::GENERAL, format!("{} sets a [profile], which outranks the one in Cargo.toml", file.display()))
                .expected("the profiles of this project only")
                .hint(format!(
                    "move the section into the projects that it is for, or have cargo look elsewhere for one run:\n\
                     CARGO_HOME=$(mktemp -d) cargo xtask dist   # {} stays as it is",
                    file.display()
                ))
        });
        variables.chain(profiles).collect()
    }
}

/// Most of these never reach a child; they are refused because plain `cargo build` would obey them, so that who set them
/// expects something else than what would be made. cargo reads each of these instead of `.cargo/config.toml`'s `rustflags`, and says nothing.
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
            let mut git = Command::new("git");
            // A git hook that calls us sets these, and they name its repository. `--plan` must not even refresh an index.
            for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
                git.env_remove(name);
            }
            let output = git.env("GIT_OPTIONAL_LOCKS", "0").arg("-C").arg(root).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        // Sources that were unpacked somewhere inside another repository have no commit of their own.
        let prefix = git(&["rev-parse", "--show-prefix"]);
        let is_ours = prefix.as_deref() == Some("");
        let git = |args: &[&str]| is_ours.then(|| git(args)).flatten();
        let time = git(&["log", "-1", "--format=%ct"]);
        let epoch_seconds = match epoch.map(|value| value.to_string_lossy().into_owned()).or(time) {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                Diagnostic::new(&crate::GENERAL, "SOURCE_DATE_EPOCH is no time")
                    .expected("seconds since 1970")
                    .found(text)
                    .hint("unset SOURCE_DATE_EPOCH, or: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)")
            })?,
        };
        Ok(Self {
            id: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into()),
            dirty: git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty()),
            epoch_seconds,
        })
    }

    /// False for an export without its repository, and where git is missing or refuses the folder.
    pub fn is_known(&self) -> bool {
        self.id != "unknown"
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

    fn git(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=n", "-c", "user.email=e@example.test"];
        let status = Command::new("git").arg("-C").arg(folder).args(identity).args(args).output().unwrap();
        assert!(status.status.success(), "{status:?}");
    }

    #[test]
    fn regression_an_export_took_the_commit_of_the_repository_around_it() {
        let around = tempfile::tempdir().unwrap();
        git(around.path(), &["init", "--quiet"]);
        git(around.path(), &["commit", "--quiet", "--allow-empty", "--message", "not ours"]);
        assert!(Commit::read(around.path(), None).unwrap().is_known());
        let export = around.path().join("export");
        std::fs::create_dir(&export).unwrap();
        let commit = Commit::read(&export, None).unwrap();
        assert!(!commit.is_known() && commit.epoch_seconds == 0, "{commit:?}");
    }

    #[test]
    fn regression_a_new_file_was_no_change() {
        let checkout = tempfile::tempdir().unwrap();
        git(checkout.path(), &["init", "--quiet"]);
        git(checkout.path(), &["commit", "--quiet", "--allow-empty", "--message", "first"]);
        assert!(!Commit::read(checkout.path(), None).unwrap().dirty);
        // Such as a patch that would be applied.
        std::fs::write(checkout.path().join("0004-new.patch"), "").unwrap();
        assert!(Commit::read(checkout.path(), None).unwrap().dirty);
    }
}
