//! Options and environment of the compute threads and of OpenBLAS, in the process.

mod http_client;
mod run_inferd;
mod running_server;

use std::time::Duration;

use http_client::{embed, get};
use run_inferd::{inferd, run, tiny_bert};
use running_server::Running;

fn tiny() -> String {
    format!("tiny={}", tiny_bert().display())
}

/// The value of a field of the start log.
fn field<'a>(server: &'a Running, name: &str) -> &'a str {
    let (_, rest) = server.start.split_once(&format!(" {name}=")).expect("a field of the log");
    rest.split(' ').next().unwrap_or_default()
}

#[test]
fn more_threads_than_the_build_supports_are_a_usage_error_with_the_maximum() {
    for command in ["serve", "embed"] {
        let ran = run(inferd().args([command, "--model", &tiny(), "--threads", "700"]));
        assert_eq!(ran.code, Some(2));
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @r"
            error: invalid value '700' for '--threads <N>': expected a whole number from 1 to 64, the maximum of this build

            For more information, try '--help'.
            ");
        }
    }
}

#[test]
fn variables_of_openblas_have_no_effect_and_are_reported() {
    let plain = Running::start(&["--model", &tiny()]);
    let mut command = inferd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--threads", "1", "--model", &tiny()]);
    command.env("OPENBLAS_CORETYPE", "Haswell").env("OPENBLAS_NUM_THREADS", "9").env("OPENBLAS_VERBOSE", "2");
    let server = Running::of(command);
    assert_eq!(field(&server, "blas"), field(&plain, "blas"));
    let warnings: Vec<&str> =
        server.start.lines().filter_map(|line| Some(line.split_once(" WARN ")?.1)).collect();
    insta::assert_snapshot!(warnings.join("\n"), @r#"
    config reason="the variable `OPENBLAS_CORETYPE` has no effect; use `--blas-core`"
    config reason="the variable `OPENBLAS_NUM_THREADS` has no effect; use `--threads`"
    "#);
    assert!(server.start.lines().all(|line| line.contains("Z ")), "OpenBLAS printed:\n{}", server.start);
}

#[test]
fn the_option_selects_kernels_and_slower_ones_cause_a_warning() {
    let server = Running::start(&["--model", &tiny(), "--gemm", "openblas", "--blas-core", "haswell"]);
    assert_eq!((field(&server, "blas"), field(&server, "kernels_source")), ("Haswell", "--blas-core"));
    // A CPU without AVX-512 has no faster kernels.
    let warning = server.start.lines().find_map(|line| Some(line.split_once(" WARN ")?.1));
    assert_eq!(warning.is_some(), engine::BlasKernels::SkylakeX.run_here());
    if let Some(warning) = warning {
        insta::assert_snapshot!(warning, @r#"config reason="the kernels Haswell of OpenBLAS are slower than SkylakeX, which this CPU supports; pass `--blas-core SkylakeX`, or no `--blas-core`""#);
    }
    assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
    let printed = |kernels: &[&str]| {
        run(inferd().args(["embed", "--model"]).arg(tiny_bert()).args(kernels).args(["--", "fox"])).stdout
    };
    for kernels in engine::BlasKernels::ALL.into_iter().filter(|kernels| kernels.run_here()) {
        assert!(
            printed(&["--gemm", "openblas", "--blas-core", kernels.name()]).starts_with('{'),
            "{kernels}"
        );
    }
    let ran = run(inferd().args(["serve", "--model", &tiny(), "--blas-core", "Abacus"]));
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @r"
    error: invalid value 'Abacus' for '--blas-core <NAME>': expected one of Prescott, Haswell, Zen, SkylakeX, SapphireRapids

    For more information, try '--help'.
    ");
}

/// Threads whose names begin with this.
fn threads_named(server: &Running, prefix: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

/// Not by the CPUs of the machine: a container with a quota of one CPU would have a worker for every CPU.
#[test]
fn openblas_has_workers_only_when_it_computes_and_no_more_than_the_server_has_threads_beside_the_caller() {
    for (gemm, threads, workers_max) in [("openblas", "1", 0), ("openblas", "2", 1), ("own", "2", 0)] {
        let mut command = inferd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--threads", threads, "--model", &tiny()]);
        command.args(["--gemm", gemm]);
        let server = Running::of(command);
        assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
        let workers = threads_named(&server, "oblas-");
        assert!(workers <= workers_max, "{workers} workers");
    }
}

/// CPU time of a process with all of its threads, the ended ones included.
fn cpu_time(pid: u32) -> Duration {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: writes to a local.
    assert_eq!(unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) }, 0);
    // SAFETY: writes to a local.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Texts with an interval between them, as a low load has.
const PACED_TEXTS: u32 = 25;
const INTERVAL: Duration = Duration::from_millis(200);
const BUSY_TEXTS: u32 = 200;
/// For each text: threads that wait spin for 50 us before they sleep, are woken and find cold caches. 0.8 ms were measured on two cores
/// of a Zen 5 EPYC under a load of 12.
const CPU_TIME_OF_A_PAUSE: Duration = Duration::from_millis(2);
/// Other work on the machine adds to the time, which a thread that polls does in each run: the smallest time counts.
const PACED_RUNS: u32 = 3;

/// A thread that polls or spins between two texts would use up to 200 ms of each interval.
#[test]
fn five_texts_a_second_cost_the_cpu_time_of_their_computation() {
    let server = Running::start(&["--model", &tiny()]);
    let text = "the quick brown fox jumps over the lazy dog ".repeat(4);
    let body = format!("{{\"input\":\"{text}\"}}");
    let per_text = |texts: u32, interval: Duration| {
        let before = cpu_time(server.child.id());
        for _ in 0..texts {
            assert_eq!(embed(server.address, &body).status, 200);
            std::thread::sleep(interval);
        }
        cpu_time(server.child.id()).checked_sub(before).unwrap() / texts
    };
    per_text(BUSY_TEXTS, Duration::ZERO);
    let busy = per_text(BUSY_TEXTS, Duration::ZERO);
    let bound = busy + CPU_TIME_OF_A_PAUSE;
    let mut paced = Duration::MAX;
    for _ in 0..PACED_RUNS {
        paced = paced.min(per_text(PACED_TEXTS, INTERVAL));
        if paced < bound {
            break;
        }
    }
    println!("CPU time of a text: {busy:?} without pauses, {paced:?} at five a second");
    assert!(
        paced < bound,
        "{paced:?} of CPU time for each text at five a second; expected less than {bound:?}: {busy:?} without pauses"
    );
}

/// The caller of a call computes too, so a server with `--threads N` has one compute thread fewer of its own.
#[test]
fn a_server_has_as_many_compute_threads_as_it_was_given() {
    for threads in ["1", "2", "3"] {
        let mut command = inferd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--threads", threads, "--model", &tiny()]);
        let server = Running::of(command);
        assert_eq!(embed(server.address, "{\"input\":\"fox\"}").status, 200);
        let expected: usize = threads.parse::<usize>().unwrap() - 1;
        assert_eq!(threads_named(&server, "embed-"), expected, "--threads {threads}");
    }
}

#[test]
fn a_request_timeout_of_zero_is_logged_as_disabled_and_each_model_has_a_load_time() {
    let second = format!("second={}", tiny_bert().display());
    let args = ["--model", &tiny(), "--model", &second, "--request-timeout", "0"];
    let server = Running::start(&args);
    assert_eq!(field(&server, "request_timeout"), "disabled");
    let loaded: Vec<&str> =
        server.start.lines().filter_map(|line| Some(line.split_once("model_loaded ")?.1)).collect();
    assert!(loaded.len() == 2 && loaded.iter().all(|line| line.contains("load_ms=")), "{loaded:?}");
    let page = get(server.address, "/metrics").text();
    for model in ["tiny", "second"] {
        let name = format!("inferd_model_load_duration_seconds{{model=\"{model}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        assert!(value.parse::<f64>().unwrap() > 0.0);
    }
}
