//! From a prepared tree to an archive, by the recipe of the library: its own make, or one compiler call for each source.
//!
//! Both write a log in which every compiler call stands as it was made; [`patchset::liveness`] reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;

use super::LibraryPlan;
use super::progress::Progress;
use crate::jobs::Jobs;
use crate::toolchain::{Site, Toolchain};
use diag::Diagnostic;
use patchset::build::{Recipe, object_name};
use process::{Task, quote};

/// What a build is told besides its inputs, and what must not show in its archive.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// Another order of work: make's own shuffling, or delays of a pseudo-random length where make has none.
    pub shuffle: Option<u64>,
    /// SOURCE_DATE_EPOCH, by which a compiler tells the time.
    pub epoch_seconds: Option<u64>,
}

/// Where one library is being compiled.
pub struct Yard<'a> {
    pub site: &'a Site,
    pub toolchain: &'a Toolchain,
    pub jobs: &'a Jobs,
    pub library: &'a LibraryPlan,
    pub circumstances: &'a Circumstances,
    /// Goes when the build is done.
    pub staging: &'a Path,
    pub tree: &'a Path,
    pub log: &'a Path,
    pub quiet: bool,
}

/// All that a build sees of its surroundings, besides the folders of its own caches. Less than what other children see:
/// whatever is in here belongs to the name of the result.
pub fn environment(site: &Site) -> BTreeMap<&'static str, String> {
    let mut folders: Vec<String> = Vec::new();
    // PATH is another one in each shell; which of its folders hold the tools of a makefile is not.
    for tool in ["sh", "make", "cc", "sed", "awk", "grep", "perl"] {
        let folder = site.which(tool).and_then(|path| Some(path.parent()?.to_str()?.to_string()));
        folders.extend(folder.filter(|folder| !folders.contains(folder)));
    }
    [("PATH", folders.join(":")), ("LANG", "C.UTF-8".into()), ("LC_ALL", "C.UTF-8".into())].into()
}

