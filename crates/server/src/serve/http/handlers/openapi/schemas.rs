//! The bodies of requests and responses as JSON Schema.

use serde_json::{Map, Value, json};

use super::super::super::super::model::Shape;

/// All schemas by name. Without a shape, limits of the models are left out.
pub fn all(models: &[&str], shape: Option<Shape>, inputs_max: usize, token_ids: bool) -> Value {
    let limits = SchemaLimits { shape, inputs_max, token_ids };
    let mut all = Map::new();
    requests(&mut all, models, &limits);
    responses(&mut all);
    Value::Object(all)
}

struct SchemaLimits {
    shape: Option<Shape>,
    inputs_max: usize,
    /// Whether inputs can be token ids.
    token_ids: bool,
}

impl SchemaLimits {
    fn dimensions(&self) -> Value {
        let mut schema = json!({ "type": "integer", "minimum": 1 });
        if let Some(shape) = self.shape {
            schema["maximum"] = shape.dimension.into();
        }
        or_null(schema)
    }

    fn ids(&self) -> Value {
        let mut ids = json!({ "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 1 });
        if let Some(shape) = self.shape {
            ids["maxItems"] = shape.tokens_max.into();
            ids["items"]["maximum"] = (shape.vocabulary - 1).into();
        }
        ids
    }

    fn list(&self, items: Value, others: usize) -> Value {
        json!({ "type": "array", "items": items, "minItems": 1, "maxItems": self.inputs_max - others })
    }
}

fn requests(all: &mut Map<String, Value>, models: &[&str], limits: &SchemaLimits) {
    let model = match models {
        // The name of a single model may be omitted.
        [_] => {
            let names: Vec<Value> = models.iter().map(|name| json!(name)).chain([Value::Null]).collect();
            json!({ "enum": names })
        }
        _ => json!({ "enum": models }),
    };
    let named = |required: &[&str]| {
        let mut required: Vec<Value> = required.iter().map(|field| json!(field)).collect();
        if models.len() > 1 {
            required.push(json!("model"));
        }
        required
    };
    let text = json!({ "type": "string" });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let top_n = or_null(json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }));

    all.insert("ModelName".into(), model);
    let mut inputs = vec![text.clone(), limits.list(text.clone(), 0)];
    let mut description = "A text or texts. Long texts are truncated.";
    let mut examples =
        vec![json!({ "input": "hello world" }), json!({ "input": ["a", "b"], "encoding_format": "base64" })];
    if limits.token_ids {
        all.insert("TokenIds".into(), limits.ids());
        inputs.extend([reference("TokenIds"), limits.list(reference("TokenIds"), 0)]);
        description = "A text, texts, token ids, or lists of token ids. Long texts are truncated; token ids are used unchanged.";
        examples.push(json!({ "input": [[101, 102]] }));
    }
    all.insert("Input".into(), json!({ "description": description, "anyOf": inputs }));
    all.insert(
        "EmbeddingsRequest".into(),
        object(
            &named(&["input"]),
            json!({
                "input": reference("Input"),
                "model": reference("ModelName"),
                "encoding_format": { "enum": ["float", "base64", null], "default": "float" },
                "dimensions": limits.dimensions(),
                "user": { "description": "Accepted and ignored." },
            }),
            examples.into(),
        ),
    );
    let embed = object(
        &named(&["task", "inputs"]),
        json!({
            "task": { "const": "embed" }, "model": reference("ModelName"), "inputs": reference("Input"),
            "dimensions": limits.dimensions(),
        }),
        json!([{ "task": "embed", "inputs": ["hello", "world"] }]),
    );
    // Both sides have the same kind: text with texts, or token ids with token ids.
    let pairs = |one: &str, many: &str, task: &str, more: Value, example: Value| -> Vec<Value> {
        let kind = |one: Value| (one.clone(), json!({ "anyOf": [one, limits.list(one.clone(), 1)] }));
        let mut kinds = vec![kind(text.clone())];
        if limits.token_ids {
            kinds.push(kind(reference("TokenIds")));
        }
        let object_of = |(one_schema, many_schema): (Value, Value)| {
            let mut properties = json!({ "task": { "const": task }, "model": reference("ModelName") });
            properties[one] = one_schema;
            properties[many] = many_schema;
            for (name, schema) in more.as_object().into_iter().flatten() {
                properties[name] = schema.clone();
            }
            object(&named(&["task", one, many]), properties, json!([example]))
        };
        kinds.into_iter().map(object_of).collect()
    };
    let similarity = pairs(
        "source",
        "targets",
        "similarity",
        json!({}),
        json!({ "task": "similarity", "source": "a cat", "targets": ["a dog", "a car"] }),
    );
    let rerank = pairs(
        "query",
        "documents",
        "rerank",
        json!({ "top_n": top_n }),
        json!({ "task": "rerank", "query": "a cat", "documents": ["a dog", "a car"], "top_n": 1 }),
    );
    let tasks: Vec<Value> = [embed].into_iter().chain(similarity).chain(rerank).collect();
    all.insert("InferRequest".into(), json!({ "anyOf": tasks }));
    let document = json!({ "anyOf": [text, object(&["text".into()], json!({ "text": text }), json!([{ "text": "a" }]))] });
    all.insert(
        "RerankRequest".into(),
        object(
            &named(&["query", "documents"]),
            json!({
                "model": reference("ModelName"), "query": text, "documents": limits.list(document, 1), "top_n": top_n,
                "return_documents": { "type": ["boolean", "null"], "default": false },
            }),
            json!([{ "query": "a cat", "documents": ["a dog", { "text": "a car" }], "return_documents": true }]),
        ),
    );
    all.insert(
        "TokenizeRequest".into(),
        object(
            &named(&["inputs"]),
            json!({
                "model": reference("ModelName"), "inputs": { "anyOf": [text, limits.list(text.clone(), 0)] },
                "add_special_tokens": { "type": ["boolean", "null"], "default": true },
            }),
            json!([{ "inputs": "hello world" }, { "inputs": ["a", "b"], "add_special_tokens": false }]),
        ),
    );
}

