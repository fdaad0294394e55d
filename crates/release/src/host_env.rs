//! The only module that reads the environment and the checkout's time. Everything later takes these values from the Plan,
//! so two runs with the same plan do the same.

mod cargo_settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use diag::Diagnostic;

use crate::codes::{CACHE_DIR_UNKNOWN, CARGO_PROFILE_OVERRIDE, ENV_OVERRIDE, EPOCH_INVALID};

/// Variables that children receive: they find programs and registries; none changes what a compiler writes.
const ALLOWED: [&str; 20] = [
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
const ALLOWED_PREFIXES: [&str; 6] =
    ["PIP_", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

/// The machine as a run finds it.
#[derive(Debug, Clone)]
pub struct HostEnv {
    /// The workspace folder, canonical.
    pub root: PathBuf,
    /// The cache folder, absolute.
    pub cache_dir: PathBuf,
    /// Processors that this process may use.
    pub cores: usize,
    /// The commit of the checkout.
    pub commit: Commit,
    /// The environment of children.
    pub environment: BTreeMap<String, OsString>,
    /// Variables that override settings of the build, with their values.
    pub overrides: BTreeMap<String, String>,
    /// Configuration files of cargo that set a profile.
    pub profiles: Vec<PathBuf>,
}

/// The state of the checkout that is built.
#[derive(Debug, Clone, Serialize)]
pub struct Commit {
    /// Forty digits, or `unknown` outside of a checkout.
    pub id: String,
    /// Files differ from the commit, or are untracked.
    pub dirty: bool,
    /// SOURCE_DATE_EPOCH, or else the commit's time.
    pub epoch_seconds: u64,
}

impl HostEnv {
    /// Reads environment and checkout. `root` is the folder of the workspace.
    #[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
    pub fn read(root: &Path, cache_dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut variables: BTreeMap<String, OsString> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        // cargo finds the user's folder without HOME too; the build must not depend on whether HOME is set.
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
                    Diagnostic::new(
                        &CACHE_DIR_UNKNOWN,
                        "the user has no home folder and XDG_CACHE_HOME is not set",
                    )
                    .hint("name a folder for the cache: cargo xtask dist --cache-dir DIR")
                })?
                .join("muslin"),
        };
        Ok(Self {
            root: root.canonicalize().with_context(|| format!("finding {}", root.display()))?,
            cache_dir,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: Commit::read(root, variables.get("SOURCE_DATE_EPOCH"))?,
            overrides: overrides(&variables),
            profiles: cargo_settings::with_profile(root, folder("CARGO_HOME"), folder("HOME")),
            environment: variables
                .into_iter()
                .filter(|(name, _)| {
                    ALLOWED.contains(&name.as_str()) || ALLOWED_PREFIXES.iter().any(|p| name.starts_with(p))
                })
                .collect(),
        })
    }
}

impl HostEnv {
    /// Settings that would change the build, each with its fix.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let variables = self.overrides.iter().map(|(name, value)| {
            Diagnostic::new(
                &ENV_OVERRIDE,
                format!("{name} is set; plain cargo obeys it, and the release build does not pass it on"),
            )
            .expected(format!("{name} unset"))
            .found(format!("{name}=\"{value}\""))
            .hint(format!("unset {name}"))
        });
        let profiles = self.profiles.iter().map(|file| {
            Diagnostic::new(
                &CARGO_PROFILE_OVERRIDE,
                "the file sets a [profile], which has precedence over the one in Cargo.toml",
            )
            .file(file)
            .expected("only the profiles of this project")
            .hint(
                "move the section into the projects that need it, or use another configuration for one run:\n\
                 CARGO_HOME=$(mktemp -d) cargo xtask dist   # the file does not change",
            )
        });
        variables.chain(profiles).collect()
    }
}

/// None of these reaches a child. They are refused because plain `cargo build` obeys them: a user who sets one expects
/// another result than the pipeline makes.
fn overrides(variables: &BTreeMap<String, OsString>) -> BTreeMap<String, String> {
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
            // A git hook sets these for its own repository. The other variable keeps `--plan` from refreshing the index.
            for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
                git.env_remove(name);
            }
            let output = git.env("GIT_OPTIONAL_LOCKS", "0").arg("-C").arg(root).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        // Sources that are unpacked inside another repository have no commit of their own.
        let prefix = git(&["rev-parse", "--show-prefix"]);
        let is_own_repository = prefix.as_deref() == Some("");
        let git = |args: &[&str]| is_own_repository.then(|| git(args)).flatten();
        let time = git(&["log", "-1", "--format=%ct"]);
        let epoch_seconds = match epoch.map(|value| value.to_string_lossy().into_owned()).or(time) {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                Diagnostic::new(&EPOCH_INVALID, "SOURCE_DATE_EPOCH is not a number of seconds")
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

    /// False for an export without a repository, and where git is missing or refuses the folder.
    pub fn is_known(&self) -> bool {
        self.id != "unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_variables_that_change_compiler_flags() {
        let variables = [
            ("RUSTFLAGS", "-C debuginfo=2"),
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "-g"),
            ("CARGO_BUILD_RUSTFLAGS", ""),
            ("RUST_BACKTRACE", "1"),
        ];
        let variables =
            variables.iter().map(|(name, value)| (name.to_string(), OsString::from(value))).collect();
        let found: Vec<_> = overrides(&variables).into_keys().collect();
        assert_eq!(found, ["CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "RUSTFLAGS"]);
    }

    fn git(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=n", "-c", "user.email=e@example.test"];
        let status = Command::new("git").arg("-C").arg(folder).args(identity).args(args).output().unwrap();
        assert!(status.status.success(), "{status:?}");
    }

    #[test]
    fn an_export_inside_another_repository_has_no_commit() {
        let around = tempfile::tempdir().unwrap();
        git(around.path(), &["init", "--quiet"]);
        git(around.path(), &["commit", "--quiet", "--allow-empty", "--message", "outer"]);
        assert!(Commit::read(around.path(), None).unwrap().is_known());
        let export = around.path().join("export");
        std::fs::create_dir(&export).unwrap();
        let commit = Commit::read(&export, None).unwrap();
        assert!(!commit.is_known() && commit.epoch_seconds == 0, "{commit:?}");
    }

    #[test]
    fn a_file_that_git_does_not_know_makes_the_commit_dirty() {
        let checkout = tempfile::tempdir().unwrap();
        git(checkout.path(), &["init", "--quiet"]);
        git(checkout.path(), &["commit", "--quiet", "--allow-empty", "--message", "first"]);
        assert!(!Commit::read(checkout.path(), None).unwrap().dirty);
        // For example a new patch.
        std::fs::write(checkout.path().join("0004-new.patch"), "").unwrap();
        assert!(Commit::read(checkout.path(), None).unwrap().dirty);
    }
}
