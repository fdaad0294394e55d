//! The report of a run: ratios, shares, problems, and the printed table.

use serde_json::json;

use super::accuracy::Accuracy;
use super::bench_case::{BenchCase, Precision, Program, Route};
use super::report::{EncodeReport, Measured, Peaks, Row, Work};
use super::samples::{Sample, Samples, Times};
use super::{DISTURBED, compare, judge, svg, table};
use crate::Outcome;
use crate::bench::{NOT_MEASURED, VECTORS_DIFFER};

const PROBE: f64 = 500e9;

/// One sample with these seconds and this probe.
fn samples(seconds: f64, probe: f64) -> Samples {
    let times = Times { seconds, without_tokenizer: Some(seconds / 2.0) };
    Samples(vec![Sample { times, probe_before: probe, probe_after: PROBE }])
}

fn row(program: Program, precision: Precision, route: Route, batch: f64, single: f64) -> Row {
    let accuracy = Accuracy { worst_cosine: 0.999_999, max_abs: 1e-6 };
    let (version, setting) =
        (format!("{} 1.0", program.name()), json!({ "batch": { "batch": 8, "streams": 2 } }));
    let result = Ok(Measured {
        version,
        setting,
        accuracy,
        batch: samples(batch, PROBE),
        single: samples(single, PROBE),
    });
    Row { case: BenchCase { program, precision, route }, result }
}

fn report(rows: Vec<Row>) -> EncodeReport {
    EncodeReport {
        machine: "A CPU, 2 cores".into(),
        isa: "avx512".into(),
        cores: 2,
        peaks: Peaks { f32: PROBE, bf16: Some(2.0 * PROBE), int8: None },
        batch: Work { texts: 256, tokens: 12_701, operations: 250e9 },
        single: Work { texts: 1, tokens: 34, operations: 0.5e9 },
        rows,
    }
}

fn example() -> EncodeReport {
    report(vec![
        row(Program::Inferd, Precision::F32, Route::InProcess, 1.0, 0.002),
        row(Program::Inferd, Precision::F32, Route::Http, 1.1, 0.0025),
        row(Program::OpenVino, Precision::F32, Route::InProcess, 1.5, 0.003),
        row(Program::OpenVino, Precision::Int8, Route::InProcess, 0.5, 0.001),
        Row {
            case: BenchCase::peer(Program::Torch, Precision::F32),
            result: Err("no torch\na second line".into()),
        },
    ])
}

fn measured(report: &mut EncodeReport, row: usize) -> &mut Measured {
    report.rows[row].result.as_mut().unwrap_or_else(|reason| panic!("{reason}"))
}

#[test]
fn ratios_are_to_inferd_at_the_same_precision_in_process_or_else_over_http() {
    let mut report = example();
    let ratio = |report: &EncodeReport, row: usize| report.ratio(&report.rows[row], super::Workload::Batch);
    assert_eq!(ratio(&report, 2), Some(1.5));
    // inferd itself, another precision, a peer without a result.
    assert_eq!([ratio(&report, 0), ratio(&report, 3), ratio(&report, 4)], [None; 3]);
    report.rows[0].result = Err("no option".into());
    assert_eq!(ratio(&report, 2), Some(1.5 / 1.1));
}

#[test]
fn a_disturbed_row_has_no_time_and_no_ratio_and_is_a_problem() {
    let mut report = example();
    assert!(report.problems().is_empty());
    measured(&mut report, 2).batch = samples(1.5, 0.94 * PROBE);
    let row = &report.rows[2];
    assert_eq!(report.seconds(row, super::Workload::Batch), None);
    assert_eq!(report.ratio(row, super::Workload::Batch), None);
    assert_eq!(report.ratio(row, super::Workload::Single), Some(1.5));
    let codes: Vec<_> = report.problems().iter().map(|problem| problem.code().id).collect();
    assert_eq!(codes, [DISTURBED.id]);
    assert!(!svg::chart(&report).contains("1.50 s"));
}

