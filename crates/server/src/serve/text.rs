//! A text of a request: a part of the body, so that parsing does not copy it.

use std::ops::Deref;
use std::sync::Arc;

/// The body of a request as text. Not `Arc<str>`, because that would copy the bytes.
#[derive(Debug)]
pub struct BodyText(String);

impl From<String> for BodyText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Deref for BodyText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A text. Parts keep the whole body in memory, which the permit of the request counts.
#[derive(Debug, Clone)]
pub enum Text {
    Part {
        body: Arc<BodyText>,
        start: usize,
        end: usize,
    },
    /// A string with escapes is not a part of the body.
    Unescaped(Arc<str>),
}

impl Text {
    /// `part` as a part of `body`; a copy when it is not one.
    pub fn of(body: &Arc<BodyText>, part: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
        let end = start.wrapping_add(part.len());
        match body.get(start..end) {
            // Compares addresses: the bytes are the same ones.
            Some(found) if std::ptr::eq(found, part) => Self::Part { body: Arc::clone(body), start, end },
            _ => Self::from(part),
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Part { body, start, end } => &body[*start..*end],
            Self::Unescaped(text) => text,
        }
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        self.as_str().len()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Unescaped(text.into())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_body_is_not_copied_and_another_string_is() {
        let body = Arc::new(BodyText::from("{\"input\":\"a \u{e9} b\"}".to_string()));
        let part = &body[10..body.len() - 2];
        let text = Text::of(&body, part);
        assert!(std::ptr::eq(text.as_str(), part) && matches!(text, Text::Part { .. }));
        let other = part.to_string();
        assert!(matches!(Text::of(&body, &other), Text::Unescaped(_)));
        assert_eq!(Text::of(&body, &other), text);
    }
}
