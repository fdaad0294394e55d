//! The intermediate results of a forward pass: token ids, then the hidden states after the embeddings and after each
//! layer. When a vector is wrong, the first failing comparison locates the defect.

#[path = "../../tests/golden/mod.rs"]
mod golden;

use std::path::{Path, PathBuf};

use kernels::isa::Isa;
use kernels::linear::Precision;

use super::encoder::Bert;
use super::packed::PackedSequences;
use super::scratch::Scratch;
use crate::cancel::Cancel;
use crate::compute_team::ComputeTeam;
use crate::config::ModelConfig;
use crate::gemm_backend::{GemmBackend, OwnKernels};
use crate::model_files::ModelFiles;
use crate::stack::STACK_SIZE_BYTES;
use crate::tokenizer::TextTokenizer;
use golden::{Golden, fixtures, max_abs, real_model};

pub(super) fn open(dir: &Path, gemm: GemmBackend) -> (TextTokenizer, Bert) {
    let files = ModelFiles::in_folder(dir).unwrap();
    let config = ModelConfig::load(&files).unwrap();
    let tokenizer = TextTokenizer::open(&files.file("tokenizer.json"), &config).unwrap();
    (tokenizer, Bert::open(&files.file("model.safetensors"), &config, gemm).unwrap())
}

pub(super) fn tiny_model() -> PathBuf {
    fixtures().join("models/tiny-bert")
}

/// Each instruction set in f32 and in its automatic precision, and OpenBLAS.
fn backends() -> impl Iterator<Item = GemmBackend> {
    let f32 = Isa::available().iter().map(|isa| OwnKernels { isa: *isa, precision: Precision::F32 });
    let automatic = Isa::available().iter().map(|isa| OwnKernels::automatic(*isa));
    let automatic = automatic.filter(|kernels| kernels.precision != Precision::F32);
    f32.chain(automatic).map(GemmBackend::Own).chain([GemmBackend::OpenBlas])
}

/// Largest accepted difference of a hidden state, which is not scaled to unit length as a vector is.
fn hidden_state_max_abs(gemm: GemmBackend) -> f32 {
    match gemm {
        // Operands have 16 bits, not 24.
        GemmBackend::Own(OwnKernels { precision: Precision::Bf16x3, .. }) => 1e-4,
        _ => 2e-5,
    }
}

fn assert_stages_match(dir: &Path, golden: &Golden) {
    for gemm in backends() {
        let (tokenizer, mut bert) = open(dir, gemm);
        for (text, ids) in golden.texts.iter().zip(&golden.ids) {
            assert_eq!(tokenizer.ids(text).unwrap(), *ids, "token ids of {text:?}");
        }
        let packed = PackedSequences::new([&golden.ids[golden.hidden_text][..]]);
        let expected: Vec<&[f32]> = golden.hidden_states().collect();
        for layers in (0..expected.len()).rev() {
            bert.truncate_layers(layers);
            let mut scratch = Scratch::default();
            in_worker(|| bert.forward(&packed, &mut scratch, &Cancel::default()).unwrap());
            let distance = max_abs(scratch.hidden_states(expected[layers].len()), expected[layers]);
            println!("{gemm:?} after {layers} layers: max-abs {distance:e}");
            assert!(
                distance < hidden_state_max_abs(gemm),
                "{gemm:?}: hidden states after {layers} layers: max-abs {distance:e}"
            );
        }
    }
}

/// Every thread that calls OpenBLAS has an explicit stack, tests included.
pub(super) fn in_worker<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_SIZE_BYTES);
        builder.spawn_scoped(scope, job).unwrap().join().unwrap()
    })
}

#[test]
fn tiny_model_matches_the_reference_after_every_layer() {
    assert_stages_match(&tiny_model(), &Golden::read("tiny-bert"));
}

#[test]
fn real_model_matches_the_reference_after_every_layer() {
    assert_stages_match(&real_model(), &Golden::read("all-MiniLM-L6-v2"));
}

