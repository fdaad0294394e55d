//! The embedded model (fixtures/models/tiny-bert: random weights, real arithmetic), so that the checks need no folder
//! and run in an image that holds only the executable.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use engine::{Embedder, GemmBackend};

/// A file of the fixtures folder, aligned because the weights are read in place as f32.
macro_rules! fixture {
    ($path:literal) => {{
        #[repr(C, align(64))]
        struct Aligned<T: ?Sized>(T);
        static FILE: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/", $path)));
        &FILE.0
    }};
}

/// Name of the model.
pub const NAME: &str = "tiny-bert";
/// Its files.
pub static FILES: &[(&str, &[u8])] = &[
    ("config.json", fixture!("models/tiny-bert/config.json")),
    ("modules.json", fixture!("models/tiny-bert/modules.json")),
    ("sentence_bert_config.json", fixture!("models/tiny-bert/sentence_bert_config.json")),
    ("tokenizer.json", fixture!("models/tiny-bert/tokenizer.json")),
    ("1_Pooling/config.json", fixture!("models/tiny-bert/1_Pooling/config.json")),
    ("model.safetensors", fixture!("models/tiny-bert/model.safetensors")),
];
pub(super) use fixture;

/// More than one, so that the engine has workers to measure.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Opens a new instance.
pub fn open() -> Result<Embedder, String> {
    open_with(GemmBackend::default())
}

/// Opens a new instance that computes products by `gemm`.
pub fn open_with(gemm: GemmBackend) -> Result<Embedder, String> {
    Embedder::from_embedded(NAME, FILES, gemm, THREADS).map_err(|error| error.to_string())
}

/// The instance that all checks share. It stays open because the last check measures the stacks of the engine's
/// threads.
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
    fn files_are_aligned() {
        for (name, bytes) in FILES {
            assert!(bytes.as_ptr().addr().is_multiple_of(64) && !bytes.is_empty(), "{name}");
        }
    }
}
