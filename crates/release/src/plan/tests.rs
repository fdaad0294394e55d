use std::path::Path;

use super::*;
use crate::context::BuildContext;
use crate::resolution::{Resolution, SourceArchive};
use crate::{codes, inputs};
use process::Runner;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn host() -> HostEnv {
    HostEnv {
        root: root(),
        cache_dir: "/cache".into(),
        cores: 2,
        commit: Commit { id: "0".repeat(40), dirty: false, epoch_seconds: 1 },
        environment: BTreeMap::from([("HOME".to_string(), "/home/user".into())]),
        overrides: BTreeMap::new(),
        profiles: Vec::new(),
    }
}

fn config() -> Config {
    Config::load(&root().join("release.toml")).unwrap()
}

fn inputs(host: &HostEnv, options: &CliOptions) -> PlanInputs {
    let context = BuildContext::new(host, Runner::without_signals(), true, 1).unwrap();
    inputs::read(&config(), host, options, &context).unwrap()
}

fn plan(host: &HostEnv, options: &CliOptions) -> anyhow::Result<Plan> {
    Plan::new(config(), host, options, inputs(host, options))
}

fn codes_of(error: &anyhow::Error) -> Vec<&'static str> {
    diag::collect(error).iter().map(|problem| problem.code().id).collect()
}

#[test]
fn the_plan_has_every_path_version_and_flag() {
    let plan = plan(&host(), &CliOptions::default()).unwrap();
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
    for stage in &STAGES {
        assert!(text.contains(stage.description), "{} is missing from:\n{text}", stage.name);
    }
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["config"]["stack_size"], "8 MiB");
    assert_eq!(json["stages"][3]["name"], "link");
    assert_eq!(json["tools"]["zig"]["state"], "missing");
}

/// release.toml is the only source of the size: flag and variable of the product follow it.
#[test]
fn the_stack_size_of_the_link_follows_release_toml() {
    let (mut config, options) = (config(), CliOptions::default());
    config.stack_size = units::ByteSize(4 << 20);
    let plan = Plan::new(config, &host(), &options, inputs(&host(), &options)).unwrap();
    let sizes: Vec<&String> = plan.rustflags.iter().filter(|flag| flag.contains("stack-size")).collect();
    assert_eq!(sizes, ["-Clink-arg=-Wl,-z,stack-size=4194304"]);
}

#[test]
fn cargo_configuration_of_the_workspace_has_no_compiler_flags() {
    let text = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(!text.contains("rustflags ="), "the flags are in rustflags.rs: {text}");
}

#[test]
fn rejects_compiler_flags_in_the_environment() {
    let mut host = host();
    host.overrides.insert("RUSTFLAGS".into(), "-Copt-level=1".into());
    let error = plan(&host, &CliOptions::default()).unwrap_err();
    assert_eq!(codes_of(&error), [codes::ENV_OVERRIDE.id]);
    assert_eq!(diag::hint_of(&error).as_deref(), Some("unset RUSTFLAGS"));
}

#[test]
fn reports_all_problems_together() {
    let mut host = host();
    host.overrides.insert("RUSTFLAGS".into(), "-g".into());
    let options = CliOptions { target: Some("mips-unknown-none".into()), ..CliOptions::default() };
    let error = plan(&host, &options).unwrap_err();
    assert_eq!(codes_of(&error), [codes::ENV_OVERRIDE.id, OPTION_INVALID.id]);
}

