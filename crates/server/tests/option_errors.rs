//! What a user reads after an invalid value of an option: what failed, what is expected, and what to run.

mod run_inferd;

use run_inferd::{inferd, run, tiny_bert};

/// The diagnostic of `inferd serve` with these options. A server that accepts them ends at its listener.
fn serve(options: &[&str]) -> String {
    let model = format!("tiny={}", tiny_bert().display());
    let ran =
        run(inferd().args(["serve", "--listen", "unix:/does/not/exist/s", "--model", &model]).args(options));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    ran.stderr
}

fn embed(options: &[&str]) -> String {
    let ran = run(inferd().arg("embed").arg("--model").arg(tiny_bert()).args(options));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn options_of_the_computation() {
    insta::assert_snapshot!(serve(&["--gemm", "mkl"]), @r"
    error: invalid value 'mkl' for '--gemm <NAME>'
      [possible values: own, openblas]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(serve(&["--gemm", "openblas", "--isa", "baseline"]), @r"
    error[compute-options]: `--isa` selects own kernels, which are not in use
      found:    `--gemm openblas --isa baseline`
    hint: leave `--gemm openblas` out, or select kernels of OpenBLAS by `--blas-core`
    ");
    insta::assert_snapshot!(serve(&["--gemm", "openblas", "--dtype", "tiny=int8"]), @r"
    error[compute-options]: OpenBLAS computes in f32 only
      expected: `--dtype f32` or `--dtype auto`
      found:    int8
    hint: leave `--gemm openblas` out: own kernels compute in int8
    ");
    insta::assert_snapshot!(serve(&["--dtype", "other=bf16"]), @r"
    error[compute-options]: `--dtype other=…` names no model that is served
      expected: `tiny`
      found:    `other`
    hint: pass `--dtype tiny=TYPE`, or `--dtype TYPE` for all models
    ");
    insta::assert_snapshot!(serve(&["--dtype", "bf16", "--dtype", "f32"]), @r"
    error[compute-options]: `--dtype` is repeated for all models
    hint: pass it once for all models, and once as `--dtype MODEL=TYPE` for each exception
    ");
    insta::assert_snapshot!(serve(&["--dtype", "fp16"]), @r"
    error: invalid value 'fp16' for '--dtype <[MODEL=]TYPE>': expected auto, f32, bf16 or int8, for one model `MODEL=bf16`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(serve(&["--blas-core", "Haswell"]), @r"
    error[compute-options]: `--blas-core` selects kernels of OpenBLAS, which is not in use
    hint: add `--gemm openblas`, or select own kernels by `--isa`
    ");
}

#[test]
fn options_of_the_memory() {
    insta::assert_snapshot!(serve(&["--memory-max", "150%"]), @r"
    error: invalid value '150%' for '--memory-max <SIZE|PERCENT>': expected 1% to 100%, or 0 for no bound

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(serve(&["--memory-headroom", "50"]), @r"
    error: invalid value '50' for '--memory-headroom <SIZE>': `50` has no unit; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`

    For more information, try '--help'.
    ");
    let text = serve(&["--memory-max", "10 MiB"]);
    assert!(text.ends_with("`--no-memory-check`: at the risk that requests get status 503\n"), "{text}");
}

#[test]
fn options_of_a_measurement() {
    insta::assert_snapshot!(embed(&["--rounds", "0", "--", "a"]), @r"
    error: invalid value '0' for '--rounds <N>': expected a whole number from 1 to 4294967295

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(embed(&["--rounds", "2", "--"]), @r"
    error[invalid-input]: `--rounds` has no text to measure
      expected: texts after `--`, or on stdin, one per line
    hint: for example `inferd embed --model DIR --rounds 10 -- 'a text'`
    ");
    insta::assert_snapshot!(embed(&["--dtype", "x=bf16", "--", "a"]), @r"
    error[compute-options]: `--dtype x=…` names a model, and `embed` has one
    hint: leave the name out: `inferd embed --model DIR --dtype bf16 -- TEXT`
    ");
}

#[test]
fn a_selftest_without_a_check_is_no_pass() {
    let help = run(inferd().args(["selftest", "--skip", "unknown"]));
    let names = help.stderr.split_once("[possible values: ").and_then(|(_, rest)| rest.split_once(']'));
    let names: Vec<&str> = names.expect("the error lists the checks").0.split(", ").collect();
    assert!(names.len() >= 7, "{names:?}");
    let skips = names.into_iter().flat_map(|name| ["--skip", name]);
    let ran = run(inferd().args(["selftest", "--json"]).args(skips));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["ok"]), (Some(2), &false.into()), "{}", ran.stdout);
}
