//! The small files of a model folder as sentence-transformers writes it, read strictly into one checked [`ModelConfig`].
//!
//! Here every question about configuration is answered, once: what later code holds is known to make sense. Fields
//! that change nothing about inference (dropout, initializer range) are not read. Fields that would change it in a way
//! that is not implemented are errors, never ignored: a vector that is quietly wrong is worse than none.
//!
//! This module reads no weights (see `weights`) and builds no tokenizer (see `tokenizer`).

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ModelError, ModelErrorKind as Kind};
use crate::model_files::{ModelFile, ModelFiles};

/// All that is needed to run the model, apart from its weights and its tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct ModelConfig {
    pub bert: BertConfig,
    pub pooling: Pooling,
    pub normalize: bool,
    pub max_tokens: usize,
    pub lower_case: bool,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    Cls,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BertConfig {
    model_type: String,
    hidden_act: String,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
}

impl BertConfig {
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

const RESAVE: &str = "fetch the model folder again, or write it anew: python3 -c 'from sentence_transformers import \
                      SentenceTransformer as S; S(\"NAME\").save(\"DIR\")'";
/// The largest published BERT has 48 layers; the bound keeps a corrupt file from asking for 10^18.
const LAYERS_MAX: usize = 512;
/// [CLS], one token of text, [SEP].
const TOKENS_MIN: usize = 3;

pub(crate) fn read(files: &ModelFiles) -> Result<ModelConfig, ModelError> {
    let bert = bert_config(&files.file("config.json"))?;
    let modules = modules(&files.file("modules.json"))?;
    let pooling = pooling(&files.file(modules.pooling.join("config.json")), bert.hidden_size)?;
    let sentence_file = files.file("sentence_bert_config.json");
    let sentence: SentenceConfig = json(&sentence_file)?;
    let max_tokens = max_tokens(&sentence_file, &sentence, &bert)?;
    let name = files.name();
    let lower_case = sentence.do_lower_case;
    Ok(ModelConfig { bert, pooling, normalize: modules.normalize, max_tokens, lower_case, name })
}

fn bert_config(file: &ModelFile) -> Result<BertConfig, ModelError> {
    /// Read first: a folder of another architecture lacks BERT's fields, and the error should say the real reason.
    #[derive(Deserialize)]
    struct Architecture {
        model_type: String,
    }
    let unsupported = |expected: &str, found: String| {
        Err(ModelError::new(
            Kind::Unsupported,
            file,
            expected,
            found,
            "use a sentence-transformers BERT model",
        ))
    };
    let contradiction = |expected: String, found: String| {
        Err(ModelError::new(Kind::Contradiction, file, expected, found, RESAVE))
    };

    let Architecture { model_type } = json(file)?;
    if model_type != "bert" {
        return unsupported("`model_type` \"bert\"", format!("{model_type:?}"));
    }
    let config: BertConfig = json(file)?;
    debug_assert_eq!(config.model_type, model_type);
    if config.hidden_act != "gelu" {
        return unsupported(
            "`hidden_act` \"gelu\" (the exact one, by erf)",
            format!("{:?}", config.hidden_act),
        );
    }
    if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
        return unsupported("`position_embedding_type` \"absolute\"", format!("{kind:?}"));
    }
    if config.is_decoder == Some(true) {
        return unsupported("an encoder (`is_decoder` false)", "`is_decoder` true".into());
    }
    let counts = [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("intermediate_size", config.intermediate_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("type_vocab_size", config.type_vocab_size),
    ];
    if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return contradiction(format!("`{field}` above 0"), "0".into());
    }
    if config.num_hidden_layers > LAYERS_MAX {
        let found = config.num_hidden_layers.to_string();
        return contradiction(format!("`num_hidden_layers` of at most {LAYERS_MAX}"), found);
    }
    if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        return contradiction(
            "`num_attention_heads` that divides `hidden_size`".into(),
            format!("{} heads, hidden size {}", config.num_attention_heads, config.hidden_size),
        );
    }
    if !(config.layer_norm_eps.is_finite() && config.layer_norm_eps >= 0.0) {
        return contradiction("`layer_norm_eps` of 0 or more".into(), config.layer_norm_eps.to_string());
    }
    Ok(config)
}

struct Modules {
    pooling: PathBuf,
    normalize: bool,
}

