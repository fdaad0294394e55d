//! The Plan: everything that is decided before anything runs. `--plan` prints it; the stages only read it.
//!
//! It holds every path, version and flag. What can only be known after a fetch (the digest of a tool that moves with its
//! suite) is recorded in the manifest instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::config::Config;
use crate::native::LibraryPlan;
use crate::previous::Previous;
use crate::sources;
use crate::surroundings::{Commit, Surroundings};
use crate::toolchain::{Finding, StdPreference};
use diag::{Diagnostic, Diagnostics};

/// What the command line may choose.
#[derive(Debug, Default, Clone)]
pub struct Choices {
    pub target: Option<String>,
    pub jobs: Option<usize>,
    pub dist_dir: Option<PathBuf>,
    pub std: StdPreference,
    /// `dist-manifest.json` of the release before this one.
    pub previous: Option<PathBuf>,
    /// Source tarballs that are on disk already, by the name of their library.
    pub sources: BTreeMap<String, PathBuf>,
    pub quiet: bool,
}

#[derive(Debug, Serialize)]
pub struct Plan {
    pub schema: u32,
    pub version: String,
    pub target: String,
    pub commit: Commit,
    pub jobs: usize,
    pub std: StdPreference,
    pub paths: Paths,
    pub names: Names,
    /// Flags of the final link, from `.cargo/config.toml`, plus those that depend on this machine's paths.
    pub rustflags: Vec<String>,
    pub native: Vec<LibraryPlan>,
    pub tools: Vec<Finding>,
    /// The steps in their order, for people.
    pub stages: Vec<String>,
    pub config: Config,
    /// What the sizes of this release are compared with.
    pub previous: Option<Previous>,
    #[serde(skip)]
    pub quiet: bool,
}

#[derive(Debug, Serialize)]
pub struct Paths {
    pub root: PathBuf,
    pub cache: PathBuf,
    /// cargo's.
    pub target: PathBuf,
    /// Ours: logs, stage outputs.
    pub work: PathBuf,
    pub dist: PathBuf,
    /// The binary as cargo leaves it.
    pub linked: PathBuf,
}

/// Names in `dist/`.
#[derive(Debug, Clone, Serialize)]
pub struct Names {
    pub packed: String,
    pub unpacked: String,
    pub debug: String,
    pub docker_tar: String,
    pub oci_tar: String,
    pub sums: String,
    pub manifest: String,
}

impl Names {
    fn new(product: &str, version: &str, target: &str) -> Self {
        let stem = format!("{product}-{version}-{target}");
        Self {
            unpacked: format!("{stem}.unpacked"),
            debug: format!("{stem}.debug"),
            docker_tar: format!("{stem}.docker.tar"),
            oci_tar: format!("{stem}.oci.tar"),
            packed: stem,
            sums: "SHA256SUMS".into(),
            manifest: "dist-manifest.json".into(),
        }
    }
}

impl Plan {
    /// Decides everything; all contradictions are reported at once.
    pub fn new(
        config: Config,
        surroundings: &Surroundings,
        choices: Choices,
        tools: Vec<Finding>,
    ) -> anyhow::Result<Plan> {
        let mut problems = surroundings.problems();
        let target = choices.target.clone().unwrap_or_else(|| config.product.targets[0].clone());
        let released = config.product.targets.contains(&target);
        if !released {
            problems.push(
                Diagnostic::new(&crate::GENERAL, format!("release.toml does not release for `{target}`"))
                    .expected(config.product.targets.join(", "))
                    .found(target.as_str())
                    .hint(format!("cargo xtask dist --target {}", config.product.targets[0])),
            );
        }
        let root = &surroundings.root;
        let mut rustflags = match cargo_flags(root, &target, &config) {
            // A target that is not released has no flags either; that is one problem, not two.
            _ if !released => Vec::new(),
            Ok(flags) => {
                problems.extend(check_link_flags(&flags, &config));
                flags
            }
            Err(error) => {
                problems.push(Diagnostic::new(&crate::GENERAL, format!("{error:#}")));
                Vec::new()
            }
        };
        rustflags.extend(remap_flags(surroundings));
        let native = native(root, &config, &choices.sources, &mut problems);
        let version = workspace_version(root).unwrap_or_else(|error| {
            problems.push(Diagnostic::new(&crate::GENERAL, format!("{error:#}")));
            String::new()
        });
        let dist = match &choices.dist_dir {
            Some(dir) => std::path::absolute(dir).context("the folder of `--dist-dir`")?,
            None => root.join("dist"),
        };
        problems.extend(not_a_folder(&dist, "--dist-dir"));
        problems.extend(not_a_folder(&surroundings.cache_dir, "--cache-dir"));
        let previous = choices.previous.as_deref().map(Previous::read).transpose();
        let previous = previous.unwrap_or_else(|error| {
            let hint = diag::hint_of(&error);
            let hint = hint.unwrap_or("give the dist-manifest.json of the release before".into());
            problems.push(Diagnostic::new(&crate::GENERAL, format!("{error:#}")).hint(hint));
            None
        });
        let is_of = previous.as_ref().map(|previous| previous.is_of(&config.product.name, &target));
        problems.extend(is_of.and_then(Result::err));
        problems.extend(choices.sources.values().filter_map(|path| not_a_tarball(path)));
        Diagnostics(problems).into_result()?;

        let jobs = choices.jobs.unwrap_or(surroundings.cores).max(1);
        let names = Names::new(&config.product.name, &version, &target);
        let cargo_target = root.join("target");
        Ok(Plan {
            schema: 1,
            stages: stages(&config),
            paths: Paths {
                linked: cargo_target.join(&target).join("release").join(&config.product.name),
                work: cargo_target.join("muslin").join(&target),
                target: cargo_target,
                root: root.clone(),
                cache: surroundings.cache_dir.clone(),
                dist,
            },
            commit: surroundings.commit.clone(),
            previous,
            quiet: choices.quiet,
            std: choices.std,
            version,
            target,
            jobs,
            names,
            rustflags,
            native,
            tools,
            config,
        })
    }

