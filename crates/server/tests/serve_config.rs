//! The options of `inferd serve`: sources and precedence, the configuration file, missing options.

mod run_inferd;

use run_inferd::{inferd, run, tiny_bert};

fn tiny() -> String {
    format!("tiny={}", tiny_bert().display())
}

#[test]
fn options_come_from_flag_then_environment_then_file_then_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inferd.toml");
    let text = "max_inflight = 1\nmax_inflight_bytes = \"2 MiB\"\nmax_body_bytes = \"3 MiB\"\nlazy_weights = true\n\
                model = [\"a=/m\"]\n";
    std::fs::write(&file, text).unwrap();
    let ran = run(inferd()
        .args(["serve", "--print-config", "--max-inflight", "9", "--config"])
        .arg(&file)
        .env("INFERD_MAX_INFLIGHT", "8")
        .env("INFERD_MAX_INFLIGHT_BYTES", "7 MiB"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<String> = ran
        .stdout
        .replace(file.to_str().unwrap(), "FILE")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| {
            let of_machine = ["threads", "batch_tokens", "blas_core", "isa", "memory_headroom", "memory_max"];
            !of_machine.iter().any(|name| line.contains(name))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    model = ["a=/m"] # FILE
    listen = ["127.0.0.1:8080"] # default
    # admin_listen is not set # default
    # allowed_host is not set # default
    # trusted_proxy is not set # default
    socket_mode = 660 # default
    # api_keys is not set # default
    protect_metrics = false # default
    gemm = "own" # default
    # dtype is not set # default
    lazy_weights = true # FILE
    no_memory_check = false # default
    max_inflight = 9 # --max-inflight
    max_inflight_bytes = "7 MiB" # INFERD_MAX_INFLIGHT_BYTES
    max_body_bytes = "3 MiB" # FILE
    allow_token_ids = false # default
    max_inputs = 2048 # default
    max_request_tokens = 262144 # default
    batch_delay = 0 # default
    queue_timeout = 0 # default
    request_timeout = "60 s" # default
    header_timeout = "30 s" # default
    body_timeout = "20 s" # default
    min_body_rate = "1 KiB" # default
    write_timeout = "20 s" # default
    max_connections = 1024 # default
    drain_timeout = "30 s" # default
    log_format = "text" # default
    "#);
    let derived = ran.stdout.lines().find_map(|line| line.strip_prefix("# memory_max = ")).unwrap();
    assert!(derived.contains(" % of ") && derived.contains("or the estimate if that is more"), "{derived}");
    // The output parses to the same values.
    let second = folder.path().join("printed.toml");
    std::fs::write(&second, &ran.stdout).unwrap();
    let again =
        run(inferd().args(["serve", "--print-config", "--lazy-weights=false", "--config"]).arg(&second));
    assert!(
        again.stdout.contains("max_inflight = 9") && again.stdout.contains("lazy_weights = false"),
        "{}",
        again.stdout
    );
}

#[test]
fn rejects_an_invalid_configuration_file_and_suggests_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inferd.toml");
    let stderr = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let ran = run(inferd().args(["serve", "--model", &tiny(), "--config"]).arg(&file));
        assert_eq!(ran.code, Some(2), "{text}");
        ran.stderr_with(&[(file.to_str().unwrap(), "FILE")])
    };
    insta::assert_snapshot!(stderr("max_inflite = 1\nbatch-tokens = 2\n"), @r"
    error[invalid-config]: the configuration file is invalid
      --> FILE
      because:  there is no option `batch-tokens`; did you mean `batch_tokens`?
      because:  there is no option `max_inflite`; did you mean `max_inflight`?
    hint: write `option = value`, one per line, as TOML; `inferd serve --help` lists the options; replace `-` by `_`
    ");
    for (text, cause) in [
        ("[server]\nmax_inflight = 1\n", "because:  there is no option `server`\n"),
        ("max_inflight = 1.5\n", "because:  `max_inflight` must be a string, an integer"),
        ("max_inflight = 0\n", "expected a whole number above 0"),
        ("max_inflight = \n", "because:  TOML parse error at line 1"),
        ("config = \"x\"\n", "because:  there is no option `config`"),
        ("max_inflight = 1\nmax_inflight = 2\n", "duplicate key"),
    ] {
        let stderr = stderr(text);
        assert!(stderr.starts_with("error[invalid-config]: ") && stderr.contains(cause), "{text}: {stderr}");
    }
    let ran = run(inferd().args(["serve", "--config", "/does/not/exist.toml"]));
    assert!(
        ran.code == Some(2) && ran.stderr.contains("cannot read the configuration file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rejects_a_start_without_a_model() {
    let ran = run(inferd().args(["serve"]));
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @r#"
    error[no-model]: no model is configured
    hint: pass `--model DIR`, set `INFERD_MODEL`, or write `model = ["DIR"]` into the file of `--config`
    "#);
}
