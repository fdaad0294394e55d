//! Model folders that must be refused: copies of the tiny model with one thing broken. Each gives one error that names
//! the file, what was expected and what was found, and a hint.

mod golden;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use engine::{Embedder, ModelError, ModelErrorKind as Kind};
use serde_json::{Value, json};

/// A copy of the tiny model, removed when dropped.
struct Copy(PathBuf);

impl Copy {
    fn new(test: &str) -> Copy {
        let dir = std::env::temp_dir().join(format!("muslin-bad-folder-{}-{test}", std::process::id()));
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

    /// Edits the header of the weights; `padding` spaces are added to it, which is legal.
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
        Embedder::open(&self.0, NonZeroUsize::MIN)
    }

    #[track_caller]
    fn refused(self, kind: Kind, file: &str, expected: &str, found: &str) {
        let error = match self.open() {
            Ok(_) => panic!("the folder was accepted"),
            Err(error) => error,
        };
        let text = error.to_string();
        assert_eq!(error.kind, kind, "{text}");
        assert_eq!(error.file, self.0.join(file), "{text}");
        assert!(error.expected.contains(expected), "expected {expected:?} in: {text}");
        assert!(error.found.contains(found), "found {found:?} in: {text}");
        assert!(text.contains("\nhint: ") && !error.hint.is_empty(), "{text}");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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

#[test]
fn an_untouched_copy_is_accepted() {
    // Without this, every test below could pass for the wrong reason.
    let copy = Copy::new("untouched");
    assert_eq!(copy.open().unwrap().embed(&["a"]).unwrap()[0].len(), 32);
    assert!(copy.edit_header(0, |_| {}).open().is_ok());
}

#[test]
fn each_missing_file_is_named() {
    for file in FILES {
        let copy = Copy::new(&format!("missing-{}", file.replace('/', "-")));
        std::fs::remove_file(copy.0.join(file)).unwrap();
        copy.refused(Kind::MissingFile, file, "with this file in it", "no such file");
    }
}

#[test]
fn a_folder_that_is_none_is_refused() {
    let open = |path: &Path| Embedder::open(path, NonZeroUsize::MIN).err().unwrap();
    let file = golden::fixtures().join("models/tiny-bert/config.json");
    assert_eq!((open(&file).kind, open(&file).found.as_str()), (Kind::MissingFile, "not a folder"));
    assert_eq!(open(Path::new("no/such/folder")).found, "nothing");
}

#[test]
fn a_folder_in_place_of_a_file_is_unreadable() {
    let copy = Copy::new("folder-as-file");
    std::fs::remove_file(copy.0.join("config.json")).unwrap();
    std::fs::create_dir(copy.0.join("config.json")).unwrap();
    copy.refused(Kind::Unreadable, "config.json", "a readable file", "directory");
}

#[test]
fn missing_tensors_are_named_all_at_once() {
    let rename = |header: &mut Value, name: &str| {
        let tensor = header.as_object_mut().unwrap().remove(name).unwrap();
        header[format!("other.{name}")] = tensor;
    };
    let copy = Copy::new("missing-tensors").edit_header(0, |header| {
        rename(header, QUERY);
        rename(header, "embeddings.LayerNorm.bias");
    });
    let error = copy.open().err().unwrap();
    assert_eq!(error.kind, Kind::MissingTensor);
    assert!(error.found.contains(QUERY) && error.found.contains("embeddings.LayerNorm.bias"), "{error}");
    copy.refused(Kind::MissingTensor, "model.safetensors", "these 2 tensors", QUERY);
}

#[test]
fn a_wrong_shape_says_both_shapes() {
    let copy = Copy::new("shape").edit_header(0, |header| header[QUERY]["shape"] = json!([16, 64]));
    copy.refused(Kind::WrongShape, "model.safetensors", "query.weight` of shape [32, 32]", "[16, 64]");
}

#[test]
fn a_wrong_element_type_says_which() {
    let copy = Copy::new("dtype").edit_header(0, |header| header[QUERY]["dtype"] = json!("I32"));
    copy.refused(Kind::WrongDtype, "model.safetensors", "query.weight` as F32", "I32");
}

#[test]
fn weights_off_their_alignment_are_refused() {
    let copy = Copy::new("alignment").edit_header(1, |_| {});
    copy.refused(Kind::Misaligned, "model.safetensors", "multiple of 4 bytes", "byte ");
}

#[test]
fn truncated_weights_say_both_lengths() {
    let copy =
        Copy::new("truncated").edit_bytes("model.safetensors", |bytes| bytes.truncate(bytes.len() - 1));
    copy.refused(Kind::Truncated, "model.safetensors", "142840 bytes", "142839 bytes");
    let copy = Copy::new("longer").edit_bytes("model.safetensors", |bytes| bytes.push(0));
    copy.refused(Kind::Truncated, "model.safetensors", "142840 bytes", "142841 bytes");
    let copy = Copy::new("header").edit_bytes("model.safetensors", |bytes| bytes.truncate(100));
    copy.refused(Kind::Truncated, "model.safetensors", "bytes of header", "100 bytes");
    let copy = Copy::new("short").edit_bytes("model.safetensors", |bytes| bytes.truncate(7));
    copy.refused(Kind::Truncated, "model.safetensors", "safetensors file", "7 bytes");
    let copy = Copy::new("nothing").edit_bytes("model.safetensors", Vec::clear);
    copy.refused(Kind::Truncated, "model.safetensors", "safetensors file", "0 bytes");
}

#[test]
fn weights_that_are_something_else_are_refused() {
    let copy = Copy::new("text").edit_bytes("model.safetensors", |bytes| bytes[8..40].fill(b'x'));
    copy.refused(Kind::Malformed, "model.safetensors", "safetensors header", "JSON");
}

#[test]
fn json_that_is_none_is_refused_with_its_place() {
    for file in ["config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"] {
        let copy = Copy::new(&format!("json-{}", file.replace('/', "-")));
        copy.edit_bytes(file, |bytes| bytes.truncate(5)).refused(Kind::Malformed, file, "JSON", " at line ");
    }
    let copy = Copy::new("json-tokenizer").edit_bytes("tokenizer.json", |bytes| bytes.truncate(5));
    copy.refused(Kind::Malformed, "tokenizer.json", "tokenizer", "");
    // The crate that reads it panics on this one; found by fuzzing.
    let copy = Copy::new("json-decoder").edit_bytes("tokenizer.json", |bytes| {
        let decoder = bytes.windows(10).position(|word| word == b"\"decoder\":").unwrap();
        let prefix = decoder + bytes[decoder..].windows(9).position(|word| word == b"\"prefix\":").unwrap();
        bytes.insert(prefix, 0xe8);
    });
    copy.refused(Kind::Malformed, "tokenizer.json", "tokenizer", "line");
}

/// The crate looks these up without asking, and panics at the first text; found by fuzzing.
#[test]
fn a_template_that_cannot_be_filled_in_is_refused() {
    let check = |test: &str, found: &str, edit: fn(&mut Value)| {
        let copy =
            Copy::new(test).edit_json("tokenizer.json", |tokenizer| edit(&mut tokenizer["post_processor"]));
        copy.refused(Kind::Malformed, "tokenizer.json", "a template that can be filled in", found);
    };
    check("template-token", "names \"[CLX]\"", |template| {
        template["single"][0]["SpecialToken"]["id"] = json!("[CLX]");
    });
    check("template-pair", "a second text", |template| template["single"][1]["Sequence"]["id"] = json!("B"));
    check("template-ids", "another number of `ids`", |template| {
        template["special_tokens"]["[SEP]"]["ids"] = json!([1, 2]);
    });
    check("template-inside", "names \"[CLX]\"", |template| {
        template["single"][0]["SpecialToken"]["id"] = json!("[CLX]");
        *template = json!({ "type": "Sequence", "processors": [template] });
    });
}

#[test]
fn contradictions_in_the_configuration_are_found() {
    let config = |test: &str, field: &str, value: Value| {
        Copy::new(test).edit_json("config.json", |config| config[field] = value)
    };
    let check =
        |copy: Copy, expected, found| copy.refused(Kind::Contradiction, "config.json", expected, found);
    check(
        config("heads", "num_attention_heads", json!(5)),
        "divides `hidden_size`",
        "5 heads, hidden size 32",
    );
    check(config("zero", "num_hidden_layers", json!(0)), "`num_hidden_layers` above 0", "0");
    check(config("layers", "num_hidden_layers", json!(1_000_000_000_000u64)), "at most 512", "1000000000000");
    check(config("epsilon", "layer_norm_eps", json!(-1.0)), "0 or more", "-1");
}

#[test]
fn files_that_contradict_each_other_are_found() {
    let sentence = |test: &str, tokens: Value| {
        Copy::new(test).edit_json("sentence_bert_config.json", |config| config["max_seq_length"] = tokens)
    };
    let file = "sentence_bert_config.json";
    sentence("long", json!(129)).refused(Kind::Contradiction, file, "`max_position_embeddings` = 128", "129");
    sentence("tiny", json!(2)).refused(Kind::Contradiction, file, "from 3", "2");
    let file = "1_Pooling/config.json";
    let copy = Copy::new("width").edit_json(file, |config| config["word_embedding_dimension"] = json!(384));
    copy.refused(Kind::Contradiction, file, "`word_embedding_dimension` 32", "384");
    let copy = Copy::new("vocabulary").edit_json("config.json", |config| config["vocab_size"] = json!(100));
    copy.refused(Kind::Contradiction, "tokenizer.json", "at most 100 words", "160");
}

#[test]
fn what_is_not_supported_is_refused_and_not_ignored() {
    for (test, field, value, expected) in [
        ("architecture", "model_type", json!("mpnet"), "`model_type` \"bert\""),
        ("activation", "hidden_act", json!("gelu_new"), "`hidden_act` \"gelu\""),
        ("positions", "position_embedding_type", json!("relative_key"), "\"absolute\""),
        ("decoder", "is_decoder", json!(true), "an encoder"),
    ] {
        let copy = Copy::new(test).edit_json("config.json", |config| config[field] = value.clone());
        copy.refused(Kind::Unsupported, "config.json", expected, value.as_str().unwrap_or("true"));
    }
    let copy = Copy::new("dense").edit_json("modules.json", |modules| {
        modules[2]["type"] = json!("sentence_transformers.models.Dense");
    });
    copy.refused(Kind::Unsupported, "modules.json", "Transformer, Pooling", "Transformer, Pooling, Dense");
    let copy = Copy::new("pooling").edit_json("1_Pooling/config.json", |config| {
        config["pooling_mode_max_tokens"] = json!(true);
    });
    copy.refused(Kind::Unsupported, "1_Pooling/config.json", "mean or cls", "mean + max");
    let copy =
        Copy::new("escape").edit_json("modules.json", |modules| modules[1]["path"] = json!("../elsewhere"));
    copy.refused(Kind::Malformed, "modules.json", "inside the folder", "../elsewhere");
}

#[test]
fn cls_pooling_and_a_missing_normalize_module_are_honoured() {
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
    assert!((golden::cosine(&raw, &mean) - 1.0).abs() < 1e-6, "normalizing keeps the direction");
}