    /// Everything that a build needs is here or can be fetched; all that is not is told at once.
    pub fn check_tools(&self) -> anyhow::Result<()> {
        let missing: Vec<&Finding> = self.tools.iter().filter(|tool| tool.is_missing()).collect();
        // The source alone may be missing: the archive that was compiled of it may be in the cache, which only the
        // fingerprint of the tools can tell.
        if missing.iter().all(|tool| tool.name() == sources::FINDING) {
            return Ok(());
        }
        Diagnostics(missing.into_iter().filter_map(Finding::problem).collect()).into_result()
    }

    /// The libraries of these names, or all when none is named.
    pub fn libraries(&self, names: &[String]) -> anyhow::Result<Vec<&LibraryPlan>> {
        let known = || self.native.iter().map(|library| library.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in names {
            if !self.native.iter().any(|library| library.name == *name) {
                return Err(Diagnostic::new(
                    &crate::GENERAL,
                    "release.toml has no native library of this name",
                )
                .expected(known())
                .found(name.as_str())
                .hint("`cargo xtask native` without a name takes all of them")
                .into());
            }
        }
        Ok(self.native.iter().filter(|library| names.is_empty() || names.contains(&library.name)).collect())
    }

    pub fn log(&self, stage: &str) -> PathBuf {
        self.paths.work.join("logs").join(format!("{stage}.log"))
    }

    /// For people; `--format json` prints the same as data.
    pub fn human(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<12} {}", value.replace('\n', "\n             "));
        };
        line("product", format!("{} {} for {}", self.config.product.name, self.version, self.target));
        let dirty = if self.commit.dirty { ", with changes that are not committed" } else { "" };
        line("commit", format!("{}{dirty}", self.commit.id));
        line("epoch", self.commit.epoch_seconds.to_string());
        line("jobs", self.jobs.to_string());
        line("stack size", self.config.stack_size.to_string());
        for library in &self.native {
            let patches = match library.patches.as_slice() {
                [] => "no patch".to_owned(),
                patches => patches.join(", "),
            };
            line(&library.name, format!("{} with {patches}\n{}", library.version, library.options.join(" ")));
        }
        line("rustflags", self.rustflags.join(" "));
        line("cache", self.paths.cache.display().to_string());
        let tools = self.tools.iter().map(describe).collect::<Vec<_>>().join("\n");
        line("tools", tools);
        let stages = self.stages.iter().enumerate().map(|(n, stage)| format!("{}. {stage}", n + 1));
        line("stages", stages.collect::<Vec<_>>().join("\n"));
        let names = &self.names;
        let outputs = [
            &names.packed,
            &names.unpacked,
            &names.debug,
            &names.docker_tar,
            &names.oci_tar,
            &names.sums,
            &names.manifest,
        ];
        line("outputs", outputs.map(|name| self.paths.dist.join(name).display().to_string()).join("\n"));
        text
    }
}

/// One line about one tool, for `doctor` and the plan.
pub fn describe(finding: &Finding) -> String {
    match finding {
        Finding::Ready { name, version, path, .. } => format!("{name:<9} {version} at {}", path.display()),
        Finding::WouldFetch { name, version, from, .. } => {
            format!("{name:<9} {version} would be fetched: {from}")
        }
        Finding::Missing { name, problem, hint } => {
            format!("{name:<9} MISSING: {problem}\n{:<9} hint: {hint}", "")
        }
    }
}

