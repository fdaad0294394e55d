//! Values of a client in messages to it: cut, because a value can be as long as a body.

use std::borrow::Cow;

/// Longest part of a value that a message repeats, in characters.
const CHARS_MAX: usize = 200;

/// The beginning of a value.
pub fn cut(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}..", &value[..end]).into(),
        None => value.into(),
    }
}

/// The beginning and the end of a message that has a value inside, such as that of a parser.
pub fn cut_message(message: &str) -> Cow<'_, str> {
    let Some((head, _)) = message.char_indices().nth(CHARS_MAX) else { return message.into() };
    match message.char_indices().rev().nth(CHARS_MAX - 1) {
        Some((tail, _)) if tail > head => format!("{}..{}", &message[..head], &message[tail..]).into(),
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_to_200_characters_and_a_message_keeps_its_end() {
        let long = "\u{e9}".repeat(8 << 20);
        assert_eq!(cut(&long), format!("{}..", "\u{e9}".repeat(200)));
        assert_eq!(cut("short"), "short");
        let message = cut_message(&format!("unknown field `{long}`, expected `input`")).into_owned();
        assert!(message.starts_with("unknown field `\u{e9}") && message.ends_with("`, expected `input`"));
        assert_eq!(message.chars().count(), 402);
        let two_parts = "x".repeat(400);
        assert_eq!(cut_message(&two_parts), two_parts);
    }
}
