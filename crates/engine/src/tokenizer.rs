//! Text to token ids, equal to those of sentence-transformers.
//!
//! `tokenizer.json` can contain its own truncation and padding (the published MiniLM truncates at 128 and pads to 128).
//! sentence-transformers overrides both, and so does this module: it truncates at `max_seq_length` and never pads. It
//! passes one text at a time to the `tokenizers` crate, whose batch call would start a thread pool beside the workers.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::{
    Encoding, Model as _, NormalizerWrapper, OffsetType, PostProcessor as _, PostProcessorWrapper,
    PreTokenizer as _, PreTokenizerWrapper, Tokenizer, TruncationParams,
};

use crate::config::ModelConfig;
use crate::error::{ModelError, ModelErrorKind as Kind};
use crate::model_files::ModelFile;

/// Shorter texts reach the tokenizer without [`TextTokenizer::sufficient_prefix`].
const PREFIX_SCAN_BYTES_MIN: usize = 16 << 10;
/// About a hundred pages. Measured: the tokenizer allocates up to 170 bytes per byte of text while it runs.
const TEXT_BYTES_MAX: usize = 128 << 10;

/// One token of a text and its position in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWithOffsets {
    /// The id in the vocabulary.
    pub id: u32,
    /// The part of the text that the token stands for. A token without such a part has its name in the vocabulary here.
    pub text: String,
    /// Whether the template of the model added the token, such as `[CLS]`.
    pub special: bool,
    /// In characters of the text: first, and one past the last. `None` for a token that stands for no part of the text.
    pub offsets: Option<(usize, usize)>,
}