/// Own kernels with every instruction set of this CPU in every precision.
fn every_precision() -> impl Iterator<Item = OwnKernels> {
    let precisions = [Precision::F32, Precision::Bf16x3, Precision::Bf16, Precision::Int8];
    Isa::available()
        .iter()
        .flat_map(move |isa| precisions.map(|precision| OwnKernels { isa: *isa, precision }))
}

/// The rows of a text, and its vector, are the same bits alone, behind other texts, and in groups of every size.
#[test]
fn a_vector_does_not_depend_on_its_chunk() {
    let golden = Golden::read("tiny-bert");
    for kernels in every_precision() {
        let (_, bert) = open(&tiny_model(), GemmBackend::Own(kernels));
        let mut scratch = Scratch::default();
        let mut run = |ids: &[&[u32]]| {
            let packed = PackedSequences::new(ids.iter().copied());
            bert.forward(&packed, &mut scratch, &Cancel::default()).unwrap()
        };
        let texts: Vec<&[u32]> = golden.ids.iter().map(Vec::as_slice).collect();
        let all = run(&texts);
        for (text, vector) in texts.iter().zip(&all) {
            assert_eq!(run(&[*text])[0], *vector, "{kernels:?}");
        }
        let reversed: Vec<&[u32]> = texts.iter().rev().copied().collect();
        assert!(run(&reversed).iter().rev().eq(&all), "{kernels:?}");
    }
}

/// Chunks that each team computes. A barrier that is missing shows only when a member is late, which is not in each of them.
const CHUNKS_ON_A_TEAM: usize = 200;

/// One text, or two with different lengths, on a team. Each chunk differs from the one before it: the memory that the members share
/// holds the result of that one, which would hide that a member reads too early.
#[test]
fn a_vector_does_not_depend_on_the_members_of_a_team() {
    let golden = Golden::read("tiny-bert");
    let texts: Vec<&[u32]> = golden.ids.iter().map(Vec::as_slice).collect();
    for kernels in every_precision().filter(|kernels| kernels.isa == Isa::best()) {
        let (_, bert) = open(&tiny_model(), GemmBackend::Own(kernels));
        let alone = |ids: &&[u32]| {
            let packed = PackedSequences::new([*ids]);
            bert.forward(&packed, &mut Scratch::default(), &Cancel::default()).unwrap().remove(0)
        };
        let expected: Vec<Vec<f32>> = texts.iter().map(alone).collect();
        for members in [1, 2, 3, 5] {
            let team = ComputeTeam::start(members.try_into().unwrap()).unwrap();
            let mut shared = Scratch::default();
            for chunk in 0..CHUNKS_ON_A_TEAM {
                let (first, second) = (chunk % texts.len(), chunk * 5 % texts.len());
                let of_chunk = if chunk % 2 == 0 { vec![first] } else { vec![first, second] };
                let packed = PackedSequences::new(of_chunk.iter().map(|text| texts[*text]));
                let found = bert.forward_on_team(&packed, &mut shared, &team, &Cancel::default()).unwrap();
                let same = found.iter().zip(&of_chunk).all(|(vector, text)| *vector == expected[*text]);
                assert!(same, "{kernels:?}: chunk {chunk} of the texts {of_chunk:?} on {members} members");
            }
        }
    }
}

/// In f32: the automatic precision of AMX is another one.
#[test]
fn sets_with_fma_yield_equal_vectors() {
    let golden = Golden::read("tiny-bert");
    let packed = PackedSequences::new(golden.ids.iter().map(Vec::as_slice));
    let fma = Isa::available().iter().filter(|isa| **isa != Isa::BASELINE);
    let mut vectors = fma.map(|isa| {
        let kernels = OwnKernels { isa: *isa, precision: Precision::F32 };
        let (_, bert) = open(&tiny_model(), GemmBackend::Own(kernels));
        bert.forward(&packed, &mut Scratch::default(), &Cancel::default()).unwrap()
    });
    let first = vectors.next();
    assert!(vectors.all(|vectors| Some(vectors) == first));
}
