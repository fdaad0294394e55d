//! Proofs of real programs: scripts and tools of the build machine, one that keeps each promise and one that breaks it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use process::Runner;
use units::{ByteSize, TimeSpan};

use super::*;
use crate::config::{Cpu, EMULATED_PROOFS, ProofCommand, ThreadStack, WorkingDirectory};

/// A shell script as the file that is proved.
fn script(folder: &Path, text: &str) -> Artifact {
    let path = folder.join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Artifact::of(path).unwrap()
}

fn config() -> Prove {
    Prove {
        environment_counts: vec![0, 100],
        timeout: TimeSpan(Duration::from_secs(20)),
        start_args: vec!["--version".into()],
        start_contains: "{version}".into(),
        start_stack_limit: ByteSize(256 << 10),
        thread_stack: None,
        // A script needs an interpreter, which is not on a root of its own, and starts no thread.
        allow_not_measured: ["isolated", "no-proc", "thread-stack"]
            .map(|name| (name.to_string(), "a script".to_string()))
            .into(),
        command: Vec::new(),
    }
}

/// The violations of one declared command, or nothing.
fn violations(text: &str, declared: ProofCommand) -> Vec<Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    let file = script(folder.path(), text);
    let (runner, config) = (Runner::without_signals(), config());
    let context = proof_context(&runner, &config, &file, folder.path());
    let observations = command::observe(&context, &declared, &Cpu::Native).unwrap();
    settle(&context, observations).map_or_else(|error| diag::collect(&error), |_| Vec::new())
}

fn proof_context<'a>(
    runner: &'a Runner,
    config: &'a Prove,
    file: &'a Artifact,
    root: &'a Path,
) -> ProofContext<'a> {
    static JOBS: LazyLock<Jobs> = LazyLock::new(|| Jobs::new(2).unwrap());
    ProofContext {
        runner,
        emulator: None,
        jobs: &JOBS,
        config,
        file,
        root,
        product: "program",
        version: "1.2.3",
        stack_size: ByteSize(8 << 20),
    }
}

fn declared(change: impl FnOnce(&mut ProofCommand)) -> ProofCommand {
    let mut declared = ProofCommand { name: "proof".into(), ..ProofCommand::default() };
    change(&mut declared);
    declared
}

#[test]
fn a_command_that_keeps_its_promise_passes() {
    let text = "echo \"$1 $NAME $(cat)\"";
    let found = violations(
        text,
        declared(|command| {
            command.args = vec!["{version}".into()];
            command.env = [("NAME".to_string(), "value".to_string())].into();
            command.stdin = "input".into();
            command.contains = vec!["{version} value input".into()];
        }),
    );
    assert_eq!(found, []);
    assert_eq!(violations("exit 3", declared(|command| command.exit_code = Some(3))), []);
}

#[test]
fn a_violation_names_the_proof_the_values_and_the_command() {
    let found =
        violations("echo out; echo err >&2; exit 4", declared(|command| command.contains = vec!["x".into()]));
    assert_eq!(found.len(), 1);
    assert_eq!(diag::exit_code(&found), 1);
    let fields = found[0].fields();
    let shown = format!(
        "{}\n{:?}\n{}\n{}",
        fields.message,
        fields.subject.rule,
        fields.expected.as_ref().unwrap(),
        fields.found.as_ref().unwrap()
    );
    insta::assert_snapshot!(shown, @r#"
    the proof `proof` does not hold
    Some("proof")
    exit status 0; `x` in the output
    exit status 4
    err; `out`
    "#);
    assert!(fields.hint.as_ref().unwrap().starts_with("to run it by hand:\n/"), "{:?}", fields.hint);
}

#[test]
fn a_command_that_does_not_end_in_time_violates_its_limit() {
    let found = violations(
        "sleep 60",
        declared(|command| {
            command.exit_code = Some(0);
            command.timeout = Some(TimeSpan(Duration::from_millis(50)));
        }),
    );
    assert_eq!(found[0].code(), &PROOF_VIOLATED);
    assert_eq!(found[0].fields().found.as_deref(), Some("still running after 0.05 s"));
}

#[test]
fn a_stack_limit_reaches_the_command() {
    let limited = |limit: u64| {
        declared(|command| {
            command.stack_limit = Some(ByteSize(limit << 10));
            command.contains = vec!["512".into()];
        })
    };
    assert_eq!(violations("ulimit -s", limited(512)), []);
    assert_eq!(violations("ulimit -s", limited(1024))[0].code(), &PROOF_VIOLATED);
}

#[test]
fn a_read_only_working_directory_refuses_files() {
    let text = "touch file 2>/dev/null && echo written || echo refused";
    let of = |working_directory, wanted: &str| {
        violations(
            text,
            declared(|command| {
                command.working_directory = working_directory;
                command.contains = vec![wanted.into()];
            }),
        )
    };
    assert_eq!(of(WorkingDirectory::Empty, "written"), []);
    let found = of(WorkingDirectory::ReadOnly, "refused");
    // A container may forbid namespaces; then nothing was measured, and that is no pass.
    assert!(found.is_empty() || found[0].code() == &PROOF_NOT_MEASURED, "{found:?}");
}

#[test]
fn a_start_must_succeed_with_the_same_output_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let runner = Runner::without_signals();
    let config = config();
    for (text, violated) in [
        ("echo 1.2.3", 0),
        ("echo 0.0.0", 3),
        ("echo 1.2.3; exit 1", 3),
        // Fails from 50 variables on.
        ("[ $(env | wc -l) -lt 50 ] && echo 1.2.3", 1),
        // Another output with many variables.
        ("echo 1.2.3 $(env | wc -l)", 1),
    ] {
        let file = script(folder.path(), text);
        let context = proof_context(&runner, &config, &file, folder.path());
        let observations = start::observe(&context).unwrap();
        let found = observations.iter().filter(|o| {
            // The script cannot start on a root of its own.
            o.conclusion == Conclusion::Violated && o.name.starts_with("start with")
        });
        assert_eq!(found.count(), violated, "{text}: {observations:#?}");
    }
}

