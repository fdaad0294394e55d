//! Comparison of vectors and token ids with the results of sentence-transformers (`fixtures/goldens/make.py`), for the
//! tiny committed model and for the real all-MiniLM-L6-v2.
#![expect(clippy::print_stdout, reason = "helpers print the distances that they measured")]

mod golden;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use engine::{Embedder, GemmBackend, Isa, OwnKernels, Token};
use golden::{Golden, fixtures, real_model};

/// The acceptance bounds of the project. The measured errors are about ten times smaller.
const COSINE_MIN: f64 = 0.99999;
const MAX_ABS: f32 = 1e-5;
/// OpenBLAS uses other block sizes for a single text than for a batch, so its vectors are equal up to rounding.
const OPENBLAS_BATCH_MAX_ABS: f32 = 1e-6;

fn tiny() -> (Embedder, Golden) {
    (open(tiny_dir(), GemmBackend::default(), 2), Golden::read("tiny-bert"))
}

fn real() -> (Embedder, Golden) {
    (open(real_model(), GemmBackend::default(), 2), Golden::read("all-MiniLM-L6-v2"))
}

fn tiny_dir() -> PathBuf {
    fixtures().join("models/tiny-bert")
}

fn open(dir: PathBuf, gemm: GemmBackend, threads: usize) -> Embedder {
    Embedder::open(&dir, gemm, NonZeroUsize::new(threads).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// Own kernels with every instruction set of this CPU, and OpenBLAS.
fn backends() -> impl Iterator<Item = GemmBackend> {
    Isa::available()
        .iter()
        .map(|isa| GemmBackend::Own(OwnKernels::automatic(*isa)))
        .chain([GemmBackend::OpenBlas])
}

fn assert_vectors_match(dir: PathBuf, golden: Golden) {
    for gemm in backends() {
        let embedder = open(dir.clone(), gemm, 2);
        assert_eq!(embedder.dimension(), golden.dimension);
        assert_eq!(embedder.max_tokens(), golden.max_tokens);
        let vectors = embedder.embed(&golden.texts).unwrap();
        assert_eq!(vectors.len(), golden.texts.len());
        let mut worst = 0.0;
        for (i, vector) in vectors.iter().enumerate() {
            let (text, expected) = (&golden.texts[i], golden.vector(i));
            let (cosine, distance) = (golden::cosine(vector, expected), golden::max_abs(vector, expected));
            assert!(cosine > COSINE_MIN, "{gemm:?}: text {i} {text:?}: cosine {cosine}");
            assert!(distance < MAX_ABS, "{gemm:?}: text {i} {text:?}: max-abs {distance:e}");
            worst = f32::max(worst, distance);
        }
        println!("{gemm:?}: max-abs over all texts: {worst:e}");
    }
}

/// Own kernels: bit for bit.
fn assert_batch_equals_single(dir: PathBuf, golden: Golden) {
    for gemm in backends() {
        let embedder = open(dir.clone(), gemm, 2);
        let batched = embedder.embed(&golden.texts).unwrap();
        for (text, batched) in golden.texts.iter().zip(&batched) {
            let single = &embedder.embed(&[text]).unwrap()[0];
            match gemm {
                GemmBackend::Own(_) => assert_eq!(single, batched, "{gemm:?}: {text:?}"),
                GemmBackend::OpenBlas => {
                    assert!(golden::max_abs(single, batched) < OPENBLAS_BATCH_MAX_ABS, "{text:?}");
                }
            }
        }
    }
}

#[test]
fn tiny_model_equals_the_golden_vectors() {
    assert_vectors_match(tiny_dir(), Golden::read("tiny-bert"));
}

#[test]
fn real_model_equals_the_golden_vectors() {
    assert_vectors_match(real_model(), Golden::read("all-MiniLM-L6-v2"));
}

#[test]
fn tiny_model_yields_equal_vectors_single_and_in_a_batch() {
    assert_batch_equals_single(tiny_dir(), Golden::read("tiny-bert"));
}

#[test]
fn real_model_yields_equal_vectors_single_and_in_a_batch() {
    assert_batch_equals_single(real_model(), Golden::read("all-MiniLM-L6-v2"));
}

#[test]
fn repeated_calls_and_worker_counts_do_not_change_a_bit_of_a_vector() {
    let (embedder, golden) = tiny();
    let first = embedder.embed(&golden.texts).unwrap();
    assert_eq!(first, embedder.embed(&golden.texts).unwrap());
    for threads in [1, 3, 16] {
        let other = open(tiny_dir(), GemmBackend::default(), threads);
        assert_eq!(first, other.embed(&golden.texts).unwrap(), "{threads} workers");
    }
}

#[test]
fn an_empty_list_of_texts_yields_an_empty_list_of_vectors() {
    assert!(tiny().0.embed::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn concurrent_callers_of_one_model_get_their_own_vectors() {
    let (embedder, golden) = tiny();
    let expected = embedder.embed(&golden.texts).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for (text, expected) in golden.texts.iter().zip(&expected) {
                    let vector = &embedder.embed(&[text]).unwrap()[0];
                    assert_eq!(vector, expected);
                }
            });
        }
    });
}

