//! The report as text.

use std::fmt::Write;

use super::bench_case::Workload;
use super::report::{EncodeReport, Measured, Row};

pub fn human(report: &EncodeReport) -> String {
    let EncodeReport { machine, isa, cores, peaks, batch, single, .. } = report;
    let mut text = format!("{machine}; {isa}; {cores} threads\n");
    let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{:.0}", rate / 1e9));
    let _ = writeln!(
        text,
        "measured peak of all cores: f32 {} GFLOP/s, bf16 {} GFLOP/s, int8 {} Gop/s",
        rate(Some(peaks.f32)),
        rate(peaks.bf16),
        rate(peaks.int8)
    );
    let _ = writeln!(
        text,
        "{} texts, {} tokens, and one text of {} tokens; from text to vector, best undisturbed round\n",
        batch.texts, batch.tokens, single.tokens
    );
    let _ = writeln!(
        text,
        "{:<13}{:<6}{:<12}{:>11}{:>9}{:>7}{:>13}{:>9}{:>7}{:>14}{:>9}",
        "",
        "",
        "",
        "all texts s",
        "of peak",
        "ratio",
        "one text ms",
        "of peak",
        "ratio",
        "worst cosine",
        "max-abs"
    );
    for row in &report.rows {
        let case = row.case;
        let _ =
            write!(text, "{:<13}{:<6}{:<12}", case.program.name(), case.precision.name(), case.route.name());
        let _ = match &row.result {
            Ok(measured) => writeln!(text, "{}", cells(report, row, measured)),
            Err(reason) => writeln!(text, "not measured: {}", reason.lines().next().unwrap_or_default()),
        };
    }
    text.push_str("\nratio: time of the peer / time of inferd at the same precision, in-process where inferd offers it\n");
    text.push_str("of peak: operations without padding, as a share of the measured peak of the precision\n");
    for row in &report.rows {
        if let Ok(measured) = &row.result {
            let _ = writeln!(text, "{}: {}{}", row.case, measured.version, setting(measured));
        }
    }
    text
}

fn cells(report: &EncodeReport, row: &Row, measured: &Measured) -> String {
    let mut text = String::new();
    for (workload, scale, width) in [(Workload::Batch, 1.0, 11), (Workload::Single, 1e3, 13)] {
        let seconds = match report.seconds(row, workload) {
            Some(seconds) => format!("{:.3}", seconds * scale),
            None => "disturbed".into(),
        };
        let percent =
            report.share_of_peak(row, workload).map_or("-".into(), |share| format!("{:.0} %", share * 100.0));
        let ratio = report.ratio(row, workload).map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let _ = write!(text, "{seconds:>width$}{percent:>9}{ratio:>7}");
    }
    let _ = write!(text, "{:>14.6}{:>9.1e}", measured.accuracy.worst_cosine, measured.accuracy.max_abs);
    text
}

/// `; batch 8, streams 2`
fn setting(measured: &Measured) -> String {
    let Some(setting) = measured.setting["batch"].as_object() else { return String::new() };
    let values = setting.iter().filter(|(key, _)| *key != "seconds");
    let texts: Vec<String> =
        values.map(|(key, value)| format!("{key} {}", value.to_string().trim_matches('"'))).collect();
    format!("; {}", texts.join(", "))
}
