//! Inputs of a request: a string, strings, token ids, or lists of token ids.
//!
//! Texts are parts of the body and are not copied. The parser reads raw JSON under the limits of the server, because a parsed list can take many times the memory of
//! its text. It stops at the first element above a limit.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::super::scheduler;
use super::super::text::{BodyText, Text};
use super::error::ApiError;
use super::lenient_int::{LenientInt, to_integer};

/// Parsed inputs.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    Texts(Vec<Text>),
    Tokens(Vec<Vec<u32>>),
}

/// Limits on the inputs of one request.
#[derive(Debug, Clone, Copy)]
pub struct InputLimits {
    pub inputs_max: usize,
    /// Token ids of all inputs together.
    pub ids_max: usize,
    /// Whether token ids are accepted at all.
    pub token_ids: bool,
}

/// A client has its own tokenizer, and ids of another vocabulary give vectors without a meaning. OpenAI's and LangChain's
/// clients send ids of tiktoken by default.
const IDS_REFUSED: &str = "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong \
    vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the \
    tokenizer of the model, start the server with `--allow-token-ids`";

impl Input {
    /// Parses the field `param` of a body.
    pub fn read(
        body: &Arc<BodyText>,
        raw: &RawValue,
        param: &'static str,
        limits: InputLimits,
    ) -> Result<Self, ApiError> {
        let exceeded = Cell::new(None);
        let reader = Reader { body, param, limits, exceeded: &exceeded };
        let mut json = serde_json::Deserializer::from_str(raw.get());
        json.deserialize_any(reader).map_err(|error| match exceeded.take() {
            Some(message) => ApiError::invalid(param, message),
            None => ApiError::json(error.to_string()).at(param),
        })
    }

    /// Number of inputs.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(sequences) => sequences.len(),
        }
    }

    /// Both inputs in this order; `None` when one is text and the other token ids.
    pub fn concat(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Texts(a), Self::Texts(b)) => Some(Self::Texts([a, b].concat())),
            (Self::Tokens(a), Self::Tokens(b)) => Some(Self::Tokens([a, b].concat())),
            _ => None,
        }
    }
}

