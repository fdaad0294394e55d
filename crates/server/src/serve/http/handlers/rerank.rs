//! `POST /v1/rerank`, compatible with Cohere and Jina: documents in descending order of similarity to a query. The
//! score is the cosine of two embeddings; a cross-encoder, which reads both texts together, is another kind of model.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::super::super::scheduler;
use super::super::super::text::{BodyText, Text};
use super::super::admitted::{Admitted, Usage};
use super::super::error::ApiError;
use super::super::input::InputLimits;
use super::super::json::parse;
use super::super::lenient_int::LenientInt;
use super::super::parts::{RankedParts, append};
use super::super::stream::respond;
use super::super::vectors::{rank, similarities};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RerankRequest<'a> {
    model: Option<String>,
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow)]
    documents: &'a RawValue,
    top_n: Option<LenientInt<u32>>,
    return_documents: Option<bool>,
}

struct Query {
    model: Option<String>,
    query: Text,
    documents: Vec<Text>,
    top_n: Option<usize>,
    return_documents: bool,
}

fn read(body: &Arc<BodyText>, limits: InputLimits) -> Result<Query, ApiError> {
    let RerankRequest { model, query, documents, top_n, return_documents } = parse(body)?;
    let top_n = top_n.map(|number| number.0 as usize);
    // Rejects an invalid `top_n` before the computation.
    rank(&[], top_n)?;
    let documents = read_documents(body, documents, limits.inputs_max)?;
    let return_documents = return_documents.unwrap_or(false);
    Ok(Query { model, query: Text::of(body, &query), documents, top_n, return_documents })
}

/// The handler.
pub async fn rerank(admitted: Admitted) -> Result<Response<Body>, ApiError> {
    let (request, Query { model, query, documents, top_n, return_documents }) = admitted.parse(read).await?;
    let kept = if return_documents { documents.clone() } else { Vec::new() };
    let texts: Vec<Text> = [query].into_iter().chain(documents).collect();
    let loaded = request.model(model.as_deref()).await?;
    let body_bytes = request.body_bytes();
    let output = request.compute(&loaded, scheduler::Input::Texts(texts), "documents").await?;

    let ranked = rank(&similarities(&output.vectors), top_n)?;
    drop(output.vectors);
    let mut head = br#"{"object":"list","model":"#.to_vec();
    append(&mut head, &loaded.entry.name());
    head.extend(br#","results":["#);
    let mut tail = br#"],"usage":"#.to_vec();
    append(&mut tail, &Usage::of(output.token_count));
    tail.push(b'}');
    let parts = RankedParts::new((head, tail), ranked, kept, body_bytes);
    Ok(respond(parts, output.permit).await)
}

/// Parses at least one document. Stops at the first one above the limit; the query counts as an input.
fn read_documents(body: &Arc<BodyText>, raw: &RawValue, inputs_max: usize) -> Result<Vec<Text>, ApiError> {
    let too_many = Cell::new(false);
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let documents = json.deserialize_seq(Documents { body, inputs_max, too_many: &too_many });
    let documents = documents.map_err(|error| {
        if too_many.get() {
            let message = format!("query and documents exceed the limit of {inputs_max} inputs");
            return ApiError::invalid("documents", message);
        }
        ApiError::json(format!("`documents`: {error}")).at("documents")
    })?;
    if documents.is_empty() {
        return Err(ApiError::invalid("documents", "`documents` is empty"));
    }
    Ok(documents)
}

struct Documents<'a> {
    body: &'a Arc<BodyText>,
    inputs_max: usize,
    too_many: &'a Cell<bool>,
}

impl<'de> Visitor<'de> for Documents<'_> {
    type Value = Vec<Text>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of documents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Text>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Document(text)) = list.next_element()? {
            if texts.len() + 1 == self.inputs_max {
                self.too_many.set(true);
                return Err(A::Error::custom("too many documents"));
            }
            texts.push(Text::of(self.body, &text));
        }
        Ok(texts)
    }
}

/// A string, or an object with the single field `text`.
struct Document<'a>(Cow<'a, str>);

/// A string; borrowed when it has no escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;

        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with the field `text`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Document<'de>, E> {
                Ok(Document(text.to_owned().into()))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Document<'de>, E> {
                Ok(Document(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<'de>, A::Error> {
                let mut text = None;
                while let Some(JsonText(key)) = map.next_key()? {
                    match &*key {
                        "text" if text.is_none() => text = Some(map.next_value::<JsonText>()?.0),
                        "text" => return Err(A::Error::duplicate_field("text")),
                        other => return Err(A::Error::unknown_field(other, &["text"])),
                    }
                }
                text.map(Document).ok_or_else(|| A::Error::missing_field("text"))
            }
        }
        json.deserialize_any(DocumentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(json: &str) -> Result<Vec<Text>, String> {
        let body = Arc::new(BodyText::from(json.to_string()));
        let raw: &RawValue = serde_json::from_str(&body).unwrap();
        read_documents(&body, raw, 4).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn accepts_strings_and_objects_in_one_list() {
        assert_eq!(documents("[\"a\",{\"text\":\"b\"}]").unwrap(), ["a", "b"].map(Text::from));
    }

    #[test]
    fn rejects_other_documents() {
        let errors = [
            "[1]",
            "[null]",
            "[{}]",
            "[{\"text\":\"a\",\"title\":\"b\"}]",
            "[{\"text\":1}]",
            "\"a\"",
            "{}",
            "[]",
            "[\"\",\"\",\"\",\"\"]",
        ]
        .map(|json| format!("{json}: {}\n", documents(json).unwrap_err()));
        insta::assert_snapshot!(errors.concat(), @r#"
        [1]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: invalid type: integer `1`, expected a string or an object with the field `text` at line 1 column 2", param: Some("documents"), retry_after_s: None }
        [null]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: invalid type: null, expected a string or an object with the field `text` at line 1 column 5", param: Some("documents"), retry_after_s: None }
        [{}]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: missing field `text` at line 1 column 3", param: Some("documents"), retry_after_s: None }
        [{"text":"a","title":"b"}]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: unknown field `title`, expected `text` at line 1 column 20", param: Some("documents"), retry_after_s: None }
        [{"text":1}]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: invalid type: integer `1`, expected a string at line 1 column 10", param: Some("documents"), retry_after_s: None }
        "a": ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: invalid type: string \"a\", expected a list of documents at line 1 column 3", param: Some("documents"), retry_after_s: None }
        {}: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_json", message: "`documents`: invalid type: map, expected a list of documents at line 1 column 0", param: Some("documents"), retry_after_s: None }
        []: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "`documents` is empty", param: Some("documents"), retry_after_s: None }
        ["","","",""]: ApiError { status: 400, kind: "invalid_request_error", code: "invalid_value", message: "query and documents exceed the limit of 4 inputs", param: Some("documents"), retry_after_s: None }
        "#);
    }
}
