//! The report as a bar chart: one panel for each workload, one bar for each row, grouped by precision.
//!
//! Plain SVG without script, fonts or external files, so that it can stand in a Markdown document.

use std::fmt::Write;

use super::bench_case::{Precision, Program, Route, Workload};
use super::report::{EncodeReport, Row};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
/// Room for the value behind a bar.
const VALUES: f64 = 90.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const GROUP_GAP: f64 = 12.0;
const PANEL_HEAD: f64 = 34.0;
const HEAD: f64 = 44.0;
const FOOT: f64 = 40.0;

pub fn chart(report: &EncodeReport) -> String {
    let panels: Vec<(Workload, Vec<Vec<&Row>>)> =
        Workload::ALL.into_iter().map(|workload| (workload, groups(report, workload))).collect();
    let height = HEAD + panels.iter().map(|(_, groups)| panel_height(groups)).sum::<f64>() + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#1f2328\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(
        &mut svg,
        (16.0, 26.0),
        "start",
        "font-size=\"15\" font-weight=\"bold\"",
        "Time from text to vector; shorter is better",
    );
    let mut top = HEAD;
    for (workload, groups) in &panels {
        panel(&mut svg, report, *workload, groups, top);
        top += panel_height(groups);
    }
    let foot = format!("{}; {} threads", report.machine, report.cores);
    let style = "font-size=\"11\" fill=\"#59636e\"";
    text(&mut svg, (16.0, height - 24.0), "start", style, &foot);
    let line = "Vertical line: time of the operations alone, without padding, at the measured peak rate of the cores";
    text(&mut svg, (16.0, height - 9.0), "start", style, line);
    svg.push_str("</svg>\n");
    svg
}

/// Rows with a time, by precision.
fn groups(report: &EncodeReport, workload: Workload) -> Vec<Vec<&Row>> {
    let of = |precision| -> Vec<&Row> {
        let rows = report.rows.iter().filter(|row| row.case.precision == precision);
        rows.filter(|row| report.seconds(row, workload).is_some()).collect()
    };
    Precision::ALL.into_iter().map(of).filter(|rows| !rows.is_empty()).collect()
}

fn panel_height(groups: &[Vec<&Row>]) -> f64 {
    PANEL_HEAD + groups.iter().map(|rows| rows.len() as f64 * STEP + GROUP_GAP).sum::<f64>()
}

fn panel(svg: &mut String, report: &EncodeReport, workload: Workload, groups: &[Vec<&Row>], top: f64) {
    let work = report.work(workload);
    let (title, scale, unit) = match workload {
        Workload::Batch => (format!("{} texts, {} tokens", work.texts, work.tokens), 1.0, "s"),
        Workload::Single => (format!("One text, {} tokens", work.tokens), 1e3, "ms"),
    };
    text(svg, (16.0, top + 18.0), "start", "font-weight=\"bold\"", &title);
    let seconds = |row: &Row| report.seconds(row, workload).unwrap_or(0.0);
    let longest = groups.iter().flatten().map(|row| seconds(row)).fold(f64::MIN_POSITIVE, f64::max);
    let length = |seconds: f64| seconds / longest * (WIDTH - LABELS - VALUES);
    let mut y = top + PANEL_HEAD;
    for rows in groups {
        let start = y;
        for row in rows {
            let (baseline, width) = (y + BAR - 3.5, length(seconds(row)));
            text(svg, (LABELS - 8.0, baseline), "end", "", &row.case.to_string());
            let color = color(row);
            let _ = writeln!(
                svg,
                "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{color}\"/>"
            );
            let value = format!("{:.2} {unit}", seconds(row) * scale);
            text(svg, (LABELS + width + 6.0, baseline), "start", "", &value);
            y += STEP;
        }
        if let Some(floor) = rows.first().and_then(|row| report.floor(row.case.precision, workload)) {
            let (x, end) = (LABELS + length(floor), y - STEP + BAR + 3.0);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{end:.1}\" stroke=\"#1f2328\" stroke-width=\"1.5\"/>",
                start - 3.0
            );
        }
        y += GROUP_GAP;
    }
}

fn color(row: &Row) -> &'static str {
    match (row.case.program, row.case.route) {
        (Program::Inferd, Route::InProcess) => "#c2410c",
        (Program::Inferd, Route::Http) => "#fb923c",
        _ => "#9aa4b2",
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, style: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let style = if style.is_empty() { String::new() } else { format!(" {style}") };
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{style}>{content}</text>");
}
