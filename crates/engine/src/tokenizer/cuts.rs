//! Where a text can be cut so that its parts have the same tokens as the whole.
//!
//! The tokenizer allocates up to 170 bytes per byte of text and does not check the cancel flag, so it gets a long text in
//! pieces. A cut before a character is exact when no rule looks across it:
//!
//! - BERT's normalizer maps character by character, except canonical decomposition, which reorders marks up to the next
//!   character that is not a mark. White space, Chinese characters and ASCII punctuation are not marks.
//! - BERT's pre-tokenizer ends a word at white space and at punctuation. The normalizer puts spaces around Chinese
//!   characters, if it is configured to.
//! - Lower case of a Greek sigma depends on the letters around it, across punctuation, but not across white space.
//! - An added token must not contain a cut, so the characters of added tokens are not cuts.

use tokenizers::{ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer};

/// Longest word of ASCII letters and digits.
pub const WORD_BYTES_MAX: usize = 128 << 10;
/// Longest part without a cut that has other characters. The tokenizer gets it as a whole.
pub const UNCUT_BYTES_MAX: usize = 32 << 10;

/// The cuts that are exact for one tokenizer.
#[derive(Debug, Clone)]
pub struct Cuts {
    chinese: bool,
    /// By ASCII code.
    punctuation: [bool; 128],
    /// Words of more characters are one unknown token.
    word_chars_max: Option<usize>,
}

/// The next piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// End in the text.
    pub end: usize,
    /// End of the part that the tokenizer gets. Before `end` when the piece ends with a word that is longer than the
    /// tokenizer reads: the last token then stands for the rest as well.
    pub read_end: usize,
}

impl Cuts {
    /// The cuts of a tokenizer; `None` when its parts are not those for which cuts are exact. `lower_case` tells whether
    /// each piece is converted to lower case before it reaches the tokenizer.
    pub fn of(tokenizer: &Tokenizer, lower_case: bool) -> Option<Cuts> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let (None | Some(PostProcessorWrapper::Template(_) | PostProcessorWrapper::Bert(_))) =
            tokenizer.get_post_processor()
        else {
            return None;
        };
        let mut punctuation = [false; 128];
        if !lower_case {
            for code in (0..128_u8).filter(u8::is_ascii_punctuation) {
                punctuation[usize::from(code)] = true;
            }
        }
        let mut cuts_words = true;
        for added in tokenizer.get_added_tokens_decoder().values() {
            let is_simple = added.content.bytes().all(|byte| byte.is_ascii_graphic());
            if added.lstrip || added.rstrip || added.single_word || !is_simple {
                return None;
            }
            added.content.bytes().for_each(|byte| punctuation[usize::from(byte)] = false);
            cuts_words &= added.content.bytes().any(|byte| !byte.is_ascii_alphanumeric());
        }
        let word_chars_max = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) if cuts_words => Some(model.max_input_chars_per_word),
            _ => None,
        };
        Some(Cuts { chinese: normalizer.handle_chinese_chars, punctuation, word_chars_max })
    }

    /// The piece that begins at `start`: at most `bytes_max` bytes if there is a cut; fails when it would be too long.
    /// Never empty unless the rest is.
    pub fn piece(&self, text: &str, start: usize, bytes_max: usize) -> Result<Piece, String> {
        let rest = &text[start..];
        if rest.len() <= bytes_max {
            return Ok(Piece { end: text.len(), read_end: text.len() });
        }
        // At least one character, which has up to 4 bytes.
        let window = &rest[..rest.floor_char_boundary(bytes_max.max(4))];
        let last = window.char_indices().rev().find(|(at, character)| *at > 0 && self.is_cut(*character));
        if let Some((at, _)) = last {
            return Ok(Piece { end: start + at, read_end: start + at });
        }
        let next = rest[window.len()..].char_indices().find(|(_, character)| self.is_cut(*character));
        let bytes = next.map_or(rest.len(), |(at, _)| window.len() + at);
        let end = start + bytes;
        // The first character may be a cut itself.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let word = &rest[first..bytes];
        if let Some(chars_max) = self.word_chars_max
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && word.len() > 2 * chars_max
        {
            let read_end = start + first + 2 * chars_max;
            return if bytes <= WORD_BYTES_MAX { Ok(Piece { end, read_end }) } else { Err(too_long(bytes)) };
        }
        if bytes <= UNCUT_BYTES_MAX { Ok(Piece { end, read_end: end }) } else { Err(too_long(bytes)) }
    }

    /// Whether the text can be cut before this character.
    fn is_cut(&self, character: char) -> bool {
        match character {
            ' ' | '\t' | '\n' | '\r' => true,
            '\u{4e00}'..='\u{9fff}' => self.chinese,
            _ => self.punctuation.get(character as usize).is_some_and(|is_cut| *is_cut),
        }
    }
}

fn too_long(bytes: usize) -> String {
    format!(
        "it has a word of {bytes} bytes; the tokenizer accepts {WORD_BYTES_MAX} bytes of ASCII letters and digits, and \
         {UNCUT_BYTES_MAX} bytes of other characters, without a space"
    )
}
