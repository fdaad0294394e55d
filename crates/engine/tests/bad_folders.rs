//! Rejection of invalid model folders: copies of the tiny model with one defect each. The snapshots show the diagnostic of
//! each defect: code, file, expected and found value, hint.

mod golden;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use engine::{Embedder, GemmBackend, ModelError};
use serde_json::{Value, json};

/// A copy of the tiny model, removed when dropped.
struct Copy(PathBuf);

impl Copy {
    #[expect(clippy::disallowed_methods, reason = "a folder of a test")]
    fn new(case: &str) -> Copy {
        let dir = std::env::temp_dir().join(format!("muslin-bad-folder-{}-{case}", std::process::id()));
        std::fs::create_dir_all(dir.join("1_Pooling")).unwrap();
        let source = golden::fixtures().join("models/tiny-bert");
        for file in FILES {
            std::fs::copy(source.join(file), dir.join(file)).unwrap();
        }
        Copy(dir)
    }

    fn edit_json(self, file: &str, edit: impl FnOnce(&mut Value)) -> Copy {
        let path = self.0.join(file);
        let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
        self
    }

    fn edit_bytes(self, file: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Copy {
        let path = self.0.join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// Edits the header of the weights and appends `padding` spaces to it, which the format permits.
    fn edit_header(self, padding: usize, edit: impl FnOnce(&mut Value)) -> Copy {
        self.edit_bytes("model.safetensors", |bytes| {
            let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let mut header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
            edit(&mut header);
            let mut text = header.to_string().into_bytes();
            text.resize(text.len().next_multiple_of(8) + padding, b' ');
            let mut file = (text.len() as u64).to_le_bytes().to_vec();
            file.extend_from_slice(&text);
            file.extend_from_slice(&bytes[8 + len..]);
            *bytes = file;
        })
    }

    fn open(&self) -> Result<Embedder, ModelError> {
        Embedder::open(&self.0, GemmBackend::default(), NonZeroUsize::MIN)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The diagnostics of several cases, for one snapshot.
#[derive(Default)]
struct Rejections(String);

impl Rejections {
    #[track_caller]
    fn add(&mut self, case: &str, copy: Copy) {
        let text = rejection(&copy.0).replace(&copy.0.display().to_string(), "MODEL");
        let _ = writeln!(self.0, "# {case}\n{text}");
    }
}

/// The text of the diagnostic.
#[track_caller]
fn rejection(dir: &Path) -> String {
    match Embedder::open(dir, GemmBackend::default(), NonZeroUsize::MIN) {
        Ok(_) => panic!("the engine accepted {}", dir.display()),
        Err(error) => diag::render::human(&[error.diagnostic()], diag::render::Style::default()),
    }
}

const FILES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "1_Pooling/config.json",
];

const QUERY: &str = "encoder.layer.0.attention.self.query.weight";

/// The precondition of all other tests: the defect is the only reason for a rejection.
#[test]
fn accepts_an_unmodified_copy() {
    let copy = Copy::new("unmodified");
    assert_eq!(copy.open().unwrap().embed(&["a"]).unwrap()[0].len(), 32);
    assert!(copy.edit_header(0, |_| {}).open().is_ok());
}

#[test]
fn names_each_missing_file() {
    let mut rejections = Rejections::default();
    for file in FILES {
        let copy = Copy::new(&format!("missing-{}", file.replace('/', "-")));
        std::fs::remove_file(copy.0.join(file)).unwrap();
        rejections.add(file, copy);
    }
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn rejects_a_path_that_is_not_a_folder() {
    let file = golden::fixtures().join("models/tiny-bert/config.json");
    let text = rejection(&file).replace(&file.display().to_string(), "FILE");
    insta::assert_snapshot!(text + &rejection(Path::new("no/such/folder")));
}

#[test]
fn reports_a_folder_in_place_of_a_file_as_unreadable() {
    let copy = Copy::new("folder-as-file");
    std::fs::remove_file(copy.0.join("config.json")).unwrap();
    std::fs::create_dir(copy.0.join("config.json")).unwrap();
    let mut rejections = Rejections::default();
    rejections.add("folder", copy);
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn names_all_missing_tensors_together() {
    let rename = |header: &mut Value, name: &str| {
        let tensor = header.as_object_mut().unwrap().remove(name).unwrap();
        header[format!("other.{name}")] = tensor;
    };
    let copy = Copy::new("missing-tensors").edit_header(0, |header| {
        rename(header, QUERY);
        rename(header, "embeddings.LayerNorm.bias");
    });
    let mut rejections = Rejections::default();
    rejections.add("two tensors", copy);
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn states_the_expected_and_the_found_property_of_a_tensor() {
    let mut rejections = Rejections::default();
    let copy = Copy::new("shape").edit_header(0, |header| header[QUERY]["shape"] = json!([16, 64]));
    rejections.add("shape", copy);
    let copy = Copy::new("dtype").edit_header(0, |header| header[QUERY]["dtype"] = json!("I32"));
    rejections.add("element type", copy);
    rejections.add("alignment", Copy::new("alignment").edit_header(1, |_| {}));
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn states_the_expected_and_the_found_length_of_the_weights() {
    let mut rejections = Rejections::default();
    let mut add = |case: &str, edit: fn(&mut Vec<u8>)| {
        rejections.add(case, Copy::new(case).edit_bytes("model.safetensors", edit));
    };
    add("one-byte-less", |bytes| bytes.truncate(bytes.len() - 1));
    add("one-byte-more", |bytes| bytes.push(0));
    add("incomplete-header", |bytes| bytes.truncate(100));
    add("incomplete-header-length", |bytes| bytes.truncate(7));
    add("empty", Vec::clear);
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn rejects_weights_without_a_safetensors_header() {
    let copy = Copy::new("text").edit_bytes("model.safetensors", |bytes| bytes[8..40].fill(b'x'));
    let mut rejections = Rejections::default();
    rejections.add("text", copy);
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn states_the_position_of_malformed_json() {
    let mut rejections = Rejections::default();
    for file in FILES.into_iter().filter(|file| file.ends_with(".json")) {
        let copy = Copy::new(&format!("json-{}", file.replace('/', "-")));
        rejections.add(file, copy.edit_bytes(file, |bytes| bytes.truncate(5)));
    }
    let copy = Copy::new("json-decoder").edit_bytes("tokenizer.json", |bytes| {
        let decoder = bytes.windows(10).position(|word| word == b"\"decoder\":").unwrap();
        let prefix = decoder + bytes[decoder..].windows(9).position(|word| word == b"\"prefix\":").unwrap();
        bytes.insert(prefix, 0xe8);
    });
    rejections.add("an invalid byte inside `decoder`", copy);
    insta::assert_snapshot!(rejections.0);
}

/// The `tokenizers` crate panics on such decoders, and the engine needs none.
#[test]
fn ignores_the_decoder_of_a_tokenizer() {
    for decoder in [json!({ "type": "WordPiece", "prefix": 1 }), json!({ "type": "unknown" }), json!([])] {
        let copy =
            Copy::new("no-decoder").edit_json("tokenizer.json", |tokenizer| tokenizer["decoder"] = decoder);
        copy.open().unwrap();
    }
    let copy = Copy::new("surrogate").edit_bytes("tokenizer.json", |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains(r###""prefix": "##""###));
        *bytes = text.replace(r###""prefix": "##""###, r#""prefix": "\ud800""#).into_bytes();
    });
    copy.open().unwrap();
}

/// The `tokenizers` crate does not check these references and panics at the first text.
#[test]
fn rejects_a_template_whose_references_do_not_resolve() {
    let mut rejections = Rejections::default();
    let mut add = |case: &str, edit: fn(&mut Value)| {
        let copy =
            Copy::new(case).edit_json("tokenizer.json", |tokenizer| edit(&mut tokenizer["post_processor"]));
        rejections.add(case, copy);
    };
    add("unknown-token", |template| template["single"][0]["SpecialToken"]["id"] = json!("[CLX]"));
    add("second-text", |template| template["single"][1]["Sequence"]["id"] = json!("B"));
    add("unequal-lists", |template| template["special_tokens"]["[SEP]"]["ids"] = json!([1, 2]));
    add("template-in-a-sequence", |template| {
        template["single"][0]["SpecialToken"]["id"] = json!("[CLX]");
        *template = json!({ "type": "Sequence", "processors": [template] });
    });
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn rejects_an_inconsistent_bert_configuration() {
    let mut rejections = Rejections::default();
    for (case, field, value) in [
        ("heads", "num_attention_heads", json!(5)),
        ("zero", "num_hidden_layers", json!(0)),
        ("layers", "num_hidden_layers", json!(1_000_000_000_000u64)),
        ("epsilon", "layer_norm_eps", json!(-1.0)),
    ] {
        let copy = Copy::new(case).edit_json("config.json", |config| config[field] = value);
        rejections.add(case, copy);
    }
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn rejects_files_that_contradict_each_other() {
    let mut rejections = Rejections::default();
    for (case, file, field, value) in [
        ("sequence-too-long", "sentence_bert_config.json", "max_seq_length", json!(129)),
        ("sequence-too-short", "sentence_bert_config.json", "max_seq_length", json!(2)),
        ("pooling-width", "1_Pooling/config.json", "word_embedding_dimension", json!(384)),
        ("vocabulary", "config.json", "vocab_size", json!(100)),
    ] {
        rejections.add(case, Copy::new(case).edit_json(file, |config| config[field] = value));
    }
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn rejects_unsupported_models() {
    let mut rejections = Rejections::default();
    for (case, field, value) in [
        ("architecture", "model_type", json!("mpnet")),
        ("activation", "hidden_act", json!("gelu_new")),
        ("positions", "position_embedding_type", json!("relative_key")),
        ("decoder", "is_decoder", json!(true)),
    ] {
        rejections.add(case, Copy::new(case).edit_json("config.json", |config| config[field] = value));
    }
    let copy = Copy::new("dense").edit_json("modules.json", |modules| {
        modules[2]["type"] = json!("sentence_transformers.models.Dense");
    });
    rejections.add("module", copy);
    let copy = Copy::new("pooling").edit_json("1_Pooling/config.json", |config| {
        config["pooling_mode_max_tokens"] = json!(true);
    });
    rejections.add("pooling mode", copy);
    let copy =
        Copy::new("escape").edit_json("modules.json", |modules| modules[1]["path"] = json!("../elsewhere"));
    rejections.add("path outside the folder", copy);
    insta::assert_snapshot!(rejections.0);
}

#[test]
fn applies_cls_pooling_and_omits_normalization_as_configured() {
    let copy = Copy::new("cls").edit_json("1_Pooling/config.json", |config| {
        config["pooling_mode_mean_tokens"] = json!(false);
        config["pooling_mode_cls_token"] = json!(true);
    });
    let cls = copy.open().unwrap().embed(&["a man"]).unwrap().remove(0);
    let copy = Copy::new("raw").edit_json("modules.json", |modules| {
        modules.as_array_mut().unwrap().pop();
    });
    let raw = copy.open().unwrap().embed(&["a man"]).unwrap().remove(0);
    let mean = Copy::new("mean").open().unwrap().embed(&["a man"]).unwrap().remove(0);
    assert!(golden::max_abs(&cls, &mean) > 1e-3);
    assert!(golden::max_abs(&raw, &mean) > 1e-3);
    assert!((golden::cosine(&raw, &mean) - 1.0).abs() < 1e-6, "normalization preserves the direction");
}
