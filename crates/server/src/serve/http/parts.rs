//! The parts of responses that can be long: vectors, tokens, and ranked documents.

use std::sync::Arc;

use serde::Serialize;

use super::super::model::Model;
use super::super::text::Text;
use super::stream::Parts;
use engine::Token;

/// Tokens of one part, some 20 KiB.
const TOKENS_PER_PART: usize = 256;
/// Bytes of a text in one part.
const TEXT_BYTES_PER_PART: usize = 16 << 10;

/// Appends JSON.
pub fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to a vector cannot fail, and all keys are strings.
    let _ = serde_json::to_writer(out, value);
}

/// Appends a part of a JSON string, without quotes.
fn append_unquoted(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    append(out, &text);
    out.pop();
    out.remove(start);
}

/// A list of vectors between a head and a tail.
pub struct VectorParts {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
    pub vectors: Vec<Vec<f32>>,
    /// Appends the vector with this index.
    pub write: fn(&mut Vec<u8>, usize, &[f32]),
}

impl Parts for VectorParts {
    fn count(&self) -> usize {
        self.vectors.len() + 2
    }

    fn write(&self, part: usize, out: &mut Vec<u8>) {
        match part.checked_sub(1) {
            None => out.extend(&self.head),
            Some(index) if index < self.vectors.len() => {
                if index > 0 {
                    out.push(b',');
                }
                (self.write)(out, index, &self.vectors[index]);
            }
            Some(_) => out.extend(&self.tail),
        }
    }

    fn free(&mut self, part: usize) -> u64 {
        let vector = part.checked_sub(1).and_then(|index| self.vectors.get_mut(index));
        vector.map_or(0, |vector| size_of_val(&*std::mem::take(vector)) as u64)
    }

    fn held_bytes(&self) -> u64 {
        self.vectors.iter().map(|vector| size_of_val(&vector[..]) as u64).sum()
    }
}

/// The tokens of texts.
pub struct TokenParts {
    model: Arc<dyn Model>,
    texts: Vec<(Text, Vec<Token>)>,
    /// Of each part: the text, its first token, and one past its last.
    parts: Vec<(usize, usize, usize)>,
    body_bytes: u64,
}

/// `start` and `stop` count characters. Special tokens have no offsets.
#[derive(Serialize)]
struct TokenJson<'a> {
    id: u32,
    text: &'a str,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

impl TokenParts {
    /// `body_bytes`: what the texts keep in memory.
    pub fn new(model: Arc<dyn Model>, texts: Vec<(Text, Vec<Token>)>, body_bytes: u64) -> Self {
        let mut parts = Vec::new();
        for (index, (_, tokens)) in texts.iter().enumerate() {
            let mut first = 0;
            loop {
                let end = part_end(tokens, first);
                parts.push((index, first, end));
                first = end;
                if end == tokens.len() {
                    break;
                }
            }
        }
        Self { model, texts, parts, body_bytes }
    }

    fn write_token(&self, out: &mut Vec<u8>, text: &str, token: Token) {
        let name;
        let (text, offsets) = match token.part(text) {
            Some((part, offsets)) => (part, Some(offsets)),
            None => {
                name = self.model.token_name(token.id()).unwrap_or_default();
                (&*name, None)
            }
        };
        let (start, stop) = (offsets.map(|offsets| offsets.0), offsets.map(|offsets| offsets.1));
        append(out, &TokenJson { id: token.id(), text, special: token.is_special(), start, stop });
    }
}

/// End of the part that begins with the token `first`. The text of one token can be longer than [`TEXT_BYTES_PER_PART`].
fn part_end(tokens: &[Token], first: usize) -> usize {
    let mut bytes = 0;
    let rest = tokens[first..].iter().take(TOKENS_PER_PART).enumerate();
    let full = rest.skip_while(|(at, token)| {
        bytes += token.text_bytes();
        *at == 0 || bytes <= TEXT_BYTES_PER_PART
    });
    let end = full.map(|(at, _)| first + at).next();
    end.unwrap_or_else(|| (first + TOKENS_PER_PART).min(tokens.len()))
}

impl Parts for TokenParts {
    fn count(&self) -> usize {
        self.parts.len()
    }

    fn write(&self, part: usize, out: &mut Vec<u8>) {
        let (index, first, end) = self.parts[part];
        let (text, tokens) = &self.texts[index];
        if first == 0 {
            out.extend(if index == 0 { &b"[["[..] } else { &b",["[..] });
        }
        for (at, token) in tokens.iter().enumerate().take(end).skip(first) {
            if at > 0 {
                out.push(b',');
            }
            self.write_token(out, text.as_str(), *token);
        }
        if end == tokens.len() {
            out.extend(if index + 1 == self.texts.len() { &b"]]"[..] } else { &b"]"[..] });
        }
    }

    fn free(&mut self, part: usize) -> u64 {
        let (index, _, end) = self.parts[part];
        let tokens = &mut self.texts[index].1;
        // The tokens of a text are freed with the last part of it.
        if end < tokens.len() {
            return 0;
        }
        // The next parts only need the number of texts.
        size_of_val(&*std::mem::take(tokens)) as u64
    }

    fn held_bytes(&self) -> u64 {
        let tokens: u64 = self.texts.iter().map(|(_, tokens)| size_of_val(&tokens[..]) as u64).sum();
        tokens + size_of_val(&self.parts[..]) as u64 + self.body_bytes
    }
}

