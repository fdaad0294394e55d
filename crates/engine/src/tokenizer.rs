//! Text to token ids, exactly as sentence-transformers does it.
//!
//! `tokenizer.json` may carry truncation and padding of its own (the published MiniLM says 128 and pads to 128);
//! sentence-transformers overrides both: it cuts at `max_seq_length` and we never pad. One text at a time: the crate's
//! batch call would start a thread pool of its own, and the cores belong to our workers.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::{
    Encoding, Model as _, NormalizerWrapper, OffsetType, PostProcessor as _, PostProcessorWrapper,
    PreTokenizer as _, PreTokenizerWrapper, Tokenizer, TruncationParams,
};

use crate::config::{self, ModelConfig};
use crate::error::{ModelError, ModelErrorKind as Kind};
use crate::model_files::ModelFile;

/// Shorter texts go to the tokenizer as they are.
const WHOLE_BYTES_MAX: usize = 16 << 10;
/// About a hundred pages; measured, the tokenizer takes up to 170 bytes for each of them while it works.
const TEXT_BYTES_MAX: usize = 128 << 10;

/// One token of a text, and where in the text it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWithOffsets {
    pub id: u32,
    /// The part of the text that it stands for; of a token that stands for none, its name in the vocabulary.
    pub text: String,
    /// Added by the model's own rules, such as `[CLS]`.
    pub special: bool,
    /// In characters of the text: first, and one beyond the last.
    pub offsets: Option<(usize, usize)>,
}

pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    lower_case: bool,
    tokens_max: usize,
}

impl TextTokenizer {
    pub fn open(file: &ModelFile, config: &ModelConfig) -> Result<TextTokenizer, ModelError> {
        let bytes = file.bytes()?;
        let expected = "a tokenizer as the `tokenizers` crate 0.23 reads it";
        // The crate panics on JSON that is broken inside of `decoder`.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .map_err(|error| config::malformed(file, expected, error))?;
        let mut tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| config::malformed(file, expected, error))?;
        if let Some(problem) = tokenizer.get_post_processor().and_then(template_problem) {
            return Err(config::malformed(file, "a template that can be filled in", problem));
        }
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: config.max_tokens, ..TruncationParams::default() };
        let cut = tokenizer.with_truncation(Some(truncation));
        cut.map_err(|error| {
            config::malformed(file, "room for special tokens below `max_seq_length`", error)
        })?;
        let (words, rows) = (tokenizer.get_vocab_size(true), config.bert.vocab_size);
        if words > rows {
            let expected = format!("at most {rows} words, the `vocab_size` of config.json");
            let hint = "tokenizer.json and config.json come from different models: fetch the folder again";
            return Err(ModelError::new(Kind::Contradiction, file, expected, words.to_string(), hint));
        }
        Ok(TextTokenizer { tokenizer, lower_case: config.lower_case, tokens_max: config.max_tokens })
    }

    /// Ids with the special tokens, at most `max_tokens` of them.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let text = bounded(self.beginning(text))?;
        let text = self.cased(text);
        // `encode_fast` leaves out offsets, which nobody asks for here.
        let encoding = self.tokenizer.encode_fast(text.trim(), true).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Every token of a text with its place, not cut at `max_tokens`.
    pub fn tokens_with_offsets(
        &self,
        text: &str,
        special_tokens: bool,
    ) -> Result<Vec<TokenWithOffsets>, String> {
        let cased = self.cased(bounded(text)?);
        let encoding = self.encode_whole(cased.trim(), special_tokens).map_err(|error| error.to_string())?;
        // Lower case may be longer: places in it are then none in the text.
        let mut places = (cased.len() == text.len()).then(|| Places::of(text));
        let piece = |index: usize| {
            let special = encoding.get_special_tokens_mask()[index] == 1;
            let place = match &mut places {
                Some(places) if !special => places.find(encoding.get_offsets()[index]),
                _ => None,
            };
            let (text, offsets) = match place {
                Some((text, offsets)) => (text.to_owned(), Some(offsets)),
                None => (encoding.get_tokens()[index].clone(), None),
            };
            TokenWithOffsets { id: encoding.get_ids()[index], text, special, offsets }
        };
        Ok((0..encoding.len()).map(piece).collect())
    }

    /// What the crate's `encode` does, but for the cut that this tokenizer is set to: a second one without it would hold the
    /// vocabulary twice.
    fn encode_whole(&self, text: &str, special_tokens: bool) -> tokenizers::Result<Encoding> {
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

    /// As much of a long text as surely gives all the tokens that are read of it. The tokenizer takes some hundred bytes for
    /// each byte of text, and does not look at the cancel flag: a text of megabytes must not reach it.
    ///
    /// Sure is what BERT's pre-tokenizer does: white space ends a word, and each word that has a letter or a digit of ASCII
    /// gives at least one token; so does each Chinese character, if the normalizer sets them apart.
    fn beginning<'a>(&self, text: &'a str) -> &'a str {
        let splits_words =
            matches!(self.tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        if text.len() <= WHOLE_BYTES_MAX || !splits_words {
            return text;
        }
        let sets_apart = matches!(
            self.tokenizer.get_normalizer(),
            Some(NormalizerWrapper::BertNormalizer(normalizer)) if normalizer.handle_chinese_chars
        );
        let (mut tokens, mut in_word) = (0, false);
        for (at, character) in text.char_indices() {
            let alone = sets_apart && ('\u{4e00}'..='\u{9fff}').contains(&character);
            if (character.is_ascii_whitespace() || alone) && tokens > self.tokens_max {
                return &text[..at];
            }
            if alone {
                (tokens, in_word) = (tokens + 1, false);
            } else if character.is_ascii_whitespace() {
                in_word = false;
            } else if character.is_ascii_alphanumeric() && !in_word {
                (tokens, in_word) = (tokens + 1, true);
            }
        }
        text
    }

    fn cased<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.lower_case { text.to_lowercase().into() } else { text.into() }
    }
}

