use super::*;

fn runner() -> Runner {
    Runner::deaf()
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

#[test]
fn a_failure_quotes_the_command_and_the_first_error() {
    let script =
        "echo 'x.c:1: error: lost' >&2; for i in 1 2 3 4 5 6 7 8 9; do echo note $i >&2; done; exit 3";
    let error = runner().run(Job::new("compile x.c", sh(script))).err().expect("exit 3 passed");
    let text = error.to_string();
    assert!(text.contains("could not compile x.c") && text.contains("exit code 3"), "{text}");
    assert!(text.contains("x.c:1: error: lost"), "{text}");
    assert!(Failure::hint_of(&error).unwrap().contains("sh -c 'echo"), "{error:?}");
}

#[test]
fn a_signal_reads_as_in_a_shell() {
    assert_eq!(runner().finish(Job::new("die", sh("kill -SEGV $$"))).unwrap().shell_code(), 139);
}

#[test]
fn a_timeout_ends_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; wait", mark.display());
    let error =
        runner().finish(Job::new("wait", sh(&script)).timeout(Duration::from_millis(300))).err().unwrap();
    assert!(error.to_string().contains("did not end in time"), "{error}");
    let pid = std::fs::read_to_string(&mark).unwrap();
    // On a busy machine a killed process takes its time to end.
    let asked = Instant::now();
    loop {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        assert!(asked.elapsed() < GRACE, "the grandchild lives on: {state}");
        std::thread::sleep(POLL);
    }
}

#[test]
fn work_that_is_abandoned_ends_and_other_work_does_not() {
    let runner = runner();
    let (beside, other) = (runner.side_by_side(), runner.side_by_side());
    let worker = beside.clone();
    let slow = std::thread::spawn(move || worker.run(Job::new("wait", sh("sleep 60"))).err().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    beside.abandon();
    assert!(slow.join().unwrap().is::<Abandoned>());
    assert!(beside.check().is_err() && other.check().is_ok() && runner.check().is_ok());
    other.run(Job::new("go on", sh("exit 0"))).unwrap();
}

#[test]
fn an_interrupt_stops_the_wait() {
    let runner = runner();
    let flag = Arc::clone(&runner.interrupted);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        flag.store(true, Ordering::Relaxed);
    });
    let started = Instant::now();
    let error = runner.finish(Job::new("sleep", sh("sleep 30"))).err().unwrap();
    assert!(error.downcast_ref::<Interrupted>().is_some(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_quoted_command_leaves_out_what_the_shell_has() {
    let path = std::env::var_os("PATH").unwrap();
    let mut command = sh("true");
    command.env_clear().env("PATH", path).env("MUSLIN_X", "a b");
    assert_eq!(quote(&command), "MUSLIN_X='a b' sh -c true");
}

/// Runs as a child of the next test: starts a process tree and is killed while it waits for it.
#[test]
fn role_of_a_run_that_is_killed() {
    if let Some(mark) = std::env::var_os("MUSLIN_TEST_KILLED_RUN") {
        let script = format!(
            "trap 'kill $!; exit 1' TERM; sleep 60 & echo $! > {}; while kill -0 $!; do sleep 0.05; done",
            std::path::Path::new(&mark).display()
        );
        let _ = runner().finish(Job::new("wait", sh(&script)));
    }
}

#[test]
fn regression_children_outlived_a_killed_run() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run::tests::role_of_a_run_that_is_killed"])
        .env("MUSLIN_TEST_KILLED_RUN", &mark)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let pid = loop {
        let text = std::fs::read_to_string(&mark).unwrap_or_default();
        if text.ends_with('\n') {
            break text.trim().to_string();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the child did not start");
        std::thread::sleep(POLL);
    };
    run.kill().unwrap();
    run.wait().unwrap();
    let lives = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    let killed = Instant::now();
    while lives() && killed.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(POLL);
    }
    assert!(!lives(), "process {pid} lives on");
}

#[test]
fn a_missing_program_is_told() {
    let error = runner().run(Job::new("start it", Command::new("/nonexistent/program"))).err().unwrap();
    assert!(error.to_string().contains("could not start it"), "{error}");
}
