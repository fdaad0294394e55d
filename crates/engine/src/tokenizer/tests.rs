use std::path::PathBuf;

use super::*;
use crate::model_files::ModelFiles;

fn tokenizer(dir: PathBuf) -> TextTokenizer {
    let files = ModelFiles::in_folder(&dir).unwrap();
    let config = ModelConfig::load(&files).unwrap();
    TextTokenizer::open(&files.file("tokenizer.json"), &config).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the runner of the tests names the folder")]
fn tokenizers() -> Vec<TextTokenizer> {
    let tiny = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/tiny-bert"));
    let mut all = vec![
        tokenizer(tiny.clone()),
        tokenizer(PathBuf::from(std::env::var_os("MUSLIN_MODEL_DIR").expect("set by `cargo xtask test`"))),
    ];
    // A model whose configuration sets lower case.
    let mut lower = tokenizer(tiny);
    lower.lower_case = true;
    lower.cuts = Cuts::of(&lower.tokenizer, true);
    all.push(lower);
    all
}

/// Ids and byte offsets of a text that reaches the tokenizer as a whole.
fn whole(tokenizer: &TextTokenizer, text: &str) -> Vec<(u32, Option<(usize, usize)>)> {
    let cased = tokenizer.apply_case(text);
    let encoding = tokenizer.encode(cased.trim(), OffsetType::Byte).unwrap();
    let trimmed = text.len() - text.trim_start().len();
    let has_offsets = cased.len() == text.len();
    let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
    tokens
        .map(|(id, (start, end))| {
            let span = (start + trimmed, end + trimmed);
            (*id, (has_offsets && text.get(span.0..span.1).is_some()).then_some(span))
        })
        .collect()
}

fn in_pieces(tokenizer: &TextTokenizer, text: &str, bytes: usize) -> Vec<(u32, Option<(usize, usize)>)> {
    let (mut tokens, mut cursor) = (Vec::new(), TextCursor::default());
    while !cursor.is_finished() {
        tokenizer.add_tokens(text, false, &mut cursor, &mut tokens, bytes).unwrap();
    }
    for token in &tokens {
        let Some((start, _)) = token.bytes() else { continue };
        assert_eq!(token.first_char as usize, text[..start].chars().count(), "{text:?}");
    }
    tokens.iter().map(|token| (token.id, token.bytes())).collect()
}

/// Every rule of the normalizer and the pre-tokenizer, and characters that interact with their neighbours.
const PARTS: &[&str] = &[
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "a",
    "fox",
    "Quick",
    "unbelievable",
    "7",
    ",",
    ".",
    "-",
    "_",
    "'s",
    "[",
    "]",
    "[MASK]",
    "[SEP]",
    "[CLS",
    "##",
    "\u{300}",
    "\u{301}",
    "\u{327}\u{301}",
    "e\u{301}",
    "\u{e9}",
    "\u{1e9b}\u{323}",
    "\u{ac01}",
    "\u{1100}\u{1161}\u{11a8}",
    "\u{4e2d}",
    "\u{56fd}",
    "\u{f900}",
    "\u{3400}",
    "\u{20000}",
    "\u{3042}",
    "\u{30ab}\u{3099}",
    "\u{0}",
    "\u{7}",
    "\u{ad}",
    "\u{200b}",
    "\u{200d}",
    "\u{fffd}",
    "\u{3a3}",
    "A\u{3a3}",
    "A\u{3a3}.",
    "\u{3c2}",
    "\u{130}",
    "I",
    "\u{df}",
    "\u{1f600}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{e01}\u{e33}",
    "\u{64a}\u{651}",
    "\u{3002}",
    "\u{ff0c}",
    "\u{2019}",
];

#[test]
fn pieces_have_the_tokens_and_offsets_of_the_whole_text() {
    // Deterministic: xorshift.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    for tokenizer in tokenizers() {
        assert!(tokenizer.cuts.is_some());
        let mut cut = 0;
        for _ in 0..4000 {
            let length = 1 + random(40);
            let text: String = (0..length).map(|_| PARTS[random(PARTS.len())]).collect();
            let bytes = 1 + random(24);
            let (expected, found) = (whole(&tokenizer, &text), in_pieces(&tokenizer, &text, bytes));
            if tokenizer.lower_case {
                // A piece can have offsets where the whole text has none.
                let ids = |tokens: &[(u32, _)]| tokens.iter().map(|token| token.0).collect::<Vec<_>>();
                assert_eq!(ids(&expected), ids(&found), "{text:?} in pieces of {bytes}");
            } else {
                assert_eq!(expected, found, "{text:?} in pieces of {bytes}");
            }
            cut += usize::from(text.len() > bytes);
        }
        assert!(cut > 3000);
    }
}

#[test]
fn a_word_longer_than_the_tokenizer_reads_is_one_token_with_its_whole_span() {
    let mut errors = Vec::new();
    for tokenizer in tokenizers() {
        for text in [
            format!("one {} two", "x7".repeat(20_000)),
            "y".repeat(100 << 10),
            format!(",{},", "z".repeat(9000)),
        ] {
            assert_eq!(whole(&tokenizer, &text), in_pieces(&tokenizer, &text, 64), "{} bytes", text.len());
        }
        let too_long = [format!("a {}", "x".repeat(129 << 10)), "\u{e01}".repeat(11 << 10)];
        for text in too_long {
            let mut cursor = TextCursor::default();
            let mut ids = Vec::new();
            let error = loop {
                match tokenizer.next_ids(&text, &mut cursor, &mut ids) {
                    Ok(()) => assert!(!cursor.is_finished()),
                    Err(error) => break error,
                }
            };
            errors.push(error);
        }
    }
    insta::assert_snapshot!(errors.join("\n"), @"
    it has a word of 132097 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    it has a word of 33792 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    it has a word of 132097 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    it has a word of 33792 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    it has a word of 132097 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    it has a word of 33792 bytes; the tokenizer accepts 131072 bytes of ASCII letters and digits, and 32768 bytes of other characters, without a space
    ");
}
