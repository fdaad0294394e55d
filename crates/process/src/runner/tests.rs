//! Children that fail, hang, are cancelled, or outlive their parent.

use super::*;

fn runner() -> Runner {
    Runner::without_signals()
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
    let error = runner().run(Task::new("compile x.c", sh(script))).unwrap_err();
    insta::assert_snapshot!(diag::render::human(&diag::collect(&error), diag::render::Style::default()));
}

#[test]
fn reports_a_signal_as_a_shell_does() {
    assert_eq!(runner().output(Task::new("die", sh("kill -SEGV $$"))).unwrap().shell_code(), 139);
}

#[test]
fn a_timeout_ends_grandchildren() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; wait", mark.display());
    let error =
        runner().output(Task::new("wait", sh(&script)).timeout(Duration::from_millis(300))).err().unwrap();
    assert!(diag::has_code(&error, &COMMAND_TIMEOUT), "{error}");
    let pid = std::fs::read_to_string(&mark).unwrap();
    // On a busy machine a killed process does not end immediately.
    let killed = Instant::now();
    loop {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        assert!(killed.elapsed() < GRACE, "the grandchild still runs: {state}");
        std::thread::sleep(POLL_MAX);
    }
}

/// Returns when the child has written the file.
fn wait_for(file: &Path) {
    let started = Instant::now();
    while !file.exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "the child did not start");
        std::thread::sleep(POLL_MAX);
    }
}

#[test]
fn cancel_ends_the_children_of_one_scope() {
    let runner = runner();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let (failing, other) = (runner.child_scope(), runner.child_scope());
    let (worker, wait) = (failing.clone(), sh(&format!("echo > {}; sleep 60", mark.display())));
    let slow = std::thread::spawn(move || worker.run(Task::new("wait", wait)).err().unwrap());
    wait_for(&mark);
    failing.cancel();
    assert!(diag::has_code(&slow.join().unwrap(), &CANCELLED));
    assert!(failing.check().is_err() && other.check().is_ok() && runner.check().is_ok());
    other.run(Task::new("go on", sh("exit 0"))).unwrap();
}

#[test]
fn an_interrupt_ends_a_wait() {
    let runner = runner();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let wait = sh(&format!("echo > {}; sleep 30", mark.display()));
    let flag = Arc::clone(&runner.interrupted);
    std::thread::spawn(move || {
        wait_for(&mark);
        flag.store(true, Ordering::Relaxed);
    });
    let started = Instant::now();
    let error = runner.output(Task::new("wait", wait)).err().unwrap();
    assert!(diag::has_code(&error, &INTERRUPTED), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// The child of the next test: starts a process tree and is killed while it waits for it.
#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
#[test]
fn child_role_killed_runner() {
    if let Some(mark) = std::env::var_os("MUSLIN_TEST_KILLED_RUNNER") {
        let script = format!(
            "trap 'kill $!; exit 1' TERM; sleep 60 & echo $! > {}; while kill -0 $!; do sleep 0.05; done",
            Path::new(&mark).display()
        );
        let _ = runner().output(Task::new("wait", sh(&script)));
    }
}

#[test]
fn children_end_with_a_killed_runner() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runner::tests::child_role_killed_runner"])
        .env("MUSLIN_TEST_KILLED_RUNNER", &mark)
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
        std::thread::sleep(POLL_MAX);
    };
    run.kill().unwrap();
    run.wait().unwrap();
    let is_running = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    let killed = Instant::now();
    while is_running() && killed.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(POLL_MAX);
    }
    assert!(!is_running(), "process {pid} still runs");
}

#[test]
fn stdout_is_reported_while_the_child_writes_it() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let events = Events::new(move |event| {
        if let Event::Output { bytes } = event {
            sender.send(bytes.clone()).unwrap();
        }
    });
    let runner = Runner { events, ..runner() };
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    // The child continues only after its first line was reported.
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.01; done; echo second", mark.display());
    let task = Task::new("write", sh(&script)).report_stdout().timeout(Duration::from_secs(30));
    let child = std::thread::spawn({
        let runner = runner.clone();
        move || runner.run(task)
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(30)).unwrap(), b"first\n");
    std::fs::write(&mark, "").unwrap();
    assert_eq!(child.join().unwrap().unwrap().stdout, b"first\nsecond\n");
    assert_eq!(receiver.try_iter().flatten().collect::<Vec<u8>>(), b"second\n");
    // Only on request, and never stderr.
    runner.run(Task::new("write", sh("echo out"))).unwrap();
    runner.run(Task::new("write", sh("echo err >&2")).report_stdout()).unwrap();
    assert!(receiver.try_iter().next().is_none());
}

#[test]
fn reports_a_missing_program() {
    let error = runner().run(Task::new("start it", Command::new("/nonexistent/program"))).err().unwrap();
    assert!(diag::has_code(&error, &COMMAND_NOT_STARTED), "{error}");
}

#[test]
fn polls_several_times_within_the_longest_interval() {
    let first: Vec<Duration> = poll_intervals().take(4).collect();
    assert!(first.iter().sum::<Duration>() < POLL_MAX, "{first:?}");
    assert_eq!(poll_intervals().nth(20), Some(POLL_MAX));
}
