//! Cancelled work stops within one layer and releases its permit.
//!
//! The check counts and does not measure time: the engine must check the flag once before every layer, at any point of the forward
//! pass. Then a client disconnects during a request of many batches.

use engine::{Cancel, EngineError, IdleSignal};

use super::check::CheckResult;
use super::embedded_model;
use super::in_process::{self, GatedModel, InProcessServer};

/// Number of batches of the request.
const BATCHES: usize = 64;

/// The check.
pub fn stops() -> CheckResult {
    let expected = "the forward pass checks the flag before each layer and stops at the first check that sees it; the request of a \
                    client that disconnects stops after the batches that have begun, and no permit is left";
    let found = embedded_model::shared().and_then(|embedder| {
        let layers = every_layer(embedder.layers(), |cancel| {
            embedder.embed_tokens(&[vec![0; 8]], cancel, &IdleSignal::default())
        })?;
        let (begun, inflight) = disconnect()?;
        let found = format!(
            "stopped before each of {layers} layers; {begun} of {BATCHES} batches begun, {} permits and {} bytes left",
            inflight.0, inflight.1
        );
        if begun < BATCHES && inflight == (0, 0) { Ok(found) } else { Err(found) }
    });
    match found {
        Ok(found) => CheckResult::of(true, expected, found),
        Err(found) => CheckResult::of(false, expected, found),
    }
}

/// Sets the flag before the first layer, before the second, .. and after the last.
fn every_layer<T>(layers: usize, embed: impl Fn(&Cancel) -> Result<T, EngineError>) -> Result<usize, String> {
    for computed in 0..=layers {
        let stopped = match embed(&Cancel::after_checks(computed)) {
            Ok(_) => false,
            Err(EngineError::Cancelled) => true,
            Err(other) => return Err(other.to_string()),
        };
        match (computed < layers, stopped) {
            (true, false) => {
                return Err(format!("with the flag set after {computed} of {layers} layers, it did not stop"));
            }
            (false, true) => {
                return Err(format!("it checks the flag more than once for each of {layers} layers"));
            }
            _ => {}
        }
    }
    Ok(layers)
}

/// Number of batches that have begun, and permits and bytes in flight at the end.
fn disconnect() -> Result<(usize, (usize, u64)), String> {
    let model = GatedModel::new()?;
    let server = InProcessServer::open(model.clone())?;
    let tokens = in_process::options().batches.batch_tokens;
    let texts = BATCHES * tokens / 16;
    let body = serde_json::json!({ "input": vec![vec![0; 16]; texts] }).to_string();
    server.runtime.block_on(async {
        let request = tokio::spawn(server.embed(body));
        let begun = || model.gate().begun > 0 || request.is_finished();
        InProcessServer::wait_until("a batch is being computed", begun).await?;
        if request.is_finished() {
            let response = request.await;
            return Err(format!("the request ended before it began: {response:?}"));
        }
        request.abort();
        let inflight = || server.state.admission.inflight();
        let stopped = InProcessServer::wait_until("the permit is released", || inflight() == (0, 0)).await;
        let gate = *model.gate();
        // Without a cancellation the rest is computed now, and counted.
        model.gate().open = true;
        stopped?;
        if gate.cancelled == 0 {
            return Err("the engine did not report the cancellation".into());
        }
        Ok((gate.begun, inflight()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn passes_for_the_real_engine() {
        let result = stops();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
    }

    /// A forward pass that checks the flag before the layers that `checks` selects.
    fn pass(layers: usize, checks: impl Fn(usize) -> bool, cancel: &Cancel) -> Result<(), EngineError> {
        (0..layers).filter(|layer| checks(*layer)).try_for_each(|_| cancel.check())
    }

    #[test]
    fn fails_for_a_pass_that_skips_a_check() {
        assert_eq!(every_layer(3, |cancel| pass(3, |_| true, cancel)), Ok(3));
        let once = every_layer(3, |cancel| pass(3, |layer| layer == 0, cancel)).unwrap_err();
        assert_eq!(once, "with the flag set after 1 of 3 layers, it did not stop");
        let last = every_layer(3, |cancel| pass(3, |layer| layer < 2, cancel)).unwrap_err();
        assert_eq!(last, "with the flag set after 2 of 3 layers, it did not stop");
        assert!(every_layer(3, |_| Ok(())).is_err());
    }
}
