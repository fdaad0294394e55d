//! Text to token ids, equal to those of sentence-transformers.
//!
//! `tokenizer.json` can contain its own truncation and padding (the published MiniLM truncates at 128 and pads to 128).
//! sentence-transformers overrides both, and so does this module: it truncates at `max_seq_length` and never pads. It
//! passes one text at a time to the `tokenizers` crate, whose batch call would start a thread pool beside the workers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::{
    Encoding, Model as _, OffsetType, PostProcessor as _, PostProcessorWrapper, PreTokenizer as _, Tokenizer,
    TruncationParams,
};

use crate::config::ModelConfig;
use crate::error::{ModelError, ModelErrorKind};
use crate::model_files::ModelFile;

mod cuts;

use self::cuts::Cuts;

/// Pieces of a text; a longer one reaches the tokenizer only when it has no cut. A piece should take at most some
/// milliseconds, and blocks that the allocator reuses rather than returns.
const PIECE_BYTES: usize = 512;
/// Longest text for a tokenizer whose texts cannot be cut. Measured: it allocates up to 170 bytes per byte of text.
const UNCUT_TEXT_BYTES_MAX: usize = 32 << 10;

/// One token of a text, in 16 bytes. It refers to the text and does not hold a part of it, because a request can have
/// hundreds of thousands of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    id: u32,
    /// Bytes of the text and the number of characters before them; [`Token::NO_SPAN`] or [`Token::SPECIAL`] as the first
    /// one: the token stands for no part of the text.
    start: u32,
    end: u32,
    first_char: u32,
}

impl Token {
    const NO_SPAN: u32 = u32::MAX;
    const SPECIAL: u32 = u32::MAX - 1;

    /// A token that stands for these bytes of a text, or for no part of it. `first_char` is the number of characters before
    /// the bytes.
    pub fn new(id: u32, bytes: Option<(usize, usize)>, first_char: usize) -> Token {
        match bytes {
            Some((start, end)) => {
                Token { id, start: position(start), end: position(end), first_char: position(first_char) }
            }
            None => Token { id, start: Self::NO_SPAN, end: 0, first_char: 0 },
        }
    }

    /// A token of the template of the model, such as `[CLS]`.
    pub fn new_special(id: u32) -> Token {
        Token { id, start: Self::SPECIAL, end: 0, first_char: 0 }
    }

    /// The id in the vocabulary.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether the template of the model added the token.
    pub fn is_special(&self) -> bool {
        self.start == Self::SPECIAL
    }

    /// The part of `text`, the text of the token, and its position in characters: first, and one past the last.
    pub fn part<'a>(&self, text: &'a str) -> Option<(&'a str, (usize, usize))> {
        let (start, end) = self.bytes()?;
        let (part, first) = (text.get(start..end)?, self.first_char as usize);
        Some((part, (first, first + part.chars().count())))
    }

    /// Bytes of the part of the text that the token stands for.
    pub fn text_bytes(&self) -> usize {
        self.bytes().map_or(0, |(start, end)| end.saturating_sub(start))
    }

    fn bytes(&self) -> Option<(usize, usize)> {
        (self.start < Self::SPECIAL).then_some((self.start as usize, self.end as usize))
    }
}

/// How far the tokenizer has read a text. Between two calls the caller can stop, or do other work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextCursor {
    byte: usize,
    character: usize,
    tokens: usize,
    finished: bool,
}

impl TextCursor {
    /// Whether all tokens of the text are known.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Declares that all tokens of the text are known, for an implementation that does not read pieces.
    pub fn finish(&mut self) {
        self.finished = true;
    }
}