fn native(
    root: &Path,
    config: &Config,
    sources: &BTreeMap<String, PathBuf>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<LibraryPlan> {
    for name in sources.keys().filter(|name| !config.native.contains_key(*name)) {
        let known: Vec<&str> = config.native.keys().map(String::as_str).collect();
        problems.push(
            Diagnostic::new(
                &crate::GENERAL,
                format!("`--source {name}=…` is for a library that release.toml does not have"),
            )
            .expected(known.join(", "))
            .found(name.as_str()),
        );
    }
    let mut libraries = Vec::new();
    for (name, choices) in &config.native {
        match LibraryPlan::new(root, name, choices, sources.get(name).cloned()) {
            Ok(library) => libraries.push(library),
            Err(found) => problems.extend(found),
        }
    }
    libraries
}

fn stages(config: &Config) -> Vec<String> {
    let libraries = config.native.keys().map(String::as_str).collect::<Vec<_>>().join(" and ");
    let variant = format!("{:?}", config.image.variant).to_lowercase();
    [
        "toolchain: find or fetch zig, UPX and a Rust std for musl".into(),
        format!("source: fetch {libraries}, check each file's digest, patch between guards"),
        format!(
            "native: compile {libraries} while cargo compiles the Rust libraries; check patches, kernels and facts of \
             the archives"
        ),
        "linked: link the binary; gate".into(),
        "stripped: split the debug file off, strip; gate".into(),
        "packed: UPX; gate outer and inner headers, and the round trip".into(),
        "challenged: damage copies of the three files; the gate must name each damage".into(),
        format!("proved: run the packed file: {}", crate::prove::names(&config.prove).join(", ")),
        format!("image: scratch image of the {variant} binary, as OCI layout and docker archive"),
        "dist: names, SHA256SUMS, dist-manifest.json".into(),
    ]
    .into()
}

fn workspace_version(root: &Path) -> anyhow::Result<String> {
    let path = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("reading {}", path.display()))?;
    let inherited = manifest.get("workspace").and_then(|workspace| workspace.get("package"));
    let version = inherited.or(manifest.get("package")).and_then(|package| package.get("version"));
    version.and_then(|v| v.as_str()).map(String::from).with_context(|| {
        format!("{} has neither workspace.package.version nor package.version", path.display())
    })
}

/// The flags that plain cargo would use too: one place, with the reason for each.
fn cargo_flags(root: &Path, target: &str, config: &Config) -> anyhow::Result<Vec<String>> {
    let path = root.join(".cargo/config.toml");
    if !path.exists() {
        return Ok([
            "-Clink-self-contained=no",
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
            &format!("-Clink-arg=-Wl,-z,stack-size={}", config.stack_size.0),
            "-Clink-arg=-Wl,--build-id=sha1",
        ]
        .map(String::from)
        .to_vec());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let config: toml::Table = text.parse().with_context(|| format!("reading {}", path.display()))?;
    let flags = config.get("target").and_then(|t| t.get(target)).and_then(|t| t.get("rustflags"));
    let flags = flags
        .and_then(|flags| flags.as_array())
        .with_context(|| format!("{} has no `rustflags` for {target}", path.display()))?;
    Ok(flags.iter().filter_map(|flag| flag.as_str().map(String::from)).collect())
}

/// The folder itself is made when something is put into it; only what stands in its place is a problem.
fn not_a_folder(path: &Path, flag: &str) -> Option<Diagnostic> {
    let in_the_way = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir())?;
    Some(
        Diagnostic::new(&crate::GENERAL, format!("{} cannot be a folder", path.display()))
            .expected("a folder, or a place for one")
            .found(format!("{} is a file", in_the_way.display()))
            .hint(format!("name a folder: {flag} DIR")),
    )
}

fn not_a_tarball(path: &Path) -> Option<Diagnostic> {
    let found = match path.metadata() {
        Ok(meta) if meta.is_file() => return None,
        Ok(meta) if meta.is_dir() => "a folder".to_string(),
        Ok(_) => "something that is no file".to_string(),
        Err(error) => error.to_string(),
    };
    Some(
        Diagnostic::new(&crate::GENERAL, format!("`--source` names no tarball: {}", path.display()))
            .expected("a .tar.gz or .tar.xz of the library")
            .found(found)
            .hint("leave the flag out to have the source fetched, or name a tarball that is here"),
    )
}

fn check_link_flags(flags: &[String], config: &Config) -> Option<Diagnostic> {
    let wanted = format!("-Clink-arg=-Wl,-z,stack-size={}", config.stack_size.0);
    let found: Vec<&String> = flags.iter().filter(|flag| flag.contains("stack-size=")).collect();
    if found == [&wanted] {
        return None;
    }
    Some(
        Diagnostic::new(
            &crate::GENERAL,
            "`.cargo/config.toml` and `link.stack_size` in release.toml contradict each other",
        )
        .expected(wanted)
        .found(found.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(" "))
        .hint("make both say the same; the reason stands beside the flag"),
    )
}

