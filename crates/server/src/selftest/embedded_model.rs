//! The model inside the binary (fixtures/models/tiny-bert: random weights, real arithmetic), so that checks need no folder and
//! run in an image with nothing else in it.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use engine::Embedder;

/// A file of the fixtures folder. Aligned, because the weights are used in place as f32.
macro_rules! fixture {
    ($path:literal) => {{
        #[repr(C, align(64))]
        struct Aligned<T: ?Sized>(T);
        static FILE: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/", $path)));
        &FILE.0
    }};
}

pub const NAME: &str = "tiny-bert";
pub static FILES: &[(&str, &[u8])] = &[
    ("config.json", fixture!("models/tiny-bert/config.json")),
    ("modules.json", fixture!("models/tiny-bert/modules.json")),
    ("sentence_bert_config.json", fixture!("models/tiny-bert/sentence_bert_config.json")),
    ("tokenizer.json", fixture!("models/tiny-bert/tokenizer.json")),
    ("1_Pooling/config.json", fixture!("models/tiny-bert/1_Pooling/config.json")),
    ("model.safetensors", fixture!("models/tiny-bert/model.safetensors")),
];
pub(super) use fixture;

/// Several, so that the engine's workers are there to be measured.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The model, opened anew.
pub fn open() -> Result<Embedder, String> {
    Embedder::from_embedded(NAME, FILES, THREADS).map_err(|error| error.to_string())
}

/// One for all checks. Kept open: the last check measures the stacks of the engine's threads.
pub fn shared() -> Result<Arc<Embedder>, String> {
    static EMBEDDER: OnceLock<Arc<Embedder>> = OnceLock::new();
    if let Some(embedder) = EMBEDDER.get() {
        return Ok(Arc::clone(embedder));
    }
    let embedder = Arc::new(open()?);
    Ok(Arc::clone(EMBEDDER.get_or_init(|| embedder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_can_be_used_in_place() {
        for (name, bytes) in FILES {
            assert!(bytes.as_ptr().addr().is_multiple_of(64) && !bytes.is_empty(), "{name}");
        }
    }
}
