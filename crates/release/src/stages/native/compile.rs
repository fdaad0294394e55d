//! From a prepared tree to an archive, by the recipe of the library: its own make, or one compiler call for each source.
//!
//! Both write a log with every compiler call; [`patchset::liveness`] reads it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::progress::Progress;
use crate::codes::NATIVE_COMPILE;
use crate::context::BuildContext;
use crate::jobs::Jobs;
use crate::library::LibraryPlan;
use crate::native_inputs::NativeInputs;
use crate::stages::toolchain::Toolchain;
use diag::Diagnostic;
use patchset::build::{Recipe, object_name};
use process::{Task, quote};

/// Conditions of a build that must not show in its archive; `repeat` varies them.
#[derive(Debug, Clone, Default)]
pub struct BuildVariation {
    /// Another order of work: make's own shuffling, or delays of a pseudo-random length where make has none.
    pub shuffle: Option<u64>,
    /// SOURCE_DATE_EPOCH, the time that the compiler sees.
    pub epoch_seconds: Option<u64>,
}

/// The build of one library.
#[derive(Clone, Copy)]
pub struct NativeBuild<'a> {
    pub context: &'a BuildContext,
    pub toolchain: &'a Toolchain,
    pub inputs: &'a NativeInputs,
    pub library: &'a LibraryPlan,
    pub jobs: &'a Jobs,
    pub variation: &'a BuildVariation,
    /// The folder of the archive while it is made.
    pub staging: &'a Path,
    /// The prepared source tree.
    pub tree: &'a Path,
    pub log: &'a Path,
}

