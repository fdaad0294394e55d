//! Work that nobody waits for any more stops within one layer, and gives its permit back.
//!
//! Counted, not timed: the engine must look at the flag once before every layer, wherever in the pass it is set. Then a
//! client goes away in the middle of a request of many batches, through the real routes.

use engine::{Cancel, EngineError, IdleSignal};

use super::rehearsal::{Gated, Rehearsal};
use super::{Outcome, embedded_model};

/// A request of this many batches of the rehearsal's settings.
const BATCHES: usize = 64;

pub fn stops() -> Outcome {
    let expected = "the forward pass looks at the flag before each of its layers and ends with the first look that sees it; a client \
                    that goes away stops its request after the batches under way, and no permit is left";
    let found = embedded_model::shared().and_then(|embedder| {
        let layers = every_layer(embedder.layers(), |cancel| {
            embedder.embed_tokens(&[vec![0; 8]], cancel, &IdleSignal::default())
        })?;
        let (begun, permits) = client_gone()?;
        let batches = begun < BATCHES && permits == (0, 0);
        let found = format!(
            "stopped before each of {layers} layers; {begun} of {BATCHES} batches begun, {} permits and {} bytes left",
            permits.0, permits.1
        );
        if batches { Ok(found) } else { Err(found) }
    });
    match found {
        Ok(found) => Outcome::judge(true, expected, found),
        Err(why) => Outcome::judge(false, expected, why),
    }
}

/// Sets the flag before the first layer, the second, .. and after the last.
fn every_layer<T>(layers: usize, embed: impl Fn(&Cancel) -> Result<T, EngineError>) -> Result<usize, String> {
    for computed in 0..=layers {
        let stopped = match embed(&Cancel::after_checks(computed)) {
            Ok(_) => false,
            Err(EngineError::Cancelled) => true,
            Err(other) => return Err(other.to_string()),
        };
        match (computed < layers, stopped) {
            (true, false) => return Err(format!("set after {computed} of {layers} layers, it did not stop")),
            (false, true) => return Err(format!("it looks more than once for each of {layers} layers")),
            _ => {}
        }
    }
    Ok(layers)
}

/// Batches that were begun in all, and permits and bytes held at the end.
fn client_gone() -> Result<(usize, (usize, u64)), String> {
    let model = Gated::new()?;
    let rehearsal = Rehearsal::open(model.clone())?;
    let tokens = super::rehearsal::options().batches.batch_tokens;
    let texts = BATCHES * tokens / 16;
    let body = serde_json::json!({ "input": vec![vec![0; 16]; texts] }).to_string();
    rehearsal.runtime.block_on(async {
        let request = tokio::spawn(rehearsal.embed(body));
        Rehearsal::until("a batch is being computed", || model.gate().begun > 0 || request.is_finished())
            .await?;
        if request.is_finished() {
            let answer = request.await;
            return Err(format!("the request was answered before it began: {answer:?}"));
        }
        request.abort();
        let app = &rehearsal.app;
        // Set by hand only when the cancellation did not come: then the rest is computed, and counted.
        let stopped = Rehearsal::until("the permit is back", || app.admission.held() == (0, 0)).await;
        let gate = *model.gate();
        model.gate().open = true;
        stopped?;
        if gate.cancelled == 0 {
            return Err("the engine did not say that it was cancelled".into());
        }
        Ok((gate.begun, app.admission.held()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_real_engine_passes() {
        let outcome = stops();
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.found);
    }

    /// A pass of `layers` layers that looks before those that `looks` says.
    fn pass(layers: usize, looks: impl Fn(usize) -> bool, cancel: &Cancel) -> Result<(), EngineError> {
        for layer in (0..layers).filter(|layer| looks(*layer)) {
            let _ = layer;
            cancel.check()?;
        }
        Ok(())
    }

    #[test]
    fn a_pass_that_looks_once_a_chunk_or_forgets_a_layer_is_caught() {
        assert_eq!(every_layer(3, |cancel| pass(3, |_| true, cancel)), Ok(3));
        let once = every_layer(3, |cancel| pass(3, |layer| layer == 0, cancel)).unwrap_err();
        assert_eq!(once, "set after 1 of 3 layers, it did not stop");
        let last = every_layer(3, |cancel| pass(3, |layer| layer < 2, cancel)).unwrap_err();
        assert_eq!(last, "set after 2 of 3 layers, it did not stop");
        assert!(every_layer(3, |_| Ok(())).is_err());
    }
}
