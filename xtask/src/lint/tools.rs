//! Linters of pinned versions, installed into the cache on first use.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use release::fetch::pip::Wheel;
use store::Record;

use super::LINT_TOOL_MISSING;

const PROGRAM: &str = "bin/program";

#[derive(Clone, Copy)]
pub enum Tool {
    Deny,
    Machete,
    Typos,
}

/// Where a tool comes from.
enum Origin {
    /// Compiled from crates.io with the lock file that its authors published.
    Crate { package: &'static str, version: &'static str },
    /// A wheel of PyPI that contains the program: compiling it takes minutes, downloading it a second.
    Wheel { wheel: Wheel<'static>, program: &'static str },
}

impl Tool {
    fn origin(self) -> Origin {
        match self {
            Tool::Deny => Origin::Crate { package: "cargo-deny", version: "0.20.2" },
            Tool::Machete => Origin::Crate { package: "cargo-machete", version: "0.9.2" },
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
            Origin::Crate { package, version } => (package, version),
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
        }
        Ok(())
    }
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

fn missing(package: &str, version: &str) -> Diagnostic {
    Diagnostic::new(
        &LINT_TOOL_MISSING,
        format!("{package} {version} is not in the cache and cannot be installed"),
    )
    .hint("run `cargo xtask lint` once with a network; the tools stay in the cache")
}