impl NativeBuild<'_> {
    /// The archive, in `staging` under its final name.
    pub fn compile(&self) -> anyhow::Result<PathBuf> {
        let archive = self.staging.join(&self.library.build().archive);
        match &self.library.build().recipe {
            Recipe::Make { goal, output, .. } => {
                self.make(goal)?;
                self.move_result(output, &archive)?;
            }
            Recipe::Cc { sources, includes, .. } => self.cc(sources, includes, &archive)?,
        }
        Ok(archive)
    }

    /// A child of the build, with private caches: files of an earlier build must not influence this one.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.inputs.environment())
            .current_dir(self.tree)
            .env("ZIG_GLOBAL_CACHE_DIR", self.toolchain.wrappers().zig_cache(&self.context.store))
            .env("TMPDIR", self.staging)
            .env("ZIG_LOCAL_CACHE_DIR", self.staging.join("zig-cache"));
        if let Some(epoch) = self.variation.epoch_seconds {
            command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        command
    }

    fn make(&self, goal: &str) -> anyhow::Result<()> {
        let tools = self.toolchain.wrappers();
        let assign = |name: &str, path: &Path| format!("{name}={}", path.display());
        let mut make = self.command(&self.toolchain.make().path);
        let mut cc = tools.cc().to_path_buf();
        if let Some(seed) = self.variation.shuffle {
            if make_shuffles(&self.toolchain.make().version) {
                make.arg(format!("--shuffle={seed}"));
            } else {
                cc = self.delaying_cc(seed)?;
            }
        }
        make.arg(goal)
            .args(&self.library.options)
            .arg(assign("CC", &cc))
            .arg(assign("HOSTCC", &self.toolchain.host_cc().path))
            .arg(assign("AR", tools.ar()))
            .arg(assign("RANLIB", tools.ranlib()));
        self.jobs.share_with_make(&mut make);
        let progress = Progress::of_log(self.context.events(), &self.library.name, self.log);
        let _token = self.jobs.token()?;
        let job = Task::new(format!("compile {}", self.library.name), make).log(self.log);
        self.context.runner.run(job.on_poll(progress.watcher())).map(|_| ())
    }

    /// make before version 4.4 cannot shuffle. Calls with individual delays end in another order.
    fn delaying_cc(&self, seed: u64) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.staging.join("delaying-cc");
        let script = format!(
            "#!/bin/sh\nsum=$(printf '%s {seed}' \"$*\" | cksum)\nsum=${{sum%% *}}\nsleep \"0.0$((sum % 4))\"\nexec '{}' \"$@\"\n",
            self.toolchain.wrappers().cc().display()
        );
        std::fs::write(&path, script).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// make may name the archive after its configuration and create a link to it.
    fn move_result(&self, made: &str, archive: &Path) -> anyhow::Result<()> {
        let link = self.tree.join(made);
        let real = link.canonicalize().map_err(|error| {
            Diagnostic::new(
                &NATIVE_COMPILE,
                format!("make reported success and wrote no {}: {error}", link.display()),
            )
            .hint(format!("read the log of the native build, {}", self.log.display()))
        })?;
        std::fs::rename(&real, archive).with_context(|| format!("moving {}", real.display()))
    }

    /// Compiles each source with one call, as many in parallel as there are tokens.
    fn cc(&self, sources: &[String], includes: &[String], archive: &Path) -> anyhow::Result<()> {
        let order = order(sources.len(), self.variation.shuffle);
        let progress = Progress::known(self.context.events(), &self.library.name, sources.len());
        let stop = AtomicBool::new(false);
        let mut compiled = self.jobs.map(order.len(), |position| {
            let (index, mut log) = (order[position], String::new());
            if stop.load(Ordering::Relaxed) {
                return (index, log, Ok(()));
            }
            let result = self.object(&sources[index], includes, &mut log);
            stop.fetch_or(result.is_err(), Ordering::Relaxed);
            progress.increment();
            (index, log, result)
        });
        compiled.sort_by_key(|(index, ..)| *index);
        let log: String = compiled.iter().map(|(_, log, _)| log.as_str()).collect();
        store::atomic_write::bytes(self.log, 0o644, log.as_bytes())?;
        compiled.into_iter().try_for_each(|(_, _, result)| result)?;
        let mut ar = self.command(self.toolchain.wrappers().ar());
        // `D`: no time, no user; the order is that of the recipe.
        ar.arg("rcsD").arg(archive).args(sources.iter().map(|source| object_name(source)));
        self.context.runner.run(Task::new(format!("archive {}", self.library.name), ar)).map(|_| ())
    }

    fn object(&self, source: &str, includes: &[String], log: &mut String) -> anyhow::Result<()> {
        let mut cc = self.command(self.toolchain.wrappers().cc());
        cc.args(&self.library.options);
        for folder in includes {
            cc.arg(format!("-I{folder}"));
        }
        cc.args(["-c", source, "-o"]).arg(object_name(source));
        let (whole, program) = (quote(&cc), self.toolchain.wrappers().cc().display().to_string());
        // As make prints it: the call alone, without folder and variables.
        let call = whole.find(&program).map_or(whole.as_str(), |at| &whole[at..]).to_owned();
        let _token = self.jobs.token()?;
        let finished = self.context.runner.output(Task::new(format!("compile {source}"), cc))?;
        let stderr = String::from_utf8_lossy(&finished.stderr).into_owned();
        let _ = write!(log, "{call}\n{stderr}");
        if finished.status.success() {
            return Ok(());
        }
        let first = stderr.lines().find(|line| line.contains("error:")).unwrap_or(stderr.trim());
        Err(Diagnostic::new(&NATIVE_COMPILE, format!("could not compile {source} of {}", self.library.name))
            .expected("exit code 0")
            .found(format!("exit code {}\n{first}", finished.shell_code()))
            .hint(format!("the whole log is {}; to run it by hand:\n{whole}", self.log.display()))
            .into())
    }
}

/// `GNU Make 4.4` and later have `--shuffle`.
fn make_shuffles(version: &str) -> bool {
    let number = version.split(' ').next_back().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (4, 4)
}

/// Indices in their order, or in the order of a seed.
fn order(count: usize, shuffle: Option<u64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if let Some(seed) = shuffle {
        order.sort_by_key(|index| store::Digest::of(format!("{seed} {index}").as_bytes()));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_changes_the_order_and_not_the_work() {
        assert_eq!(order(4, None), [0, 1, 2, 3]);
        let (one, other) = (order(20, Some(1)), order(20, Some(2)));
        assert_ne!(one, other);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, order(20, None));
        assert_eq!(one, order(20, Some(1)));
    }

    #[test]
    fn make_shuffles_from_version_4_4() {
        assert!(!make_shuffles("GNU Make 4.3") && !make_shuffles("unknown"));
        assert!(
            make_shuffles("GNU Make 4.4") && make_shuffles("GNU Make 4.4.1") && make_shuffles("GNU Make 5.0")
        );
    }
}