fn responses(all: &mut Map<String, Value>) {
    let numbers = json!({ "type": "array", "items": { "type": "number" }, "minItems": 1 });
    let index = json!({ "type": "integer", "minimum": 0 });
    let cosine = json!({ "type": "number", "minimum": -1, "maximum": 1 });
    let text = json!({ "type": "string" });
    let usage = closed_object(json!({ "prompt_tokens": index, "total_tokens": index }));
    let list = |items: Value| json!({ "type": "array", "items": items, "minItems": 1 });
    let place = json!({ "type": ["integer", "null"], "minimum": 0 });
    let mut result = closed_object(json!({ "index": index, "relevance_score": cosine }));
    result["properties"]["document"] = closed_object(json!({ "text": text }));
    let infer = |task: &str, field: &str, schema: Value| {
        let mut response = closed_object(json!({ "task": { "const": task }, "model": text, "usage": usage }));
        response["properties"][field] = schema;
        response["required"].as_array_mut().into_iter().for_each(|required| required.push(json!(field)));
        response
    };
    let model = closed_object(json!({
        "id": text, "object": { "const": "model" }, "created": index, "owned_by": text,
    }));
    let embedding = closed_object(json!({
        "object": { "const": "embedding" }, "index": index,
        "embedding": { "anyOf": [numbers, { "type": "string", "contentEncoding": "base64", "minLength": 1 }] },
    }));
    let token = closed_object(json!({
        "id": index, "text": text, "special": { "type": "boolean" }, "start": place, "stop": place,
    }));
    let error = closed_object(json!({
        "message": text,
        "type": { "enum": ["invalid_request_error", "rate_limit_error", "server_error", "timeout_error"] },
        "param": { "type": ["string", "null"] },
        "code": text,
    }));
    let schemas = [
        (
            "EmbeddingsResponse",
            closed_object(
                json!({ "object": { "const": "list" }, "data": list(embedding), "model": text, "usage": usage }),
            ),
        ),
        (
            "InferResponse",
            json!({ "anyOf": [
                infer("embed", "embeddings", list(numbers)),
                infer("similarity", "similarities", list(cosine.clone())),
                infer("rerank", "results", list(closed_object(json!({ "index": index, "score": cosine })))),
            ] }),
        ),
        (
            "RerankResponse",
            closed_object(
                json!({ "object": { "const": "list" }, "model": text, "results": list(result), "usage": usage }),
            ),
        ),
        ("TokenizeResponse", list(json!({ "type": "array", "items": token }))),
        ("Models", closed_object(json!({ "object": { "const": "list" }, "data": list(model.clone()) }))),
        ("Model", model),
        ("Status", closed_object(json!({ "status": { "enum": ["ok", "ready"] } }))),
        ("Error", closed_object(json!({ "error": error }))),
    ];
    all.extend(schemas.map(|(name, schema)| (name.to_owned(), schema)));
}

/// A union of two schemas instead of a list of types: generators then test the limits of the first one.
fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// An object with exactly these fields.
fn closed_object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    let required = json!(required);
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// An object with optional fields.
fn object(required: &[Value], properties: Value, examples: Value) -> Value {
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        "examples": examples,
    })
}