#[test]
fn rejects_paths_of_the_wrong_type_and_accepts_folders_that_do_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let options = CliOptions {
        dist_dir: Some(file.join("dist")),
        sources: BTreeMap::from([("openblas".into(), folder.path().join("nothing.tar.xz"))]),
        ..CliOptions::default()
    };
    let blocked = HostEnv { cache_dir: file.clone(), ..host() };
    let error = plan(&blocked, &options).unwrap_err();
    assert_eq!(codes_of(&error), [OPTION_INVALID.id; 3]);
    let text = error.to_string().replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(text, @"
    3 problems
      1. FOLDER/file/dist cannot be a folder
           expected: a folder, or a path that does not exist
           found:    FOLDER/file is a file
         hint: name a folder: --dist-dir DIR
      2. FOLDER/file cannot be a folder
           expected: a folder, or a path that does not exist
           found:    FOLDER/file is a file
         hint: name a folder: --cache-dir DIR
      3. `--source` names no source archive
           --> FOLDER/nothing.tar.xz
           expected: a .tar.gz or .tar.xz of the library
           found:    No such file or directory (os error 2)
         hint: omit the option to download the source, or name a file that exists
    ");
    let options = CliOptions { dist_dir: Some(folder.path().join("new/dist")), ..CliOptions::default() };
    plan(&host(), &options).unwrap();
}

#[test]
fn an_unknown_target_is_one_problem() {
    let options = CliOptions { target: Some("mips-unknown-none".into()), ..CliOptions::default() };
    assert_eq!(codes_of(&plan(&host(), &options).unwrap_err()), [OPTION_INVALID.id]);
}

#[test]
fn an_unreadable_baseline_is_a_problem_with_its_file() {
    let options =
        CliOptions { baseline: Some("/nonexistent/dist-manifest.json".into()), ..CliOptions::default() };
    assert_eq!(codes_of(&plan(&host(), &options).unwrap_err()), [codes::BASELINE_INVALID.id]);
}

#[test]
fn a_missing_emulator_is_a_problem_unless_its_proofs_may_be_left_out() {
    let missing = |config: Config| {
        let options = CliOptions::default();
        let context = BuildContext::new(&host(), Runner::without_signals(), true, 1).unwrap();
        let inputs = inputs::read(&config, &host(), &options, &context).unwrap();
        let mut tools = Plan::new(config, &host(), &options, inputs).unwrap().tools;
        let problem = Diagnostic::new(&codes::TOOL_MISSING, "no emulator").rule("qemu");
        if let Some(emulator) = &mut tools.emulator {
            emulator.tool = Resolution::Missing { problem };
        }
        let problems = tools.problems();
        problems.iter().any(|problem| problem.fields().subject.rule.as_deref() == Some("qemu"))
    };
    assert!(missing(config()));
    let mut allowed = config();
    allowed.prove.allow_not_measured.insert("emulated".into(), "no network".into());
    assert!(!missing(allowed));
    let mut without = config();
    without.prove.command.clear();
    assert!(!missing(without));
}

#[test]
fn reports_missing_sources_together_with_missing_tools() {
    let mut plan = plan(&host(), &CliOptions::default()).unwrap();
    let all = codes_of(&plan.check_tools().unwrap_err());
    assert!(all.contains(&codes::SOURCE_MISSING.id) && all.contains(&codes::TOOL_MISSING.id), "{all:?}");
    // With all tools present the compiled library may be in the cache, so a missing source alone is no problem yet.
    let present = |name| {
        Resolution::Use(crate::resolution::Tool {
            name,
            version: String::new(),
            path: name.into(),
            sha256: store::Digest::of(b""),
            origin: crate::resolution::Origin::Machine,
            entry: None,
        })
    };
    let tools = &mut plan.tools;
    for (tool, name) in [
        (&mut tools.zig, "zig"),
        (&mut tools.upx, "upx"),
        (&mut tools.make, "make"),
        (&mut tools.objcopy, "objcopy"),
        (&mut tools.host_cc, "cc"),
    ] {
        *tool = present(name);
    }
    tools.emulator.as_mut().expect("release.toml has proofs on emulated CPUs").tool = present("qemu");
    let rust = Resolution::Fetch(crate::resolution::Fetch {
        version: String::new(),
        from: String::new(),
        with: crate::resolution::Fetcher::Rustup,
        pin: crate::resolution::Pin::RustStd { target: String::new(), rustup: true, debian: false },
    });
    tools.rust = rust;
    assert!(matches!(tools.sources["openblas"], Resolution::<SourceArchive>::Missing { .. }));
    plan.check_tools().unwrap();
}
