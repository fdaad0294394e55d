//! Replaces one file of a model folder: the header of the weights, the tokenizer, or a JSON file. The engine must reject the
//! folder with a diagnostic, or open it and tokenize.
#![no_main]

use std::ffi::{c_char, c_int, c_void};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use engine::{Cancel, ComputeTeam, Embedder, GemmBackend};
use libfuzzer_sys::fuzz_target;

const WEIGHTS: &[u8] = include_bytes!("../../../fixtures/models/tiny-bert/model.safetensors");
const FILES: [(&str, &[u8]); 6] = [
    ("config.json", include_bytes!("../../../fixtures/models/tiny-bert/config.json")),
    ("modules.json", include_bytes!("../../../fixtures/models/tiny-bert/modules.json")),
    (
        "sentence_bert_config.json",
        include_bytes!("../../../fixtures/models/tiny-bert/sentence_bert_config.json"),
    ),
    ("1_Pooling/config.json", include_bytes!("../../../fixtures/models/tiny-bert/1_Pooling/config.json")),
    ("tokenizer.json", include_bytes!("../../../fixtures/models/tiny-bert/tokenizer.json")),
    ("model.safetensors", WEIGHTS),
];

/// On a memory file system if there is one, because every input is written to a file.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "a fuzz target has no Plan")]
    let base =
        Some(Path::new("/dev/shm")).filter(|path| path.is_dir()).map_or_else(std::env::temp_dir, Into::into);
    let folder = base.join(format!("fuzz-model-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("1_Pooling")).expect("the folder is writable");
    for (name, bytes) in FILES {
        std::fs::write(folder.join(name), bytes).expect("the file is writable");
    }
    folder
});
static TEAM: LazyLock<ComputeTeam> =
    LazyLock::new(|| ComputeTeam::start(NonZeroUsize::MIN).expect("a thread can be started"));

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let (name, original) = FILES[usize::from(*choice) % FILES.len()];
    let path = FOLDER.join(name);
    let weights;
    let written = match name {
        // The input is the header only. The floats after it do not influence opening and would dominate the input.
        "model.safetensors" => {
            weights = [&(bytes.len() as u64).to_le_bytes(), bytes, data_of(WEIGHTS)].concat();
            &weights[..]
        }
        _ => bytes,
    };
    std::fs::write(&path, written).expect("the file is writable");
    match Embedder::open_with_team(&FOLDER, GemmBackend::default(), &TEAM) {
        Ok(embedder) => {
            let texts = ["Hello, world \u{e9}\u{4e16}", "", &"a ".repeat(600)];
            if let Ok(ids) = embedder.tokenize(&texts, &Cancel::default()) {
                let max = embedder.max_tokens();
                assert!(ids.iter().all(|ids| ids.len() <= max), "more than {max} tokens");
            }
        }
        Err(error) => assert!(error.diagnostic().fields().hint.is_some()),
    }
    std::fs::write(&path, original).expect("the file is writable");
});

fn data_of(weights: &[u8]) -> &[u8] {
    let header = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    &weights[8 + header..]
}

// OpenBLAS is built for musl, the sanitizer for glibc. The stubs replace it and prove that opening computes no product.
macro_rules! never_called {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> $result {
            panic!("opening a model called {}", stringify!($name));
        })*
    };
}

never_called! {
    cblas_sgemm() -> ();
    openblas_set_num_threads(c_int) -> ();
    openblas_get_num_threads() -> c_int;
    openblas_get_num_procs() -> c_int;
    openblas_get_config() -> *mut c_char;
    openblas_get_corename() -> *mut c_char;
    openblas_get_parallel() -> c_int;
    gotoblas_pthread(c_int, *mut c_void, *mut c_void, c_int) -> c_int;
}
