//! `POST /v1/rerank`, as Cohere and Jina have it: documents in the order of their likeness to a query. The score is the
//! cosine of two embeddings; a cross-encoder, which reads both texts together, is another kind of model.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::super::app::App;
use super::super::scheduler;
use super::error::ApiError;
use super::request_log::RequestContext;
use super::vectors::{rank, similarities};
use super::whole::Whole;
use super::work::{Usage, Work, answer, parse};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RerankRequest<'a> {
    model: Option<String>,
    query: String,
    #[serde(borrow)]
    documents: &'a RawValue,
    top_n: Option<Whole<u32>>,
    #[serde(default)]
    return_documents: bool,
}

/// A text, or an object with the only field `text`.
struct Document(String);

#[derive(Serialize)]
struct RerankAnswer<'a> {
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

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (mut work, body) = Work::begin(app, context, request).await?;
    let RerankRequest { model, query, documents, top_n, return_documents } = parse(&body)?;
    let top_n = top_n.map(|whole| whole.0 as usize);
    rank(&[], top_n)?;
    let mut texts = documents_of(documents, work.limits().inputs_max)?;
    drop(body);
    let kept = if return_documents {
        work.charge(texts.iter().map(String::len).sum())?;
        texts.clone()
    } else {
        Vec::new()
    };
    texts.insert(0, query);
    let loaded = work.model(model.as_deref()).await?;
    let done = work.run(&loaded, scheduler::Input::Texts(texts), "documents").await?;

    let ranked = rank(&similarities(&done.vectors), top_n)?;
    let result = |(index, relevance_score): (usize, f32)| {
        let document = kept.get(index).map(|text| Returned { text });
        Ranked { index, relevance_score, document }
    };
    let results = ranked.into_iter().map(result).collect();
    let (model, usage) = (loaded.entry.name.as_str(), Usage::of(done.tokens));
    answer(&RerankAnswer { object: "list", model, results, usage }, done.permit)
}

/// At least one; reading ends at the one that is too many, counted with the query.
fn documents_of(raw: &RawValue, inputs_max: usize) -> Result<Vec<String>, ApiError> {
    let too_many = Cell::new(false);
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let documents = json.deserialize_seq(Documents { inputs_max, too_many: &too_many });
    let documents = documents.map_err(|error| {
        if too_many.get() {
            let message = format!("query and documents are more than the {inputs_max} inputs of one request");
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
        documents_of(raw, 4).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn strings_and_objects_may_be_mixed() {
        assert_eq!(documents("[\"a\",{\"text\":\"b\"}]").unwrap(), ["a", "b"]);
    }

    #[test]
    fn other_documents_are_refused() {
        for json in
            ["[1]", "[null]", "[{}]", "[{\"text\":\"a\",\"title\":\"b\"}]", "[{\"text\":1}]", "\"a\"", "{}"]
        {
            assert!(documents(json).unwrap_err().contains("invalid_json"), "{json}");
        }
        assert!(documents("[]").unwrap_err().contains("is empty"));
        assert!(documents("[\"\",\"\",\"\",\"\"]").unwrap_err().contains("more than the 4 inputs"));
    }
}