/// The pipeline Transformer -> Pooling [-> Normalize], and no other.
fn modules(file: &ModelFile) -> Result<Modules, ModelError> {
    #[derive(Deserialize)]
    struct Module {
        path: String,
        #[serde(rename = "type")]
        class: String,
    }
    let modules: Vec<Module> = json(file)?;
    // Class paths moved between versions (`sentence_transformers.models.Pooling`, `sentence_transformers.
    // sentence_transformer.modules.pooling.Pooling`); the class name is what stayed.
    let classes: Vec<&str> = modules.iter().map(|m| m.class.rsplit('.').next().unwrap_or_default()).collect();
    let normalize = match classes[..] {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        _ => {
            let expected = "modules Transformer, Pooling and perhaps Normalize, in this order";
            let found = if classes.is_empty() { "none".into() } else { classes.join(", ") };
            let hint = "use a model without further modules (Dense, LSTM, ...)";
            return Err(ModelError::new(Kind::Unsupported, file, expected, found, hint));
        }
    };
    for module in &modules {
        let stays_inside =
            Path::new(&module.path).components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !stays_inside {
            let found = format!("{:?}", module.path);
            return Err(ModelError::new(
                Kind::Malformed,
                file,
                "module paths inside the folder",
                found,
                RESAVE,
            ));
        }
    }
    if !modules[0].path.is_empty() {
        let found = format!("{:?}", modules[0].path);
        let hint = "move the files of that folder up one level and set its `path` to \"\"";
        return Err(ModelError::new(Kind::Unsupported, file, "the Transformer at path \"\"", found, hint));
    }
    Ok(Modules { pooling: PathBuf::from(&modules[1].path), normalize })
}

fn pooling(file: &ModelFile, hidden_size: usize) -> Result<Pooling, ModelError> {
    /// Old files have one flag a mode, new ones name the mode.
    #[derive(Deserialize)]
    struct PoolingConfig {
        #[serde(alias = "embedding_dimension")]
        word_embedding_dimension: usize,
        pooling_mode: Option<String>,
        #[serde(default)]
        pooling_mode_cls_token: bool,
        #[serde(default)]
        pooling_mode_mean_tokens: bool,
        #[serde(default)]
        pooling_mode_max_tokens: bool,
        #[serde(default)]
        pooling_mode_mean_sqrt_len_tokens: bool,
        #[serde(default)]
        pooling_mode_weightedmean_tokens: bool,
        #[serde(default)]
        pooling_mode_lasttoken: bool,
    }
    let config: PoolingConfig = json(file)?;
    if config.word_embedding_dimension != hidden_size {
        let expected = format!("`word_embedding_dimension` {hidden_size}, the `hidden_size` of config.json");
        let found = config.word_embedding_dimension.to_string();
        return Err(ModelError::new(Kind::Contradiction, file, expected, found, RESAVE));
    }
    let mut modes: Vec<&str> = [
        (config.pooling_mode_cls_token, "cls"),
        (config.pooling_mode_mean_tokens, "mean"),
        (config.pooling_mode_max_tokens, "max"),
        (config.pooling_mode_mean_sqrt_len_tokens, "mean_sqrt_len"),
        (config.pooling_mode_weightedmean_tokens, "weightedmean"),
        (config.pooling_mode_lasttoken, "lasttoken"),
    ]
    .into_iter()
    .filter_map(|(on, mode)| on.then_some(mode))
    .collect();
    modes.extend(config.pooling_mode.as_deref());
    match modes[..] {
        ["mean"] | ["mean", "mean"] => Ok(Pooling::Mean),
        ["cls"] | ["cls", "cls"] => Ok(Pooling::Cls),
        _ => {
            let found = if modes.is_empty() { "none".into() } else { modes.join(" + ") };
            let hint = "use a model with mean or cls pooling";
            Err(ModelError::new(Kind::Unsupported, file, "pooling mode mean or cls, alone", found, hint))
        }
    }
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

fn max_tokens(file: &Path, sentence: &SentenceConfig, bert: &BertConfig) -> Result<usize, ModelError> {
    let positions = bert.max_position_embeddings;
    let max_tokens = sentence.max_seq_length.unwrap_or(positions);
    if !(TOKENS_MIN..=positions).contains(&max_tokens) {
        let expected =
            format!("`max_seq_length` from {TOKENS_MIN} to `max_position_embeddings` = {positions}");
        return Err(ModelError::new(Kind::Contradiction, file, expected, max_tokens.to_string(), RESAVE));
    }
    Ok(max_tokens)
}

/// A missing file is told apart from an unreadable one.
pub(crate) fn io(file: &Path, error: &std::io::Error) -> ModelError {
    if error.kind() == std::io::ErrorKind::NotFound {
        let expected = "a model folder as sentence-transformers writes it, with this file in it";
        return ModelError::new(Kind::MissingFile, file, expected, "no such file", RESAVE);
    }
    let hint = format!("ls -l {}", file.display());
    ModelError::new(Kind::Unreadable, file, "a readable file", error.to_string(), hint)
}

pub(crate) fn malformed(file: &Path, expected: &str, found: impl Display) -> ModelError {
    ModelError::new(Kind::Malformed, file, expected, found.to_string(), RESAVE)
}

fn json<T: DeserializeOwned>(file: &ModelFile) -> Result<T, ModelError> {
    let bytes = file.bytes()?;
    serde_json::from_slice(&bytes)
        .map_err(|error| malformed(file, "JSON with the fields that this file has", error))
}
