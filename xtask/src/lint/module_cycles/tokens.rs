//! Rust source as words and punctuation: enough to find modules and paths. Comments, literals and items of tests are left out.

/// A token of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// An identifier, a keyword or a number.
    Word(&'a str),
    /// Any other character. `::` is two of them.
    Mark(char),
}

/// The tokens of a file, without items that `#[cfg(test)]` or `#[cfg(all(test, …))]` removes from the program.
pub fn of(source: &str) -> Vec<Token<'_>> {
    without_tests(&all(source))
}

fn all(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character_or_lifetime(rest)
        } else if word > 0 {
            match raw_string(rest, word) {
                Some(length) => length,
                None => {
                    tokens.push(Token::Word(&rest[..word]));
                    word
                }
            }
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Mark(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, also of bytes and of C strings. `word` is the length of the prefix.
fn raw_string(text: &str, word: usize) -> Option<usize> {
    let hashes = text[word..].bytes().take_while(|byte| *byte == b'#').count();
    let is_raw = matches!(&text[..word], "r" | "br" | "cr") && text[word + hashes..].starts_with('"');
    let start = word + hashes + 1;
    let end = || text[start..].find(&format!("\"{}", "#".repeat(hashes)));
    is_raw.then(|| end().map_or(text.len(), |end| start + end + 1 + hashes))
}

fn character_or_lifetime(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let after = escaped + c.len_utf8();
            text[after..].find('\'').map_or(text.len(), |end| after + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test(&tokens[at..]) {
            at += item(&tokens[at..]);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

fn is_test(tokens: &[Token]) -> bool {
    use Token::{Mark, Word};
    matches!(
        tokens,
        [Mark('#'), Mark('['), Word("cfg"), Mark('('), Word("test"), ..]
            | [Mark('#'), Mark('['), Word("cfg"), Mark('('), Word("all"), Mark('('), Word("test"), ..]
    )
}

/// The length of an item with its attributes: up to a semicolon or the end of a block, outside of all brackets.
fn item(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']') => depth -= 1,
            Token::Mark('}') if depth == 1 => return at + 1,
            Token::Mark('}') => depth -= 1,
            Token::Mark(';') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> String {
        let word = |token: &Token| match token {
            Token::Word(word) => Some((*word).to_string()),
            Token::Mark(_) => None,
        };
        of(source).iter().filter_map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn leaves_out_comments_and_literals() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(words(r##"a "b \" c" d r#"e " f"# g b"h" i"##), "a d g b i");
        assert_eq!(words(r"a '\'' b '\u{41}' c 'x' 'static d"), "a b c static d");
    }

    #[test]
    fn leaves_out_items_of_tests() {
        assert_eq!(words("a #[cfg(test)] mod tests; b"), "a b");
        assert_eq!(words("a #[cfg(test)] #[path = \"x\"] mod tests { fn b() { c; } } d"), "a d");
        assert_eq!(words("a #[cfg(all(test, unix))] fn b(c: [u8; 3]) -> d { e } f"), "a f");
        assert_eq!(words("#[cfg(not(test))] a"), "cfg not test a");
    }
}
