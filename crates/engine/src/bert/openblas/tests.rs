use super::qkv::ProjectionBlock;
use super::*;
use crate::bert::tests::{in_worker, open};
use crate::bert::{Bert, Scratch};
use crate::gemm_backend::GemmBackend;
use crate::weights::TensorRef;

const HIDDEN: usize = 32;

#[test]
fn query_key_and_value_are_one_product_in_files_sorted_by_name() {
    let (_, mut bert) = open(&crate::bert::tests::tiny_model(), GemmBackend::OpenBlas);
    for Layer { qkv, .. } in &bert.openblas_layers().layers {
        assert_eq!(qkv.blocks.len(), 1);
        assert_eq!(qkv.bias.len(), 3 * HIDDEN + 2);
        assert_eq!((qkv.key, qkv.query, qkv.value), (0, 33, 66));
    }
}

#[test]
fn three_products_equal_the_fused_product() {
    let (tokenizer, mut bert) = open(&crate::bert::tests::tiny_model(), GemmBackend::OpenBlas);
    let ids = tokenizer.ids("the quick brown fox").unwrap();
    let packed = PackedSequences::new([&ids[..]]);
    let run = |bert: &Bert| {
        in_worker(|| bert.forward(&packed, &mut Scratch::default(), &Cancel::default()).unwrap())
    };
    let fused = run(&bert);
    for Layer { qkv, .. } in &mut bert.openblas_layers().layers {
        let start = qkv.blocks[0].weight.offset_bytes;
        let block = |row: usize| {
            let weight = TensorRef { offset_bytes: start + 4 * HIDDEN * row, len: HIDDEN * HIDDEN };
            ProjectionBlock { weight, first_column: row }
        };
        qkv.blocks = [qkv.query, qkv.key, qkv.value].map(block).into();
    }
    let distance = fused[0].iter().zip(&run(&bert)[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance < 1e-6, "{distance:e}");
}
