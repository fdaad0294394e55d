//! The configuration files of a model folder as sentence-transformers writes it, parsed strictly into one [`ModelConfig`].
//!
//! All validation of the configuration happens here, once; later code relies on it. Fields without influence on inference
//! (dropout, initializer range) are not read. A field that requests an operation which is not implemented is an error
//! and never ignored: a silently wrong vector is worse than none.
//!
//! This module reads no weights (see `weights`) and builds no tokenizer (see `tokenizer`).

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ModelError, ModelErrorKind, RESAVE_HINT};
use crate::model_files::{ModelFile, ModelFiles};

/// The validated configuration of a model: all that inference needs apart from weights and tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct ModelConfig {
    pub bert: BertConfig,
    pub pooling: Pooling,
    pub normalize: bool,
    pub max_tokens: usize,
    pub lower_case: bool,
    pub name: String,
}

/// How the hidden states of the tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    Cls,
}

/// Dimensions of the encoder, from `config.json`.
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

/// The largest published BERT has 48 layers. The bound stops a corrupt file from requesting 10^18.
const LAYERS_MAX: usize = 512;
/// [CLS], one token of text, [SEP].
const TOKENS_MIN: usize = 3;

impl ModelConfig {
    /// Reads and validates all configuration files of a model.
    pub fn load(files: &ModelFiles) -> Result<ModelConfig, ModelError> {
        let bert = BertConfig::load(&files.file("config.json"))?;
        let pipeline = Pipeline::load(&files.file("modules.json"))?;
        let pooling = Pooling::load(&files.file(pipeline.pooling_dir.join("config.json")), bert.hidden_size)?;
        let sentence_file = files.file("sentence_bert_config.json");
        let sentence: SentenceConfig = parse_json(&sentence_file)?;
        let max_tokens = sentence.max_tokens(&sentence_file, &bert)?;
        let (name, lower_case) = (files.name(), sentence.do_lower_case);
        Ok(ModelConfig { bert, pooling, normalize: pipeline.normalize, max_tokens, lower_case, name })
    }
}

impl BertConfig {
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn load(file: &ModelFile) -> Result<BertConfig, ModelError> {
        /// Parsed first: a folder of another architecture lacks BERT's fields, and the error must state the actual reason.
        #[derive(Deserialize)]
        struct Architecture {
            model_type: String,
        }
        let Architecture { model_type } = parse_json(file)?;
        if model_type != "bert" {
            return Err(unsupported_bert(file, "`model_type` \"bert\"", format!("{model_type:?}")));
        }
        let config: BertConfig = parse_json(file)?;
        debug_assert_eq!(config.model_type, model_type);
        config.require_supported(file)?;
        config.require_consistent(file)?;
        Ok(config)
    }

    fn require_supported(&self, file: &Path) -> Result<(), ModelError> {
        if self.hidden_act != "gelu" {
            let expected = "`hidden_act` \"gelu\" (the exact one, by erf)";
            return Err(unsupported_bert(file, expected, format!("{:?}", self.hidden_act)));
        }
        if let Some(kind) = self.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            let expected = "`position_embedding_type` \"absolute\"";
            return Err(unsupported_bert(file, expected, format!("{kind:?}")));
        }
        if self.is_decoder == Some(true) {
            let expected = "an encoder (`is_decoder` false)";
            return Err(unsupported_bert(file, expected, "`is_decoder` true".into()));
        }
        Ok(())
    }

    fn require_consistent(&self, file: &Path) -> Result<(), ModelError> {
        let inconsistent = |expected: String, found: String| {
            Err(ModelError::new(ModelErrorKind::Inconsistent, file, expected, found, RESAVE_HINT))
        };
        let counts = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return inconsistent(format!("`{field}` above 0"), "0".into());
        }
        if self.num_hidden_layers > LAYERS_MAX {
            let found = self.num_hidden_layers.to_string();
            return inconsistent(format!("`num_hidden_layers` of at most {LAYERS_MAX}"), found);
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let found = format!("{} heads, hidden size {}", self.num_attention_heads, self.hidden_size);
            return inconsistent("`num_attention_heads` that divides `hidden_size`".into(), found);
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return inconsistent("`layer_norm_eps` of 0 or more".into(), self.layer_norm_eps.to_string());
        }
        Ok(())
    }
}

