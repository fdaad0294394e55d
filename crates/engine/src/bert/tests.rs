//! The stages before the vector: token ids, then hidden states after the embeddings and after each layer. When a vector
//! is wrong, the first of these that fails says where.

#[path = "../../tests/golden/mod.rs"]
mod golden;

use std::path::Path;

use super::*;
use crate::tokenizer::TextTokenizer;
use golden::{Golden, fixtures, max_abs, real_model};

fn open(dir: &Path) -> (TextTokenizer, Bert) {
    let files = crate::model_files::ModelFiles::folder(dir).unwrap();
    let config = crate::config::read(&files).unwrap();
    let tokenizer = TextTokenizer::open(&files.file("tokenizer.json"), &config).unwrap();
    (tokenizer, load::open(&files.file("model.safetensors"), config).unwrap())
}

fn assert_stages_match(dir: &Path, golden: &Golden) {
    let (tokenizer, mut bert) = open(dir);
    for (text, ids) in golden.texts.iter().zip(&golden.ids) {
        assert_eq!(tokenizer.ids(text).unwrap(), *ids, "token ids of {text:?}");
    }
    let packed = PackedSequences::new([&golden.ids[golden.hidden_text][..]]);
    let expected: Vec<&[f32]> = golden.hidden_states().collect();
    assert_eq!(expected.len(), bert.layers.len() + 1);
    for layers in (0..expected.len()).rev() {
        bert.layers.truncate(layers);
        let mut scratch = Scratch::default();
        in_worker(|| bert.forward(&packed, &mut scratch, &Cancel::default()).unwrap());
        let distance = max_abs(&scratch.x, expected[layers]);
        println!("after {layers} layers: max-abs {distance:e}");
        assert!(distance < 2e-5, "hidden states after {layers} layers: max-abs {distance:e}");
    }
}

/// Whoever calls BLAS has an explicit stack, tests included.
fn in_worker<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(crate::blas::CALLER_STACK_BYTES);
        builder.spawn_scoped(scope, job).unwrap().join().unwrap()
    })
}

#[test]
fn tiny_model_matches_stage_by_stage() {
    assert_stages_match(&fixtures().join("models/tiny-bert"), &Golden::read("tiny-bert"));
}

#[test]
fn real_model_matches_stage_by_stage() {
    assert_stages_match(&real_model(), &Golden::read("all-MiniLM-L6-v2"));
}

#[test]
fn query_key_and_value_are_one_product_in_files_sorted_by_name() {
    let (_, bert) = open(&fixtures().join("models/tiny-bert"));
    for layer in &bert.layers {
        assert_eq!(layer.qkv.blocks.len(), 1);
        assert_eq!(layer.qkv.bias.len(), 3 * 32 + 2);
        assert_eq!((layer.qkv.key, layer.qkv.query, layer.qkv.value), (0, 33, 66));
    }
}

#[test]
fn three_products_give_what_one_gives() {
    let (tokenizer, mut bert) = open(&fixtures().join("models/tiny-bert"));
    let ids = tokenizer.ids("the quick brown fox").unwrap();
    let packed = PackedSequences::new([&ids[..]]);
    let run = |bert: &Bert| {
        in_worker(|| bert.forward(&packed, &mut Scratch::default(), &Cancel::default()).unwrap())
    };
    let fused = run(&bert);
    let hidden = bert.config.bert.hidden_size;
    for layer in &mut bert.layers {
        let qkv = &mut layer.qkv;
        let whole = qkv.blocks[0].weight.offset_bytes;
        let part = |row: usize| TensorRef { offset_bytes: whole + 4 * hidden * row, len: hidden * hidden };
        qkv.blocks = [qkv.query, qkv.key, qkv.value]
            .map(|row| ProjectionBlock { weight: part(row), first_column: row })
            .into();
    }
    assert!(max_abs(&fused[0], &run(&bert)[0]) < 1e-6);
}
