//! `GET /`: a status page in HTML, without scripts and external resources. The numbers are those of `/metrics`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};

use super::super::super::admission::Phase;
use super::super::super::state::AppState;
use crate::build_info::{self, NAME};
use crate::memory::process;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;\
    background:#fff}h1{font-size:1.4rem}h2{font-size:1rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%;table-layout:fixed}\
    th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd;font-weight:400;vertical-align:top;overflow-wrap:anywhere}\
    th{width:45%;color:#666}.ok{color:#15702a}.bad{color:#b00020}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th{color:#999}th,td{border-color:#333}\
    .ok{color:#6fcf87}.bad{color:#ff7b8a}}";

/// Allows the inline style and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
pub async fn page(State(state): State<Arc<AppState>>) -> Response<Body> {
    let mut response = Response::new(Body::from(html(&state)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn html(state: &AppState) -> String {
    let info = build_info::get();
    let ready = match state.admission.phase() {
        Phase::Ready => "<span class=ok>ready</span>",
        Phase::Draining => "<span class=bad>shutting down</span>",
    };
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{NAME}</title><style>{STYLE}</style><h1>{NAME} {} is {ready}</h1>",
        escape(info.version)
    );
    let (requests, bytes) = state.admission.inflight();
    let limits = state.admission.limits();
    let blas = engine::blas_info();
    table(
        &mut page,
        "Server",
        &[
            ("Uptime", duration(state.started.elapsed().as_secs())),
            ("Commit", info.commit.into()),
            (
                "Compute",
                format!("{} threads, {}; OpenBLAS kernel {}", state.threads, state.kernels, blas.core),
            ),
            ("Connections", state.metrics.connections().to_string()),
            ("Requests in flight", format!("{requests} of {}", limits.requests_max)),
            ("Requests in the queue", state.scheduler.queued().to_string()),
            ("Bytes in flight", format!("{} of {}", mib(bytes), mib(limits.bytes_max))),
        ],
    );
    let entries = state.catalog.entries();
    let models: Vec<(&str, String)> = entries
        .iter()
        .map(|entry| (entry.name(), if entry.is_loaded() { "in memory" } else { "not loaded" }.into()))
        .collect();
    table(&mut page, "Models", &models);
    let counts = state.metrics.requests_by_status();
    let counts: Vec<(String, String)> =
        counts.iter().map(|(status, count)| (outcome(*status), count.to_string())).collect();
    let counts: Vec<(&str, String)> =
        counts.iter().map(|(outcome, count)| (outcome.as_str(), count.clone())).collect();
    table(&mut page, "Requests by status", &counts);
    let mut memory = Vec::new();
    if let Some(process) = process::read(Path::new("/")) {
        memory.push(("Resident", mib(process.resident)));
        memory.push(("Anonymous", mib(process.anonymous)));
        memory.push(("Threads", process.threads.to_string()));
    }
    if let Some(report) = state.memory() {
        memory.push(("Estimate for the models, anonymous", mib(report.estimate_anonymous)));
        if let Some(measured) = report.measured_anonymous {
            memory.push(("Measured after loading, anonymous", mib(measured)));
        }
        memory.push(("Weights, mapped from files", mib(report.estimate_file)));
    }
    table(&mut page, "Memory and threads", &memory);
    page
}

fn table(page: &mut String, title: &str, rows: &[(&str, String)]) {
    let _ = write!(page, "<h2>{title}</h2><table>");
    for (name, value) in rows {
        let _ = write!(page, "<tr><th>{}<td>{}", escape(name), escape(value));
    }
    if rows.is_empty() {
        page.push_str("<tr><td>none");
    }
    page.push_str("</table>");
}

fn outcome(status: u16) -> String {
    match status {
        499 => "499 Client Closed Request".into(),
        status => {
            let reason =
                axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            format!("{status} {}", reason.unwrap_or_default())
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_html() {
        let mut page = String::new();
        table(&mut page, "t", &[("<b>", "a&\"".into())]);
        assert!(page.contains("<tr><th>&lt;b&gt;<td>a&amp;&quot;"), "{page}");
    }

    #[test]
    fn prints_durations_in_two_units() {
        let all = [5, 65, 3700, 90_000].map(duration);
        assert_eq!(all, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
