//! Requests that violate the OpenAPI document, and bytes that are not quite HTTP: every response is documented, nothing panics,
//! and nothing remains.

mod bytes;
mod cases;
mod document;
mod judge;
mod schema;
mod values;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diag::Diagnostic;

use self::document::Document;
use self::wire::Wire;
use crate::context::Context;
use crate::http_client::Client;
use crate::rng::Rng;
use crate::server::Server;
use crate::{MALFORMED_RESPONSE, NOT_MEASURED, ScenarioCheck, aftermath};

/// Limits of the server: small enough that a list or a body beyond them is cheap, and times that end an incomplete request.
const LIMITS: [&str; 10] = [
    "--header-timeout",
    "5 s",
    "--body-timeout",
    "2 s",
    "--write-timeout",
    "5 s",
    "--max-body-bytes",
    "256 KiB",
    "--max-inputs",
    "64",
];
const CLIENTS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(15);
/// Failed requests that a check quotes, each with another violation.
const QUOTED_MAX: usize = 8;

pub fn run(context: &Context<'_>) -> anyhow::Result<Vec<ScenarioCheck>> {
    let model = context.model_argument();
    let arguments = [&["--model", &model][..], &LIMITS[..]].concat();
    let mut server = Server::start(context.binary, &arguments)?;
    let address = server.address();
    let before = server.sample()?;
    let document = Client::new(address, TIMEOUT).get("/openapi.json").map_err(|error| {
        Diagnostic::new(&NOT_MEASURED, "the server does not answer /openapi.json").found(error.to_string())
    })?;
    let document = Document::new(&document.body)?;

    let mut checks = vec![well_formed(context, &document, address)?, any_bytes(context, &document, address)?];
    checks.extend(aftermath::checks(&mut server, &before)?);
    Ok(checks)
}

/// Requests that the HTTP parser accepts.
fn well_formed(
    context: &Context<'_>,
    document: &Document,
    address: SocketAddr,
) -> anyhow::Result<ScenarioCheck> {
    let cases = cases::generate(document, context.seed, context.requests);
    let results = in_parallel(context, cases.len(), |index, kept: &mut Option<Wire>, results| {
        let case = &cases[index];
        let reply = kept
            .take()
            .map_or_else(|| Wire::connect(address).map_err(|error| error.to_string()), Ok)
            .and_then(|mut wire| {
                let (reply, is_reusable) = wire.exchange(&case.bytes, case.method == "HEAD")?;
                *kept = is_reusable.then_some(wire);
                Ok(reply)
            });
        let problem = match reply {
            Ok(reply) => {
                results.count(&reply.status.to_string());
                judge::of_case(document, case, &reply)
            }
            Err(problem) => Some(problem),
        };
        let operation = &document.operations[case.operation];
        results.problem(problem, &case.name, || {
            format!(
                "request {index} ({} {}, {}): {}",
                case.method,
                operation.path,
                case.name,
                quoted(&case.bytes)
            )
        });
    });
    context.runner.check()?;
    Ok(ScenarioCheck::new(
        &MALFORMED_RESPONSE,
        "malformed requests",
        results.problems == 0 && cases.len() == context.requests,
        format!(
            "for each of {} requests a response that /openapi.json documents; 200 only for a valid one",
            context.requests
        ),
        results.summary(context.seed),
    ))
}

/// The requests with two readings, then random bytes.
fn any_bytes(
    context: &Context<'_>,
    document: &Document,
    address: SocketAddr,
) -> anyhow::Result<ScenarioCheck> {
    let shapes = bytes::shapes();
    let count = context.requests;
    let results = in_parallel(context, count, |index, (): &mut (), results| {
        let shot = match shapes.get(index) {
            Some(shape) => shape.clone(),
            None => bytes::random(document, &mut Rng::new(context.seed, index as u64)),
        };
        let replies = Wire::connect(address)
            .map_err(|error| error.to_string())
            .and_then(|wire| wire.all(&shot.bytes, shot.piece));
        let problem = match replies {
            Ok((replies, end)) => {
                if replies.is_empty() {
                    results.count("closed");
                }
                replies.iter().for_each(|reply| results.count(&reply.status.to_string()));
                let is_smuggled = |body: &[u8]| String::from_utf8_lossy(body).contains(bytes::HIDDEN);
                if shot.hides && replies.iter().any(|reply| is_smuggled(&reply.body)) {
                    Some("the request inside of the body was answered".into())
                } else {
                    judge::of_bytes(document, &replies, end)
                }
            }
            Err(problem) => Some(problem),
        };
        results.problem(problem, &shot.name, || {
            format!("connection {index} ({}): {}", shot.name, quoted(&shot.bytes))
        });
    });
    context.runner.check()?;
    Ok(ScenarioCheck::new(
        &MALFORMED_RESPONSE,
        "bytes that are almost HTTP",
        results.problems == 0,
        format!("on each of {count} connections documented responses, or none, and then its end"),
        results.summary(context.seed),
    ))
}

/// What the clients observed.
#[derive(Default)]
struct Results {
    outcomes: BTreeMap<String, usize>,
    problems: usize,
    /// By what is wrong with the request.
    quoted: BTreeMap<String, String>,
}

impl Results {
    fn count(&mut self, outcome: &str) {
        *self.outcomes.entry(outcome.to_string()).or_default() += 1;
    }

    fn problem(&mut self, problem: Option<String>, name: &str, request: impl FnOnce() -> String) {
        if let Some(problem) = problem {
            self.problems += 1;
            if self.quoted.len() < QUOTED_MAX && !self.quoted.contains_key(name) {
                self.quoted.insert(name.to_string(), format!("{problem}; {}", request()));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.problems += other.problems;
        for (name, quoted) in other.quoted {
            if self.quoted.len() < QUOTED_MAX {
                self.quoted.entry(name).or_insert(quoted);
            }
        }
    }

    fn summary(&self, seed: u64) -> String {
        let outcomes: Vec<_> = self.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let outcomes = outcomes.join(", ");
        if self.quoted.is_empty() {
            return outcomes;
        }
        let quoted: Vec<_> = self.quoted.values().map(String::as_str).collect();
        format!("{} problems with `--seed {seed}`: {outcomes}\n{}", self.problems, quoted.join("\n"))
    }
}

/// Calls `work` for each index, on [`CLIENTS`] threads with a state each.
fn in_parallel<S: Default>(
    context: &Context<'_>,
    count: usize,
    work: impl Fn(usize, &mut S, &mut Results) + Sync,
) -> Results {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Results::default());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let (mut state, mut results) = (S::default(), Results::default());
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || context.runner.check().is_err() {
                        break;
                    }
                    work(index, &mut state, &mut results);
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).merge(results);
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The begin of a request, without control characters.
fn quoted(bytes: &[u8]) -> String {
    let text: String = bytes.escape_ascii().to_string().chars().take(400).collect();
    if bytes.len() > 400 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}