impl From<Input> for scheduler::Input {
    fn from(input: Input) -> Self {
        match input {
            Input::Texts(texts) => Self::Texts(texts),
            Input::Tokens(sequences) => Self::Sequences(sequences),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    body: &'a Arc<BodyText>,
    param: &'static str,
    limits: InputLimits,
    /// The limit that stopped the parser, if any.
    exceeded: &'a Cell<Option<String>>,
}

impl Reader<'_> {
    fn exceed<E: Error>(&self, message: String) -> E {
        let error = E::custom(&message);
        self.exceeded.set(Some(message));
        error
    }

    fn too_many_inputs<E: Error>(&self) -> E {
        let max = self.limits.inputs_max;
        self.exceed(format!("more than {max} inputs; the limit of this server is {max}"))
    }

    fn check_ids_allowed<E: Error>(&self) -> Result<(), E> {
        if self.limits.token_ids { Ok(()) } else { Err(self.exceed(IDS_REFUSED.into())) }
    }

    fn too_many_ids<E: Error>(&self) -> E {
        let max = self.limits.ids_max;
        self.exceed(format!("more than {max} token ids; the limit of this server is {max}"))
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let param = self.param;
        write!(
            f,
            "`{param}`: a string, a list of strings, a list of token ids or a list of lists of token ids"
        )
    }

    fn visit_str<E>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Texts(vec![Text::of(self.body, text)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        let (mut texts, mut ids, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let mut ids_left = self.limits.ids_max;
        while let Some(element) = list.next_element_seed(Element { reader: self, ids_left })? {
            match element {
                ElementValue::Text(text) => texts.push(text),
                ElementValue::Id(id) => {
                    ids_left = ids_left.checked_sub(1).ok_or_else(|| self.too_many_ids::<A::Error>())?;
                    ids.push(id);
                }
                ElementValue::Ids(list) => {
                    ids_left -= list.len();
                    lists.push(list);
                }
            }
            if texts.len().max(lists.len()) > self.limits.inputs_max {
                return Err(self.too_many_inputs());
            }
        }
        match (texts.is_empty(), ids.is_empty(), lists.is_empty()) {
            (_, true, true) => Ok(Input::Texts(texts)),
            (true, false, true) => Ok(Input::Tokens(vec![ids])),
            (true, true, false) => Ok(Input::Tokens(lists)),
            _ => {
                let param = self.param;
                Err(A::Error::custom(format!("all elements of `{param}` must be of one kind")))
            }
        }
    }
}

enum ElementValue {
    Text(Text),
    Id(u32),
    Ids(Vec<u32>),
}

struct Element<'a> {
    reader: Reader<'a>,
    ids_left: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ElementValue;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<ElementValue, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ElementValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string, a token id or a list of token ids as element of `{}`", self.reader.param)
    }

    fn visit_str<E>(self, text: &str) -> Result<ElementValue, E> {
        Ok(ElementValue::Text(Text::of(self.reader.body, text)))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<ElementValue, E> {
        self.reader.check_ids_allowed()?;
        let id = u32::try_from(id);
        id.map(ElementValue::Id).map_err(|_| E::custom("a token id is a whole number below 4294967296"))
    }

    fn visit_f64<E: Error>(self, id: f64) -> Result<ElementValue, E> {
        match to_integer(id) {
            Some(id) => self.visit_u64(id),
            None => Err(E::invalid_type(Unexpected::Float(id), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ElementValue, A::Error> {
        self.reader.check_ids_allowed()?;
        let mut ids = Vec::new();
        while let Some(LenientInt(id)) = list.next_element()? {
            if ids.len() == self.ids_left {
                return Err(self.reader.too_many_ids());
            }
            ids.push(id);
        }
        Ok(ElementValue::Ids(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> Result<Input, String> {
        let body = Arc::new(BodyText::from(json.to_string()));
        let raw: &RawValue = serde_json::from_str(&body).unwrap();
        let limits = InputLimits { inputs_max: 3, ids_max: 4, token_ids: true };
        Input::read(&body, raw, "input", limits).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn refuses_token_ids_in_every_form_unless_they_are_allowed() {
        let limits = InputLimits { inputs_max: 3, ids_max: 4, token_ids: false };
        let read = |json: &str| {
            let body = Arc::new(BodyText::from(json.to_string()));
            Input::read(&body, serde_json::from_str(&body).unwrap(), "input", limits)
        };
        let errors = ["[1]", "[1.0]", "[[1]]", "[[]]", "[\"a\",1]"]
            .map(|json| format!("{json}: {:?}\n", read(json).unwrap_err()));
        insta::assert_snapshot!(errors.concat(), @r#"
        [1]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`", param: Some("input"), retry_after_s: None }
        [1.0]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`", param: Some("input"), retry_after_s: None }
        [[1]]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`", param: Some("input"), retry_after_s: None }
        [[]]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`", param: Some("input"), retry_after_s: None }
        ["a",1]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`", param: Some("input"), retry_after_s: None }
        "#);
        assert!(read("[\"a\"]").is_ok());
    }

    #[test]
    fn parses_the_four_forms() {
        assert_eq!(input("\"a\""), Ok(Input::Texts(vec!["a".into()])));
        assert_eq!(input("[\"a\",\"\"]"), Ok(Input::Texts(vec!["a".into(), "".into()])));
        assert_eq!(input("[1,2]"), Ok(Input::Tokens(vec![vec![1, 2]])));
        assert_eq!(input("[1.0,2]"), input("[1,2.0]"));
        assert_eq!(input("[[1],[2,3.0]]"), Ok(Input::Tokens(vec![vec![1], vec![2, 3]])));
    }

    #[test]
    fn rejects_other_forms() {
        let errors = [
            "[1,\"a\"]",
            "[[1],2]",
            "[-1]",
            "[1.5]",
            "{}",
            "null",
            "[null]",
            "[[[1]]]",
            "[4294967296]",
            "1",
            "true",
        ]
        .map(|json| format!("{json}: {}\n", input(json).unwrap_err()));
        insta::assert_snapshot!(errors.concat(), @r#"
        [1,"a"]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "all elements of `input` must be of one kind at line 1 column 7", param: Some("input"), retry_after_s: None }
        [[1],2]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "all elements of `input` must be of one kind at line 1 column 7", param: Some("input"), retry_after_s: None }
        [-1]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: integer `-1`, expected a string, a token id or a list of token ids as element of `input` at line 1 column 3", param: Some("input"), retry_after_s: None }
        [1.5]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: floating point `1.5`, expected a string, a token id or a list of token ids as element of `input` at line 1 column 4", param: Some("input"), retry_after_s: None }
        {}: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: map, expected `input`: a string, a list of strings, a list of token ids or a list of lists of token ids at line 1 column 2", param: Some("input"), retry_after_s: None }
        null: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: null, expected `input`: a string, a list of strings, a list of token ids or a list of lists of token ids at line 1 column 4", param: Some("input"), retry_after_s: None }
        [null]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: null, expected a string, a token id or a list of token ids as element of `input` at line 1 column 5", param: Some("input"), retry_after_s: None }
        [[[1]]]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: sequence, expected an unsigned integer of 32 bits at line 1 column 3", param: Some("input"), retry_after_s: None }
        [4294967296]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "a token id is a whole number below 4294967296 at line 1 column 11", param: Some("input"), retry_after_s: None }
        1: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: integer `1`, expected `input`: a string, a list of strings, a list of token ids or a list of lists of token ids at line 1 column 1", param: Some("input"), retry_after_s: None }
        true: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "invalid type: boolean `true`, expected `input`: a string, a list of strings, a list of token ids or a list of lists of token ids at line 1 column 4", param: Some("input"), retry_after_s: None }
        "#);
    }

    #[test]
    fn stops_at_the_first_element_above_a_limit() {
        let errors = ["[\"\",\"\",\"\",\"\"]", "[[],[],[],[]]", "[1,1,1,1,1]", "[[1,1,1],[1,1]]"]
            .map(|json| format!("{json}: {}\n", input(json).unwrap_err()));
        insta::assert_snapshot!(errors.concat(), @r#"
        ["","","",""]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "more than 3 inputs; the limit of this server is 3", param: Some("input"), retry_after_s: None }
        [[],[],[],[]]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "more than 3 inputs; the limit of this server is 3", param: Some("input"), retry_after_s: None }
        [1,1,1,1,1]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "more than 4 token ids; the limit of this server is 4", param: Some("input"), retry_after_s: None }
        [[1,1,1],[1,1]]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "more than 4 token ids; the limit of this server is 4", param: Some("input"), retry_after_s: None }
        "#);
        assert!(input("[\"\",\"\",\"\"]").is_ok() && input("[[1,1],[1],[1]]").is_ok());
    }
}