/// Paths of the build machine do not belong into what is shipped.
fn remap_flags(surroundings: &Surroundings) -> Vec<String> {
    let home = |name: &str, below: &str| {
        let named = surroundings.environment.get(name).map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from(surroundings.environment.get("HOME")?).join(below)))
    };
    let mut flags = Vec::new();
    if let Some(cargo_home) = home("CARGO_HOME", ".cargo") {
        flags.push(format!("--remap-path-prefix={}=/cargo", cargo_home.display()));
    }
    if let Some(rustup_home) = home("RUSTUP_HOME", ".rustup") {
        flags.push(format!("--remap-path-prefix={}=/rustup", rustup_home.display()));
    }
    flags.push(format!("--remap-path-prefix={}=/muslin", surroundings.root.display()));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
    }

    fn surroundings() -> Surroundings {
        Surroundings {
            root: root(),
            cache_dir: "/cache".into(),
            cores: 2,
            commit: Commit { id: "0".repeat(40), dirty: false, epoch_seconds: 1 },
            environment: BTreeMap::from([("HOME".to_string(), "/home/somebody".into())]),
            hostile: BTreeMap::new(),
            profiles: Vec::new(),
        }
    }

    fn config() -> Config {
        Config::load(&root().join("release.toml")).unwrap()
    }

    #[test]
    fn every_path_version_and_flag_is_in_the_plan() {
        let plan = Plan::new(config(), &surroundings(), Choices::default(), Vec::new()).unwrap();
        let text = plan.human();
        for part in [
            "stack-size=8388608",
            "DYNAMIC_LIST=HASWELL ZEN SKYLAKEX SAPPHIRERAPIDS",
            "NUM_THREADS=64",
            "SHA256SUMS",
            "/cache",
        ] {
            assert!(text.contains(part), "`{part}` is missing from:\n{text}");
        }
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["config"]["stack_size"], 8 << 20);
    }

    #[test]
    fn flags_in_the_environment_are_refused() {
        let mut surroundings = surroundings();
        surroundings.hostile.insert("RUSTFLAGS".into(), "-Copt-level=1".into());
        let error = Plan::new(config(), &surroundings, Choices::default(), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("RUSTFLAGS"), "{error}");
        assert_eq!(diag::hint_of(&error).as_deref(), Some("unset RUSTFLAGS"));
    }

    #[test]
    fn cargo_and_release_toml_must_agree_on_the_stack() {
        let mut config = config();
        config.stack_size = units::ByteSize(4 << 20);
        let error = Plan::new(config, &surroundings(), Choices::default(), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("contradict"), "{error}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut surroundings = surroundings();
        surroundings.hostile.insert("RUSTFLAGS".into(), "-g".into());
        let choices = Choices { target: Some("mips-unknown-none".into()), ..Choices::default() };
        let error = Plan::new(config(), &surroundings, choices, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("RUSTFLAGS") && error.contains("mips-unknown-none"), "{error}");
    }

    #[test]
    fn regression_places_that_cannot_be_were_planned() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let choices = Choices {
            dist_dir: Some(file.join("dist")),
            sources: BTreeMap::from([("openblas".into(), folder.path().join("nothing.tar.xz"))]),
            ..Choices::default()
        };
        let surroundings = Surroundings { cache_dir: file.clone(), ..surroundings() };
        let told = Plan::new(config(), &surroundings, choices, Vec::new()).unwrap_err().to_string();
        for part in ["3 problems", "--dist-dir DIR", "--cache-dir DIR", "nothing.tar.xz", "is a file"] {
            assert!(told.contains(part), "`{part}` is missing from: {told}");
        }
        let choices = Choices { dist_dir: Some(folder.path().join("new/dist")), ..Choices::default() };
        Plan::new(config(), &super::tests::surroundings(), choices, Vec::new()).unwrap();
    }

    #[test]
    fn regression_one_unknown_target_was_two_problems() {
        let choices = Choices { target: Some("mips-unknown-none".into()), ..Choices::default() };
        let told = Plan::new(config(), &surroundings(), choices, Vec::new()).unwrap_err().to_string();
        assert!(!told.contains("problems"), "{told}");
    }

    #[test]
    fn regression_a_missing_source_was_told_after_the_tools() {
        let missing = |name| Finding::Missing { name, problem: format!("no {name}"), hint: "get it".into() };
        let plan = |tools| Plan::new(config(), &surroundings(), Choices::default(), tools).unwrap();
        plan(vec![missing(sources::FINDING)]).check_tools().expect("an archive may be there");
        let told =
            plan(vec![missing("zig"), missing(sources::FINDING)]).check_tools().unwrap_err().to_string();
        assert!(told.contains("2 problems") && told.contains("no source"), "{told}");
    }
}