#[test]
fn a_missing_measurement_is_an_error_unless_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = script(folder.path(), "echo 1.2.3");
    let runner = Runner::without_signals();
    let settled = |config: &Prove| {
        let context = proof_context(&runner, config, &file, folder.path());
        let observation = thread_stack::observe(&context).unwrap();
        settle(&context, vec![observation])
    };
    let allowed = settled(&config()).unwrap();
    assert_eq!(allowed[0].outcome, ProofOutcome::NotMeasured { allowed_because: "a script".into() });
    let error = settled(&Prove { allow_not_measured: BTreeMap::default(), ..config() }).unwrap_err();
    assert_eq!(diag::exit_code(&diag::collect(&error)), 2);
    let thread_stack = Some(ThreadStack { args: Vec::new(), env: BTreeMap::default(), thread: None });
    let error = settled(&Prove { thread_stack, ..config() }).unwrap_err();
    assert_eq!(
        diag::exit_code(&diag::collect(&error)),
        1,
        "a declared thread that does not start is a violation"
    );
}

/// A script in place of qemu-user: it shows its arguments.
#[test]
fn an_emulated_run_has_the_model_before_the_file_and_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = script(folder.path(), "echo \"$1 $2 ${3##*/} $4\"").path().with_file_name("emulator");
    std::fs::rename(folder.path().join("program"), &emulator).unwrap();
    let file = script(folder.path(), "exit 1");
    let (runner, config) = (Runner::without_signals(), config());
    let context =
        ProofContext { emulator: Some(&emulator), ..proof_context(&runner, &config, &file, folder.path()) };
    let declared = declared(|command| {
        command.args = vec!["--version".into()];
        command.contains = vec!["-cpu Nehalem program --version".into()];
    });
    let observed = command::observe(&context, &declared, &Cpu::Emulated("Nehalem".into())).unwrap();
    assert_eq!(observed[0].conclusion, Conclusion::Holds, "{observed:#?}");
    assert_eq!(observed[0].name, "proof on Nehalem");
    let command = observed[0].command.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(command, @"FOLDER/emulator -cpu Nehalem FOLDER/program --version");
}

#[test]
fn without_an_emulator_its_proofs_are_not_measured_and_need_permission() {
    let folder = tempfile::tempdir().unwrap();
    let file = script(folder.path(), "exit 0");
    let runner = Runner::without_signals();
    let settled = |config: &Prove| {
        let context = proof_context(&runner, config, &file, folder.path());
        let cpu = Cpu::Emulated("Nehalem".into());
        let observed = command::observe(&context, &declared(|command| command.exit_code = Some(0)), &cpu);
        settle(&context, observed.unwrap())
    };
    let error = settled(&config()).unwrap_err();
    assert_eq!(diag::exit_code(&diag::collect(&error)), 2);
    let mut allowed = config();
    allowed.allow_not_measured.insert(EMULATED_PROOFS.into(), "no network".into());
    assert_eq!(
        settled(&allowed).unwrap()[0].outcome,
        ProofOutcome::NotMeasured { allowed_because: "no network".into() }
    );
}

#[test]
fn a_file_that_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = script(folder.path(), "echo 1.2.3");
    std::fs::write(file.path(), "#!/bin/sh\necho other\n").unwrap();
    let (runner, config) = (Runner::without_signals(), config());
    let error = run_all(&proof_context(&runner, &config, &file, folder.path())).unwrap_err();
    assert!(diag::has_code(&error, &crate::codes::ARTIFACT_CHANGED), "{error}");
}

#[test]
fn arguments_come_from_a_list_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("texts.json"), r#"{"texts": [{"text": "a b"}, {"text": ""}]}"#)
        .unwrap();
    let file = script(folder.path(), "echo $# \"$1\"");
    let (runner, config) = (Runner::without_signals(), config());
    let context = proof_context(&runner, &config, &file, folder.path());
    let with = |list: &str| {
        let from =
            crate::config::ArgsFrom { file: "texts.json".into(), list: list.into(), field: "text".into() };
        command::observe(
            &context,
            &declared(|command| {
                command.args_from = Some(from);
                command.contains = vec!["2 a b".into()];
            }),
            &Cpu::Native,
        )
    };
    assert_eq!(with("/texts").unwrap()[0].conclusion, Conclusion::Holds);
    assert!(diag::has_code(&with("/none").unwrap_err(), &PROOF_INPUT));
}