/// Ranked documents between a head and a tail.
pub struct RankedParts {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Index and score of each result, best first.
    results: Vec<(usize, f32)>,
    /// By index; empty when the response does not have them.
    documents: Vec<Text>,
    /// Result, and a range of its document; `None` for a result without one.
    parts: Vec<(usize, Option<(usize, usize)>)>,
    body_bytes: u64,
}

impl RankedParts {
    /// `body_bytes`: what the documents keep in memory.
    pub fn new(
        (head, tail): (Vec<u8>, Vec<u8>),
        results: Vec<(usize, f32)>,
        documents: Vec<Text>,
        body_bytes: u64,
    ) -> Self {
        let mut parts = Vec::new();
        for (at, (index, _)) in results.iter().enumerate() {
            let Some(document) = documents.get(*index).map(Text::as_str) else {
                parts.push((at, None));
                continue;
            };
            let mut start = 0;
            loop {
                let end = document.floor_char_boundary(start + TEXT_BYTES_PER_PART);
                parts.push((at, Some((start, end))));
                start = end;
                if end == document.len() {
                    break;
                }
            }
        }
        let body_bytes = if documents.is_empty() { 0 } else { body_bytes };
        Self { head, tail, results, documents, parts, body_bytes }
    }
}

impl Parts for RankedParts {
    fn count(&self) -> usize {
        self.parts.len() + 2
    }

    fn write(&self, part: usize, out: &mut Vec<u8>) {
        let Some(part) = part.checked_sub(1) else { return out.extend(&self.head) };
        let Some((at, range)) = self.parts.get(part).copied() else { return out.extend(&self.tail) };
        let (index, score) = self.results[at];
        if range.is_none_or(|(start, _)| start == 0) {
            if at > 0 {
                out.push(b',');
            }
            out.extend(b"{\"index\":");
            append(out, &index);
            out.extend(b",\"relevance_score\":");
            append(out, &score);
        }
        match range {
            None => out.push(b'}'),
            Some((start, end)) => {
                let document = self.documents[index].as_str();
                if start == 0 {
                    out.extend(b",\"document\":{\"text\":\"");
                }
                append_unquoted(out, &document[start..end]);
                if end == document.len() {
                    out.extend(b"\"}}");
                }
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        (size_of_val(&self.results[..]) + size_of_val(&self.parts[..])) as u64 + self.body_bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(parts: &impl Parts) -> Value {
        let mut out = Vec::new();
        (0..parts.count()).for_each(|part| parts.write(part, &mut out));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn vectors_are_a_list_and_are_freed_one_by_one() {
        let vectors = vec![vec![1.0, -2.5e-8], vec![0.1, 3.0]];
        let write = |out: &mut Vec<u8>, _, vector: &[f32]| append(out, &vector);
        let (head, tail) = (b"{\"v\":[".to_vec(), b"]}".to_vec());
        let mut parts = VectorParts { head, tail, vectors, write };
        assert_eq!(text(&parts).to_string(), "{\"v\":[[1.0,-2.5e-8],[0.1,3.0]]}");
        assert_eq!(parts.held_bytes(), 16);
        assert_eq!([0, 1, 2, 3].map(|part| parts.free(part)), [0, 8, 8, 0]);
        assert_eq!(parts.held_bytes(), 0);
    }

    #[test]
    fn a_part_has_a_bounded_number_of_tokens_and_of_bytes() {
        let token = |bytes: usize| Token::new(1, Some((0, bytes)), 0);
        let ends = |tokens: &[Token]| {
            let mut ends = vec![part_end(tokens, 0)];
            while ends[ends.len() - 1] < tokens.len() {
                ends.push(part_end(tokens, ends[ends.len() - 1]));
            }
            ends
        };
        assert_eq!(ends(&[]), [0]);
        assert_eq!(ends(&[token(1); 600]), [256, 512, 600]);
        assert_eq!(ends(&[token(TEXT_BYTES_PER_PART * 8); 3]), [1, 2, 3]);
        assert_eq!(ends(&[token(TEXT_BYTES_PER_PART / 4); 6]), [4, 6]);
        assert_eq!(ends(&[Token::new_special(1); 3]), [3]);
    }

    #[test]
    fn a_document_that_is_cut_into_parts_is_the_same_string() {
        let document = "\u{e9}\"\\\n\u{1}x".repeat(9000);
        let documents = vec![Text::from("second"), Text::from(&*document), Text::from("")];
        let results = vec![(1, 0.5), (0, 0.25), (2, 0.125)];
        let parts = RankedParts::new((b"[".to_vec(), b"]".to_vec()), results.clone(), documents, 0);
        assert!(parts.count() > 6);
        assert_eq!(
            text(&parts),
            json!([
                {"index": 1, "relevance_score": 0.5, "document": {"text": document}},
                {"index": 0, "relevance_score": 0.25, "document": {"text": "second"}},
                {"index": 2, "relevance_score": 0.125, "document": {"text": ""}},
            ])
        );
        let parts = RankedParts::new((b"[".to_vec(), b"]".to_vec()), results, Vec::new(), 0);
        assert_eq!(text(&parts)[2], json!({"index": 2, "relevance_score": 0.125}));
    }
}