/// What the crate looks up in a template without asking whether it is there: it would panic at the first text.
fn template_problem(processor: &PostProcessorWrapper) -> Option<String> {
    problem_in(&serde_json::to_value(processor).ok()?)
}

fn problem_in(processor: &Value) -> Option<String> {
    if let Some(processors) = processor["processors"].as_array() {
        return processors.iter().find_map(problem_in);
    }
    let special_tokens = &processor["special_tokens"];
    processor["single"].as_array()?.iter().find_map(|piece| {
        let sequence = &piece["Sequence"]["id"];
        if *sequence == "B" {
            return Some("`single` asks for a second text, `B`".into());
        }
        let name = piece["SpecialToken"]["id"].as_str()?;
        let lengths = ["ids", "tokens"].map(|list| special_tokens[name][list].as_array().map(Vec::len));
        match lengths {
            [Some(ids), Some(tokens)] if ids == tokens => None,
            [None, _] | [_, None] => {
                Some(format!("`single` names {name:?}, which `special_tokens` does not have"))
            }
            _ => Some(format!("{name:?} has another number of `ids` than of `tokens`")),
        }
    })
}

fn bounded(text: &str) -> Result<&str, String> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(text);
    }
    Err(format!("it has {} bytes in one piece; the tokenizer takes {TEXT_BYTES_MAX}", text.len()))
}

/// From bytes of the trimmed text to characters of the text. Tokens come in order, so each search starts where the last
/// one ended.
struct Places<'a> {
    text: &'a str,
    trimmed_bytes: usize,
    byte: usize,
    character: usize,
}

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, trimmed_bytes: text.len() - text.trim_start().len(), byte: 0, character: 0 }
    }

    fn find(&mut self, (start, end): (usize, usize)) -> Option<(&'a str, (usize, usize))> {
        let (start, end) = (start + self.trimmed_bytes, end + self.trimmed_bytes);
        let text = self.text.get(start..end)?;
        if start < self.byte {
            (self.byte, self.character) = (0, 0);
        }
        self.character += self.text.get(self.byte..start)?.chars().count();
        self.byte = start;
        Some((text, (self.character, self.character + text.chars().count())))
    }
}
