//! `POST /v1/rerank`, compatible with Cohere and Jina: documents in descending order of similarity to a query. The
//! score is the cosine of two embeddings; a cross-encoder, which reads both texts together, is another kind of model.

use std::cell::Cell;
use std::fmt;

use axum::body::Body;
use axum::http::Response;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::super::super::scheduler;
use super::super::admitted::{Admitted, Usage};
use super::super::error::ApiError;
use super::super::json::{counted, parse};
use super::super::lenient_int::LenientInt;
use super::super::vectors::{rank, similarities};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RerankRequest<'a> {
    model: Option<String>,
    query: String,
    #[serde(borrow)]
    documents: &'a RawValue,
    top_n: Option<LenientInt<u32>>,
    return_documents: Option<bool>,
}

/// A string, or an object with the single field `text`.
struct Document(String);

#[derive(Serialize)]
struct RerankResponse<'a> {
    object: &'static str,
    model: &'a str,
    results: Vec<Ranked<'a>>,
    usage: Usage,
}

#[derive(Serialize)]
struct Ranked<'a> {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Returned<'a>>,
}

#[derive(Serialize)]
struct Returned<'a> {
    text: &'a str,
}

/// The handler.
pub async fn rerank(Admitted { mut request, body }: Admitted) -> Result<Response<Body>, ApiError> {
    let RerankRequest { model, query, documents, top_n, return_documents } = parse(&body)?;
    let top_n = top_n.map(|number| number.0 as usize);
    // Rejects an invalid `top_n` before the computation.
    rank(&[], top_n)?;
    let mut texts = read_documents(documents, request.input_limits().inputs_max)?;
    drop(body);
    let kept = if return_documents.unwrap_or(false) {
        request.charge(texts.iter().map(String::len).sum())?;
        texts.clone()
    } else {
        Vec::new()
    };
    texts.insert(0, query);
    let loaded = request.model(model.as_deref()).await?;
    let output = request.compute(&loaded, scheduler::Input::Texts(texts), "documents").await?;

    let ranked = rank(&similarities(&output.vectors), top_n)?;
    let result = |(index, relevance_score): (usize, f32)| {
        let document = kept.get(index).map(|text| Returned { text });
        Ranked { index, relevance_score, document }
    };
    let results = ranked.into_iter().map(result).collect();
    let (model, usage) = (loaded.entry.name(), Usage::of(output.token_count));
    counted(&RerankResponse { object: "list", model, results, usage }, output.permit)
}

/// Parses at least one document. Stops at the first one above the limit; the query counts as an input.
fn read_documents(raw: &RawValue, inputs_max: usize) -> Result<Vec<String>, ApiError> {
    let too_many = Cell::new(false);
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let documents = json.deserialize_seq(Documents { inputs_max, too_many: &too_many });
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
    inputs_max: usize,
    too_many: &'a Cell<bool>,
}

impl<'de> Visitor<'de> for Documents<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of documents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Document(text)) = list.next_element()? {
            if texts.len() + 1 == self.inputs_max {
                self.too_many.set(true);
                return Err(A::Error::custom("too many documents"));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;
        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with the field `text`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Document, E> {
                Ok(Document(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut text = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "text" if text.is_none() => text = Some(map.next_value()?),
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

    fn documents(json: &str) -> Result<Vec<String>, String> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        read_documents(raw, 4).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn accepts_strings_and_objects_in_one_list() {
        assert_eq!(documents("[\"a\",{\"text\":\"b\"}]").unwrap(), ["a", "b"]);
    }

    #[test]
    fn rejects_other_documents() {
        for json in
            ["[1]", "[null]", "[{}]", "[{\"text\":\"a\",\"title\":\"b\"}]", "[{\"text\":1}]", "\"a\"", "{}"]
        {
            assert!(documents(json).unwrap_err().contains("invalid_json"), "{json}");
        }
        assert!(documents("[]").unwrap_err().contains("is empty"));
        assert!(documents("[\"\",\"\",\"\",\"\"]").unwrap_err().contains("exceed the limit of 4 inputs"));
    }
}