impl Yard<'_> {
    /// The archive, in `staging` under its final name.
    pub fn compile(&self) -> anyhow::Result<PathBuf> {
        let archive = self.staging.join(&self.library.build().archive);
        match &self.library.build().recipe {
            Recipe::Make { goal, output, .. } => {
                self.make(goal)?;
                self.take(output, &archive)?;
            }
            Recipe::Cc { sources, includes, .. } => self.cc(sources, includes, &archive)?,
        }
        Ok(archive)
    }

    /// A child of the build, with caches of its own: what an earlier build left must not get into this one.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(environment(self.site))
            .current_dir(self.tree)
            .env("ZIG_GLOBAL_CACHE_DIR", self.site.store.entry_path("zig"))
            .env("TMPDIR", self.staging)
            .env("ZIG_LOCAL_CACHE_DIR", self.staging.join("zig-cache"));
        if let Some(epoch) = self.circumstances.epoch_seconds {
            command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        command
    }

    fn make(&self, goal: &str) -> anyhow::Result<()> {
        let tools = &self.toolchain.wrappers;
        let assign = |name: &str, path: &Path| format!("{name}={}", path.display());
        let mut make = self.command(&self.toolchain.make.path);
        let mut cc = tools.cc.clone();
        if let Some(seed) = self.circumstances.shuffle {
            if make_shuffles(&self.toolchain.make.version) {
                make.arg(format!("--shuffle={seed}"));
            } else {
                cc = self.delaying_cc(seed)?;
            }
        }
        make.arg(goal)
            .args(&self.library.options)
            .arg(assign("CC", &cc))
            .arg(assign("HOSTCC", &self.toolchain.host_cc.path))
            .arg(assign("AR", &tools.ar))
            .arg(assign("RANLIB", &tools.ranlib));
        self.jobs.share_with_make(&mut make);
        let progress = Progress::of_log(&self.library.name, self.log, self.quiet);
        let _token = self.jobs.token()?;
        let job = Task::new(format!("compile {}", self.library.name), make).log(self.log);
        self.site.runner.run(job.on_poll(progress.watcher())).map(|_| ())
    }

    /// Before version 4.4 make cannot shuffle. Calls that take a time of their own end in another order.
    fn delaying_cc(&self, seed: u64) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.staging.join("delaying-cc");
        let script = format!(
            "#!/bin/sh\nsum=$(printf '%s {seed}' \"$*\" | cksum)\nsum=${{sum%% *}}\nsleep \"0.0$((sum % 4))\"\nexec '{}' \"$@\"\n",
            self.toolchain.wrappers.cc.display()
        );
        std::fs::write(&path, script).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// make may name the archive after its configuration and leave a link to it.
    fn take(&self, made: &str, archive: &Path) -> anyhow::Result<()> {
        let link = self.tree.join(made);
        let real = link.canonicalize().map_err(|error| {
            Diagnostic::new(
                &crate::GENERAL,
                format!("make reported success and left no {}: {error}", link.display()),
            )
            .hint(format!("read the log of the native build, {}", self.log.display()))
        })?;
        std::fs::rename(&real, archive).with_context(|| format!("taking {}", real.display()))
    }

    /// Objects beside the sources' tree, one call for each, as many at once as there are tokens.
    fn cc(&self, sources: &[String], includes: &[String], archive: &Path) -> anyhow::Result<()> {
        let order = order(sources.len(), self.circumstances.shuffle);
        let progress = Progress::known(&self.library.name, sources.len(), self.quiet);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let logs: Vec<Mutex<String>> = sources.iter().map(|_| Mutex::default()).collect();
        let failures = Mutex::new(Vec::new());
        let work = || {
            while !stop.load(Ordering::Relaxed)
                && let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let result = self.object(&sources[*index], includes, &logs[*index]);
                progress.one_more();
                if let Err(error) = result {
                    stop.store(true, Ordering::Relaxed);
                    failures.lock().expect("no thread panics").push((*index, error));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.count().min(sources.len()) {
                scope.spawn(work);
            }
            work();
        });
        let log: String = logs.into_iter().map(|log| log.into_inner().expect("no thread panics")).collect();
        store::atomic_write::bytes(self.log, 0o644, log.as_bytes())?;
        let mut failures = failures.into_inner().expect("no thread panics");
        failures.sort_by_key(|(index, _)| *index);
        if let Some((_, error)) = failures.into_iter().next() {
            return Err(error);
        }
        let mut ar = self.command(&self.toolchain.wrappers.ar);
        // `D`: no time, no user; the order is that of the recipe.
        ar.arg("rcsD").arg(archive).args(sources.iter().map(|source| object_name(source)));
        self.site.runner.run(Task::new(format!("archive {}", self.library.name), ar)).map(|_| ())
    }

    fn object(&self, source: &str, includes: &[String], log: &Mutex<String>) -> anyhow::Result<()> {
        let mut cc = self.command(&self.toolchain.wrappers.cc);
        cc.args(&self.library.options);
        for folder in includes {
            cc.arg(format!("-I{folder}"));
        }
        cc.args(["-c", source, "-o"]).arg(object_name(source));
        let (whole, program) = (quote(&cc), self.toolchain.wrappers.cc.display().to_string());
        // As make prints it: the call alone, without folder and variables.
        let call = whole.find(&program).map_or(whole.as_str(), |at| &whole[at..]).to_owned();
        let _token = self.jobs.token()?;
        let finished = self.site.runner.output(Task::new(format!("compile {source}"), cc))?;
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        let mut log = log.lock().expect("no thread panics");
        let _ = write!(log, "{call}\n{said}");
        if finished.status.success() {
            return Ok(());
        }
        let first = said.lines().find(|line| line.contains("error:")).unwrap_or(said.trim());
        Err(Diagnostic::new(&crate::GENERAL, format!("could not compile {source} of {}", self.library.name))
            .expected("exit code 0")
            .found(format!("exit code {}\n{first}", finished.shell_code()))
            .hint(format!("the whole log is {}; to run it by hand:\n{whole}", self.log.display()))
            .into())
    }
}

/// `GNU Make 4.4` and later know `--shuffle`.
fn make_shuffles(version: &str) -> bool {
    let number = version.split(' ').next_back().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (4, 4)
}

/// Indices in their order, or in one that a seed gives.
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
    fn a_seed_gives_another_order_of_the_same_work() {
        assert_eq!(order(4, None), [0, 1, 2, 3]);
        let (one, other) = (order(20, Some(1)), order(20, Some(2)));
        assert_ne!(one, other);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, order(20, None));
        assert_eq!(one, order(20, Some(1)));
    }

    #[test]
    fn only_a_make_that_can_is_told_to_shuffle() {
        assert!(!make_shuffles("GNU Make 4.3") && !make_shuffles("unknown"));
        assert!(
            make_shuffles("GNU Make 4.4") && make_shuffles("GNU Make 4.4.1") && make_shuffles("GNU Make 5.0")
        );
    }
}