/// The tokenizer of one model.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    lower_case: bool,
    max_tokens: usize,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` and rejects what would make the crate panic or disagree with the configuration.
    pub fn open(file: &ModelFile, config: &ModelConfig) -> Result<TextTokenizer, ModelError> {
        let bytes = file.read()?;
        let expected = "a tokenizer as the `tokenizers` crate 0.23 reads it";
        // The crate panics on JSON that is malformed inside `decoder`.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .map_err(|error| ModelError::malformed(file, expected, error))?;
        let mut tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| ModelError::malformed(file, expected, error))?;
        if let Some(problem) = tokenizer.get_post_processor().and_then(template_problem) {
            return Err(ModelError::malformed(file, "a template whose references resolve", problem));
        }
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: config.max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| {
            ModelError::malformed(file, "fewer special tokens than `max_seq_length`", error)
        })?;
        let (words, rows) = (tokenizer.get_vocab_size(true), config.bert.vocab_size);
        if words > rows {
            let expected = format!("at most {rows} words, the `vocab_size` of config.json");
            let hint = "tokenizer.json and config.json come from different models: fetch the folder again";
            return Err(ModelError::new(Kind::Inconsistent, file, expected, words.to_string(), hint));
        }
        Ok(TextTokenizer { tokenizer, lower_case: config.lower_case, max_tokens: config.max_tokens })
    }

    /// Ids including the special tokens, truncated to `max_tokens`.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let text = require_bounded(self.sufficient_prefix(text))?;
        let text = self.apply_case(text);
        // `encode_fast` omits the offsets, which this function does not return.
        let encoding = self.tokenizer.encode_fast(text.trim(), true).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// All tokens of a text with their offsets, not truncated.
    pub fn tokens_with_offsets(
        &self,
        text: &str,
        special_tokens: bool,
    ) -> Result<Vec<TokenWithOffsets>, String> {
        let cased = self.apply_case(require_bounded(text)?);
        let encoding =
            self.encode_untruncated(cased.trim(), special_tokens).map_err(|error| error.to_string())?;
        // Lower case can change the length. Offsets into it are then invalid in the text.
        let mut char_offsets = (cased.len() == text.len()).then(|| CharOffsets::new(text));
        let token = |index: usize| {
            let special = encoding.get_special_tokens_mask()[index] == 1;
            let found = match &mut char_offsets {
                Some(char_offsets) if !special => char_offsets.resolve(encoding.get_offsets()[index]),
                _ => None,
            };
            let (text, offsets) = match found {
                Some((text, offsets)) => (text.to_owned(), Some(offsets)),
                None => (encoding.get_tokens()[index].clone(), None),
            };
            TokenWithOffsets { id: encoding.get_ids()[index], text, special, offsets }
        };
        Ok((0..encoding.len()).map(token).collect())
    }

    /// The `encode` of the crate without its truncation. A second tokenizer without truncation would hold the vocabulary
    /// twice.
    fn encode_untruncated(&self, text: &str, special_tokens: bool) -> tokenizers::Result<Encoding> {
        let tokenizer = &self.tokenizer;
        let mut words =
            tokenizer.get_added_vocabulary().extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        words.tokenize(|word| tokenizer.get_model().tokenize(word.get()))?;
        let encoding = words.into_encoding(None, 0, OffsetType::Byte)?;
        match tokenizer.get_post_processor() {
            Some(processor) => processor.process(encoding, None, special_tokens),
            None => Ok(encoding),
        }
    }

    /// The prefix of a long text that provably yields `max_tokens` tokens. The tokenizer allocates some hundred bytes per
    /// byte of text and does not check the cancel flag, so a text of megabytes must not reach it.
    ///
    /// The proof relies on BERT's pre-tokenizer: white space ends a word, and each word with an ASCII letter or digit
    /// yields at least one token. So does each Chinese character if the normalizer separates them.
    fn sufficient_prefix<'a>(&self, text: &'a str) -> &'a str {
        let splits_words =
            matches!(self.tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        if text.len() <= PREFIX_SCAN_BYTES_MIN || !splits_words {
            return text;
        }
        let separates_chinese = matches!(
            self.tokenizer.get_normalizer(),
            Some(NormalizerWrapper::BertNormalizer(normalizer)) if normalizer.handle_chinese_chars
        );
        let (mut tokens, mut in_word) = (0, false);
        for (at, character) in text.char_indices() {
            let is_word = separates_chinese && ('\u{4e00}'..='\u{9fff}').contains(&character);
            if (character.is_ascii_whitespace() || is_word) && tokens > self.max_tokens {
                return &text[..at];
            }
            if is_word {
                (tokens, in_word) = (tokens + 1, false);
            } else if character.is_ascii_whitespace() {
                in_word = false;
            } else if character.is_ascii_alphanumeric() && !in_word {
                (tokens, in_word) = (tokens + 1, true);
            }
        }
        text
    }

    fn apply_case<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.lower_case { text.to_lowercase().into() } else { text.into() }
    }
}

/// An unresolved reference in a template. The crate does not check these references and would panic at the first text.
fn template_problem(processor: &PostProcessorWrapper) -> Option<String> {
    template_problem_in(&serde_json::to_value(processor).ok()?)
}

fn template_problem_in(processor: &Value) -> Option<String> {
    if let Some(processors) = processor["processors"].as_array() {
        return processors.iter().find_map(template_problem_in);
    }
    let special_tokens = &processor["special_tokens"];
    processor["single"].as_array()?.iter().find_map(|piece| {
        let sequence = &piece["Sequence"]["id"];
        if *sequence == "B" {
            return Some("`single` refers to a second text, `B`".into());
        }
        let name = piece["SpecialToken"]["id"].as_str()?;
        let lengths = ["ids", "tokens"].map(|list| special_tokens[name][list].as_array().map(Vec::len));
        match lengths {
            [Some(ids), Some(tokens)] if ids == tokens => None,
            [None, _] | [_, None] => Some(format!("`single` names {name:?}, which `special_tokens` lacks")),
            _ => Some(format!("{name:?} has different numbers of `ids` and `tokens`")),
        }
    })
}

fn require_bounded(text: &str) -> Result<&str, String> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(text);
    }
    Err(format!("it has {} bytes; the tokenizer accepts {TEXT_BYTES_MAX} bytes at a time", text.len()))
}

/// Converts byte offsets in the trimmed text to character offsets in the text. Tokens arrive in order, so each search
/// starts where the last one ended.
struct CharOffsets<'a> {
    text: &'a str,
    trimmed_bytes: usize,
    byte: usize,
    character: usize,
}

impl<'a> CharOffsets<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, trimmed_bytes: text.len() - text.trim_start().len(), byte: 0, character: 0 }
    }

    /// The part of the text at these byte offsets, and its character offsets.
    fn resolve(&mut self, (start, end): (usize, usize)) -> Option<(&'a str, (usize, usize))> {
        let (start, end) = (start + self.trimmed_bytes, end + self.trimmed_bytes);
        let part = self.text.get(start..end)?;
        if start < self.byte {
            (self.byte, self.character) = (0, 0);
        }
        self.character += self.text.get(self.byte..start)?.chars().count();
        self.byte = start;
        Some((part, (self.character, self.character + part.chars().count())))
    }
}