#[test]
fn wrong_vectors_of_inferd_are_a_violation_and_those_of_a_peer_are_not() {
    for (number, expected) in [(0, vec![VECTORS_DIFFER.id]), (2, vec![])] {
        let mut report = example();
        measured(&mut report, number).accuracy.max_abs = 2e-5;
        let codes: Vec<_> = report.problems().iter().map(|problem| problem.code().id).collect();
        assert_eq!(codes, expected);
    }
}

#[test]
fn a_missing_row_of_inferd_is_a_problem_and_a_missing_peer_is_not() {
    let mut report = example();
    report.rows[2].result = Err("it ended".into());
    assert!(report.problems().is_empty());
    report.rows[0].result = Err("it ended".into());
    let codes: Vec<_> = report.problems().iter().map(|problem| problem.code().id).collect();
    assert_eq!(codes, [NOT_MEASURED.id]);
}

#[test]
fn shares_are_of_the_peak_of_the_precision() {
    let report = example();
    let share = |row: usize| report.share_of_peak(&report.rows[row], super::Workload::Batch);
    // 250 GFLOP in 1 s of 500 GFLOP/s; no peak is known for int8.
    assert_eq!((share(0), share(3)), (Some(0.5), None));
}

#[test]
fn each_precision_has_its_own_peak() {
    let mut report = example();
    report.peaks.int8 = Some(4.0 * PROBE);
    let share = |precision: Precision| {
        let row = row(Program::OpenVino, precision, Route::InProcess, 1.0, 0.002);
        [super::Workload::Batch, super::Workload::Single].map(|workload| report.share_of_peak(&row, workload))
    };
    // 250 GFLOP in 1 s, 0.5 GFLOP in 2 ms, of 500, 1000 and 2000 GFLOP/s.
    assert_eq!(share(Precision::F32), [Some(0.5), Some(0.5)]);
    assert_eq!(share(Precision::Bf16), [Some(0.25), Some(0.25)]);
    assert_eq!(share(Precision::Int8), [Some(0.125), Some(0.125)]);
}

/// Vectors of five texts, of which no two are similar.
fn vectors() -> Vec<Vec<f32>> {
    (0..5).map(|text| (0..5).map(|i| if i == text { 1.0 } else { 0.0 }).collect()).collect()
}

#[test]
fn a_peer_with_vectors_of_other_texts_or_in_another_order_is_not_measured() {
    let reference = vectors();
    let mut reversed = vectors();
    reversed.reverse();
    let mut one_other = vectors();
    one_other[3] = vec![0.8, 0.0, 0.0, 0.6, 0.0];
    for precision in Precision::ALL {
        let peer = BenchCase::peer(Program::OpenVino, precision);
        assert!(compare(peer, &reference, &reference).is_ok());
        for wrong in [&reversed, &one_other] {
            let error = compare(peer, wrong, &reference).unwrap_err().to_string();
            assert!(error.starts_with("other vectors: worst cosine "), "{error}");
            // inferd gets a row, and its vectors are judged with the report.
            let inferd = BenchCase { program: Program::Inferd, precision, route: Route::Http };
            let accuracy = compare(inferd, wrong, &reference).unwrap();
            assert!(!accuracy.is_within(super::accuracy::bound(precision)), "{accuracy}");
        }
    }
}

#[test]
fn the_exit_status_follows_the_problems() {
    let status = |report: &EncodeReport| match judge(report) {
        Outcome::Pass => 0,
        Outcome::Problems(problems) => diag::exit_code(&problems),
        _ => panic!("an outcome without a diagnostic"),
    };
    assert_eq!(status(&example()), 0);
    let mut wrong = example();
    measured(&mut wrong, 0).accuracy.worst_cosine = 0.9;
    assert_eq!(status(&wrong), 1);
    let mut disturbed = example();
    measured(&mut disturbed, 0).single = samples(0.002, 0.9 * PROBE);
    assert_eq!(status(&disturbed), 2);
    let mut missing = example();
    missing.rows[1].result = Err("it ended".into());
    assert_eq!(status(&missing), 2);
}