/// The tokenizer of one model.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// `None`: a text cannot be cut.
    cuts: Option<Cuts>,
    /// Ids that the template puts before and after a text.
    template: (Vec<u32>, Vec<u32>),
    lower_case: bool,
    max_tokens: usize,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` and rejects what would make the crate panic or disagree with the configuration.
    pub fn open(file: &ModelFile, config: &ModelConfig) -> Result<TextTokenizer, ModelError> {
        let bytes = file.read()?;
        let expected = "a tokenizer as the `tokenizers` crate 0.23 reads it";
        let malformed = |error| ModelError::malformed(file, expected, error);
        let bytes = without_decoder(&bytes).map_err(malformed)?;
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
            return Err(ModelError::new(
                ModelErrorKind::Inconsistent,
                file,
                expected,
                words.to_string(),
                hint,
            ));
        }
        let template = template_ids(&tokenizer)
            .map_err(|error| ModelError::malformed(file, "a template with a single text", error))?;
        let cuts = Cuts::of(&tokenizer, config.lower_case);
        let (lower_case, max_tokens) = (config.lower_case, config.max_tokens);
        Ok(TextTokenizer { tokenizer, cuts, template, lower_case, max_tokens })
    }

    /// Adds the ids of the next piece of a text: including the special tokens, truncated to `max_tokens`.
    pub fn next_ids(&self, text: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), String> {
        let (before, after) = &self.template;
        let content_max = self.max_tokens.saturating_sub(before.len() + after.len());
        if cursor.byte == 0 {
            ids.extend(before);
        }
        let (piece, end, _) = self.piece(text, cursor, PIECE_BYTES)?;
        let piece = self.apply_case(piece);
        let encoding = self.encode(piece.trim(), OffsetType::None).map_err(|error| error.to_string())?;
        let taken = encoding.len().min(content_max - cursor.tokens);
        ids.extend(&encoding.get_ids()[..taken]);
        cursor.tokens += taken;
        cursor.byte = end;
        cursor.finished = end == text.len() || cursor.tokens == content_max;
        if cursor.finished {
            ids.extend(after);
        }
        Ok(())
    }

    /// All ids of a text.
    #[cfg(test)]
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let (mut ids, mut cursor) = (Vec::new(), TextCursor::default());
        while !cursor.is_finished() {
            self.next_ids(text, &mut cursor, &mut ids)?;
        }
        Ok(ids)
    }

    /// Adds the tokens of the next piece of a text, not truncated.
    pub fn next_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), String> {
        self.add_tokens(text, special_tokens, cursor, tokens, PIECE_BYTES)
    }

    fn add_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
        piece_bytes: usize,
    ) -> Result<(), String> {
        let special = |id: &u32| Token::new_special(*id);
        if cursor.byte == 0 && special_tokens {
            tokens.extend(self.template.0.iter().map(special));
        }
        let (piece, end, read_end) = self.piece(text, cursor, piece_bytes)?;
        let cased = self.apply_case(piece);
        let encoding = self.encode(cased.trim(), OffsetType::Byte).map_err(|error| error.to_string())?;
        // Lower case can change the length. Offsets into it are then invalid in the text.
        let has_offsets = cased.len() == piece.len();
        let mut spans = Spans::new(text, piece, cursor);
        for (id, offsets) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            tokens.push(spans.token(*id, has_offsets.then_some(*offsets)));
        }
        if read_end < end
            && let Some(token) = tokens.last_mut()
            && token.bytes().is_some()
        {
            token.end = position(end);
        }
        cursor.tokens += encoding.len();
        cursor.character += text[cursor.byte..end].chars().count();
        cursor.byte = end;
        cursor.finished = end == text.len();
        if cursor.finished && special_tokens {
            tokens.extend(self.template.1.iter().map(special));
        }
        Ok(())
    }

    /// The name of a token in the vocabulary.
    pub fn token_name(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// What the tokenizer reads next, the end of the piece, and the end of what it reads.
    fn piece<'a>(
        &self,
        text: &'a str,
        cursor: &TextCursor,
        bytes: usize,
    ) -> Result<(&'a str, usize, usize), String> {
        match &self.cuts {
            Some(cuts) => {
                let piece = cuts.piece(text, cursor.byte, bytes)?;
                Ok((&text[cursor.byte..piece.read_end], piece.end, piece.read_end))
            }
            None if text.len() <= UNCUT_TEXT_BYTES_MAX => Ok((text, text.len(), text.len())),
            None => Err(format!(
                "it has {} bytes; the tokenizer of this model accepts {UNCUT_TEXT_BYTES_MAX} bytes",
                text.len()
            )),
        }
    }

    /// The `encode` of the crate without its truncation and template.
    fn encode(&self, text: &str, offsets: OffsetType) -> tokenizers::Result<Encoding> {
        let tokenizer = &self.tokenizer;
        let mut words =
            tokenizer.get_added_vocabulary().extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        words.tokenize(|word| tokenizer.get_model().tokenize(word.get()))?;
        words.into_encoding(None, 0, offsets)
    }

    fn apply_case<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.lower_case { text.to_lowercase().into() } else { text.into() }
    }
}

/// The document without the field `decoder`, which turns ids into text: the engine does not need it, and the crate panics
/// when it is malformed.
fn without_decoder(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(json)?;
    fields.remove("decoder");
    serde_json::to_vec(&fields)
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

/// The ids that the template puts before and after a text: those around a text of one token.
fn template_ids(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let Some(processor) = tokenizer.get_post_processor() else { return Ok((Vec::new(), Vec::new())) };
    let text = Encoding::from_tokens(vec![tokenizers::Token::new(0, String::new(), (0, 0))], 0);
    let encoding = processor.process(text, None, true).map_err(|error| error.to_string())?;
    let at = encoding.get_special_tokens_mask().iter().position(|is_special| *is_special == 0);
    let at = at.ok_or("the template drops the text")?;
    let ids = encoding.get_ids();
    Ok((ids[..at].to_vec(), ids[at + 1..].to_vec()))
}

/// A position in a text; texts are shorter than 4 GiB.
fn position(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Converts byte offsets in a trimmed piece to positions in the text. Tokens arrive in order, so each search starts where
/// the last one ended.
struct Spans<'a> {
    text: &'a str,
    /// Start of the trimmed piece.
    start: usize,
    byte: usize,
    character: usize,
}

impl<'a> Spans<'a> {
    fn new(text: &'a str, piece: &str, cursor: &TextCursor) -> Self {
        let start = cursor.byte + piece.len() - piece.trim_start().len();
        Self { text, start, byte: cursor.byte, character: cursor.character }
    }

    fn token(&mut self, id: u32, offsets: Option<(usize, usize)>) -> Token {
        let bytes = offsets.map(|(start, end)| (start + self.start, end + self.start));
        let Some(bytes) = bytes.filter(|(start, end)| self.text.get(*start..*end).is_some()) else {
            return Token::new(id, None, 0);
        };
        let start = bytes.0;
        match self.text.get(self.byte..start) {
            Some(between) => self.character += between.chars().count(),
            // Before the last token.
            None => {
                let between = self.text.get(start..self.byte).map_or(0, |between| between.chars().count());
                self.character -= between;
            }
        }
        self.byte = start;
        Token::new(id, Some(bytes), self.character)
    }
}

#[cfg(test)]
mod tests;