#[test]
fn a_cancelled_call_fails_and_the_next_call_succeeds() {
    let (embedder, golden) = tiny();
    let cancel = engine::Cancel::default();
    cancel.cancel();
    assert!(matches!(
        embedder.embed_cancellable(&golden.texts, &cancel),
        Err(engine::EngineError::Cancelled)
    ));
    assert_eq!(embedder.embed(&golden.texts).unwrap().len(), golden.texts.len());
}

#[test]
fn tokens_with_offsets_equal_the_golden_tokens_at_their_offsets() {
    for (embedder, golden) in [tiny(), real()] {
        let cancel = engine::Cancel::default();
        let tokens_of = |special| -> Vec<Vec<Token>> {
            golden.texts.iter().map(|text| embedder.tokens(text, special).unwrap()).collect()
        };
        let (all, plain) = (tokens_of(true), tokens_of(false));
        for (((text, ids), tokens), plain) in golden.texts.iter().zip(&golden.ids).zip(&all).zip(&plain) {
            let token_ids: Vec<u32> = tokens.iter().map(Token::id).collect();
            if tokens.len() <= golden.max_tokens {
                assert_eq!(token_ids, *ids, "{text:?}");
            } else {
                // Not truncated: all golden ids except the last, which is special, are a prefix.
                assert_eq!(token_ids[..ids.len() - 1], ids[..ids.len() - 1], "{text:?}");
                assert_eq!(token_ids.last(), ids.last());
            }
            assert_eq!(
                tokens.iter().filter(|token| !token.is_special()).collect::<Vec<_>>(),
                plain.iter().collect::<Vec<_>>()
            );
            for token in plain {
                let Some((part, (start, stop))) = token.part(text) else { continue };
                assert_eq!(text.chars().skip(start).take(stop - start).collect::<String>(), part, "{text:?}");
            }
        }
        // More tokens than any model reads, with leading and trailing spaces.
        let long = format!("  {}", "fox ".repeat(3000));
        let tokens = embedder.tokens(&long, true).unwrap();
        let cut = &embedder.tokenize(&[&long], &cancel).unwrap()[0];
        assert_eq!(cut.len(), embedder.max_tokens());
        assert!(tokens.len() >= 3002 && tokens[0].is_special() && tokens[tokens.len() - 1].is_special());
        let last = &tokens[tokens.len() - 2];
        assert!(
            !last.is_special()
                && last.part(&long).is_some_and(|(_, (_, stop))| stop == long.trim_end().chars().count()),
            "{last:?}"
        );
    }
}

/// A text of megabytes is truncated before it reaches the tokenizer, which must not change its first `max_tokens` ids.
#[test]
fn a_long_text_yields_the_ids_of_its_first_words_in_bounded_time() {
    let mut errors = Vec::new();
    for (embedder, _) in [tiny(), real()] {
        let cancel = engine::Cancel::default();
        // Below the size from which texts are truncated, and far above it.
        for part in [
            "fox ",
            "it's -- \u{301} a\u{7} ",
            "\u{72d0}\u{72f8}",
            "Caf\u{e9}, (na\u{ef}ve) ",
            "..... b\n",
            "\u{3042} c\t",
        ] {
            let short = part.repeat((16 << 10) / part.len());
            let long = part.repeat((4 << 20) / part.len());
            let started = std::time::Instant::now();
            let ids = embedder.tokenize(&[&short, &long], &cancel).unwrap();
            assert_eq!(ids[0], ids[1], "{part:?}");
            assert_eq!(ids[0].len(), embedder.max_tokens(), "{part:?}");
            assert!(started.elapsed().as_secs() < 5, "{part:?}: {:?}", started.elapsed());
        }
        let endless = "x".repeat(4 << 20);
        let error = embedder.tokenize(&[&endless], &cancel).unwrap_err().to_string();
        errors.push(error);
        assert!(embedder.tokens(&endless, true).is_err());
        assert!(embedder.tokenize(&["x".repeat(100 << 10)], &cancel).is_ok());
    }
    insta::assert_snapshot!(errors.join("\n"), @"
    text 0 could not be tokenized: it has a word of 4194304 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    text 0 could not be tokenized: it has a word of 4194304 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    ");
}