#[test]
fn the_document_has_the_rows_of_the_report_in_order() {
    let report = example();
    let document = report.json();
    let rows = document["rows"].as_array().unwrap();
    let named = |value: &serde_json::Value, row: &Row| {
        let BenchCase { program, precision, route } = row.case;
        let texts = [program.name(), precision.name(), route.name()];
        ["program", "precision", "route"].map(|key| value[key].as_str().unwrap_or_default()) == texts
    };
    assert_eq!(rows.len(), report.rows.len());
    assert!(rows.iter().zip(&report.rows).all(|(value, row)| named(value, row)), "{document:#}");
}

#[test]
fn a_disturbed_row_has_no_time_in_table_and_document() {
    let mut report = example();
    measured(&mut report, 2).batch = samples(1.5, 0.94 * PROBE);
    let document = report.json();
    let batch = &document["rows"][2]["batch"];
    assert_eq!(
        (&batch["seconds"], &batch["disturbed"], &batch["samples"][0]["void"]),
        (&json!(null), &json!(true), &json!(true))
    );
    for key in ["seconds_without_tokenizer", "ratio", "share_of_peak"] {
        assert_eq!(batch[key], json!(null), "{key}");
    }
    let table = table::human(&report);
    let line = table.lines().find(|line| line.starts_with("openvino     f32")).unwrap();
    insta::assert_snapshot!(line, @"openvino     f32   in-process    disturbed        -      -        3.000     33 %   1.50      0.999999   1.0e-6");
}

/// Order of the texts, truncation, and the settings of `peer.py`, with a stand-in for numpy and tokenizers.
#[test]
fn the_script_of_the_peers_passes_its_tests() {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench/encode/test_peer.py");
    let mut python = std::process::Command::new("python3");
    let output = python.env("PYTHONDONTWRITEBYTECODE", "1").arg(&script).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("\nOK"), "{}:\n{text}", script.display());
}

#[test]
fn the_table_has_every_row() {
    insta::assert_snapshot!(table::human(&example()), @"
    A CPU, 2 cores; avx512; 2 threads
    measured peak of all cores: f32 500 GFLOP/s, bf16 1000 GFLOP/s, int8 - Gop/s
    256 texts, 12701 tokens, and one text of 34 tokens; from text to vector, best undisturbed round

                                   all texts s  of peak  ratio  one text ms  of peak  ratio  worst cosine  max-abs
    inferd       f32   in-process        1.000     50 %      -        2.000     50 %      -      0.999999   1.0e-6
    inferd       f32   http              1.100     45 %      -        2.500     40 %      -      0.999999   1.0e-6
    openvino     f32   in-process        1.500     33 %   1.50        3.000     33 %   1.50      0.999999   1.0e-6
    openvino     int8  in-process        0.500        -      -        1.000        -      -      0.999999   1.0e-6
    torch        f32   in-process  not measured: no torch

    ratio: time of the peer / time of inferd at the same precision, in-process where inferd offers it
    of peak: operations without padding, as a share of the measured peak of the precision
    inferd f32: inferd 1.0; batch 8, streams 2
    inferd f32 over HTTP: inferd 1.0; batch 8, streams 2
    openvino f32: openvino 1.0; batch 8, streams 2
    openvino int8: openvino 1.0; batch 8, streams 2
    ");
}

#[test]
fn the_document_has_times_reasons_and_samples() {
    let document = example().json();
    assert_eq!(document["rows"][2]["batch"]["ratio"], 1.5);
    assert_eq!(document["rows"][2]["batch"]["samples"][0]["void"], false);
    assert_eq!(document["rows"][2]["single"]["seconds_without_tokenizer"], 0.0015);
    assert_eq!(document["rows"][4]["not_measured"], "no torch\na second line");
}

/// Every measured row is a bar, its longest bar ends before the values, and characters of XML are escaped.
#[test]
fn the_chart_has_a_bar_for_each_row_and_panel() {
    let mut report = example();
    report.machine = "A <CPU> & more".into();
    let chart = svg::chart(&report);
    // The background and four rows in two panels.
    assert_eq!(chart.matches("<rect").count(), 1 + 4 * 2);
    // Each group with a known peak has its line.
    assert_eq!(chart.matches("<line").count(), 2);
    assert!(chart.contains("A &lt;CPU&gt; &amp; more"), "{chart}");
    assert!(chart.contains("width=\"580.0\""), "{chart}");
}