fn unsupported_bert(file: &Path, expected: &str, found: String) -> ModelError {
    let hint = "use a sentence-transformers BERT model";
    ModelError::new(ModelErrorKind::Unsupported, file, expected, found, hint)
}

/// The modules Transformer -> Pooling [-> Normalize]; no other pipeline is accepted.
struct Pipeline {
    pooling_dir: PathBuf,
    normalize: bool,
}

impl Pipeline {
    fn load(file: &ModelFile) -> Result<Pipeline, ModelError> {
        #[derive(Deserialize)]
        struct Module {
            path: String,
            #[serde(rename = "type")]
            class: String,
        }
        let modules: Vec<Module> = parse_json(file)?;
        // Class paths differ between versions (`sentence_transformers.models.Pooling`, `sentence_transformers.
        // sentence_transformer.modules.pooling.Pooling`); the class name does not.
        let classes: Vec<&str> =
            modules.iter().map(|m| m.class.rsplit('.').next().unwrap_or_default()).collect();
        let normalize = match classes[..] {
            ["Transformer", "Pooling"] => false,
            ["Transformer", "Pooling", "Normalize"] => true,
            _ => {
                let expected = "modules Transformer, Pooling and optionally Normalize, in this order";
                let found = if classes.is_empty() { "none".into() } else { classes.join(", ") };
                let hint = "use a model without further modules (Dense, LSTM, ...)";
                return Err(ModelError::new(ModelErrorKind::Unsupported, file, expected, found, hint));
            }
        };
        let is_inside = |path: &str| Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        if let Some(outside) = modules.iter().find(|module| !is_inside(&module.path)) {
            let (expected, found) = ("module paths inside the folder", format!("{:?}", outside.path));
            return Err(ModelError::malformed(file, expected, found));
        }
        if !modules[0].path.is_empty() {
            let (expected, found) = ("the Transformer at path \"\"", format!("{:?}", modules[0].path));
            let hint = "move the files of that folder up one level and set its `path` to \"\"";
            return Err(ModelError::new(ModelErrorKind::Unsupported, file, expected, found, hint));
        }
        Ok(Pipeline { pooling_dir: PathBuf::from(&modules[1].path), normalize })
    }
}

impl Pooling {
    fn load(file: &ModelFile, hidden_size: usize) -> Result<Pooling, ModelError> {
        /// Old files have one flag per mode, new ones name the mode.
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
        let config: PoolingConfig = parse_json(file)?;
        if config.word_embedding_dimension != hidden_size {
            let expected =
                format!("`word_embedding_dimension` {hidden_size}, the `hidden_size` of config.json");
            let found = config.word_embedding_dimension.to_string();
            return Err(ModelError::new(ModelErrorKind::Inconsistent, file, expected, found, RESAVE_HINT));
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
        .filter_map(|(is_set, mode)| is_set.then_some(mode))
        .collect();
        modes.extend(config.pooling_mode.as_deref());
        match modes[..] {
            ["mean"] | ["mean", "mean"] => Ok(Pooling::Mean),
            ["cls"] | ["cls", "cls"] => Ok(Pooling::Cls),
            _ => {
                let found = if modes.is_empty() { "none".into() } else { modes.join(" + ") };
                let (expected, hint) =
                    ("exactly one pooling mode, mean or cls", "use a model with mean or cls pooling");
                Err(ModelError::new(ModelErrorKind::Unsupported, file, expected, found, hint))
            }
        }
    }
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

impl SentenceConfig {
    fn max_tokens(&self, file: &Path, bert: &BertConfig) -> Result<usize, ModelError> {
        let positions = bert.max_position_embeddings;
        let max_tokens = self.max_seq_length.unwrap_or(positions);
        if (TOKENS_MIN..=positions).contains(&max_tokens) {
            return Ok(max_tokens);
        }
        let expected =
            format!("`max_seq_length` from {TOKENS_MIN} to `max_position_embeddings` = {positions}");
        Err(ModelError::new(
            ModelErrorKind::Inconsistent,
            file,
            expected,
            max_tokens.to_string(),
            RESAVE_HINT,
        ))
    }
}

fn parse_json<T: DeserializeOwned>(file: &ModelFile) -> Result<T, ModelError> {
    let bytes = file.read()?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ModelError::malformed(file, "JSON with the fields of this file", error))
}
