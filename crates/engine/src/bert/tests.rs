//! The intermediate results of a forward pass: token ids, then the hidden states after the embeddings and after each
//! layer. When a vector is wrong, the first failing comparison locates the defect.

#[path = "../../tests/golden/mod.rs"]
mod golden;

use std::path::Path;

use super::encoder::Bert;
use super::layout::ProjectionBlock;
use super::packed::PackedSequences;
use super::scratch::Scratch;
use crate::cancel::Cancel;
use crate::config::ModelConfig;
use crate::model_files::ModelFiles;
use crate::stack::STACK_SIZE_BYTES;
use crate::tokenizer::TextTokenizer;
use crate::weights::TensorRef;
use golden::{Golden, fixtures, max_abs, real_model};

const HIDDEN: usize = 32;

fn open(dir: &Path) -> (TextTokenizer, Bert) {
    let files = ModelFiles::in_folder(dir).unwrap();
    let config = ModelConfig::load(&files).unwrap();
    let tokenizer = TextTokenizer::open(&files.file("tokenizer.json"), &config).unwrap();
    (tokenizer, Bert::open(&files.file("model.safetensors"), &config).unwrap())
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
        let distance = max_abs(scratch.hidden_states(), expected[layers]);
        println!("after {layers} layers: max-abs {distance:e}");
        assert!(distance < 2e-5, "hidden states after {layers} layers: max-abs {distance:e}");
    }
}

/// Every thread that calls OpenBLAS has an explicit stack, tests included.
fn in_worker<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_SIZE_BYTES);
        builder.spawn_scoped(scope, job).unwrap().join().unwrap()
    })
}

#[test]
fn tiny_model_matches_the_reference_after_every_layer() {
    assert_stages_match(&fixtures().join("models/tiny-bert"), &Golden::read("tiny-bert"));
}

#[test]
fn real_model_matches_the_reference_after_every_layer() {
    assert_stages_match(&real_model(), &Golden::read("all-MiniLM-L6-v2"));
}

#[test]
fn fuses_query_key_and_value_in_files_sorted_by_name() {
    let (_, bert) = open(&fixtures().join("models/tiny-bert"));
    for layer in &bert.layers {
        assert_eq!(layer.qkv.blocks.len(), 1);
        assert_eq!(layer.qkv.bias.len(), 3 * HIDDEN + 2);
        assert_eq!((layer.qkv.key, layer.qkv.query, layer.qkv.value), (0, 33, 66));
    }
}

#[test]
fn three_products_equal_the_fused_product() {
    let (tokenizer, mut bert) = open(&fixtures().join("models/tiny-bert"));
    let ids = tokenizer.ids("the quick brown fox").unwrap();
    let packed = PackedSequences::new([&ids[..]]);
    let run = |bert: &Bert| {
        in_worker(|| bert.forward(&packed, &mut Scratch::default(), &Cancel::default()).unwrap())
    };
    let fused = run(&bert);
    for layer in &mut bert.layers {
        let qkv = &mut layer.qkv;
        let start = qkv.blocks[0].weight.offset_bytes;
        let block = |row: usize| {
            let weight = TensorRef { offset_bytes: start + 4 * HIDDEN * row, len: HIDDEN * HIDDEN };
            ProjectionBlock { weight, first_column: row }
        };
        qkv.blocks = [qkv.query, qkv.key, qkv.value].map(block).into();
    }
    assert!(max_abs(&fused[0], &run(&bert)[0]) < 1e-6);
}
