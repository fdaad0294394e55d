//! Text to token ids, exactly as sentence-transformers does it.
//!
//! `tokenizer.json` may carry truncation and padding of its own (the published MiniLM says 128 and pads to 128);
//! sentence-transformers overrides both: it cuts at `max_seq_length` and we never pad. One text at a time: the crate's
//! batch call would start a thread pool of its own, and the cores belong to our workers.

use tokenizers::{Tokenizer, TruncationParams};

use crate::error::{ModelError, ModelErrorKind as Kind};
use crate::files::ModelFile;
use crate::folder::{self, Recipe};

pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    lower_case: bool,
}

impl TextTokenizer {
    pub fn open(file: &ModelFile, recipe: &Recipe) -> Result<TextTokenizer, ModelError> {
        let bytes = file.bytes()?;
        let expected = "a tokenizer as the `tokenizers` crate 0.23 reads it";
        let mut tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| folder::malformed(file, expected, error))?;
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: recipe.max_tokens, ..TruncationParams::default() };
        let cut = tokenizer.with_truncation(Some(truncation));
        cut.map_err(|error| {
            folder::malformed(file, "room for special tokens below `max_seq_length`", error)
        })?;
        let (words, rows) = (tokenizer.get_vocab_size(true), recipe.bert.vocab_size);
        if words > rows {
            let expected = format!("at most {rows} words, the `vocab_size` of config.json");
            let hint = "tokenizer.json and config.json come from different models: fetch the folder again";
            return Err(ModelError::new(Kind::Contradiction, file, expected, words.to_string(), hint));
        }
        Ok(TextTokenizer { tokenizer, lower_case: recipe.lower_case })
    }

    /// Ids with the special tokens, at most `max_tokens` of them.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let lowered;
        let text = if self.lower_case {
            lowered = text.to_lowercase();
            &lowered
        } else {
            text
        };
        // `encode_fast` leaves out character offsets, which nobody asks for here.
        let encoding = self.tokenizer.encode_fast(text.trim(), true).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }
}
