//! The bodies of requests and answers, as JSON Schema.

use serde_json::{Map, Value, json};

use super::super::super::model::Shape;

pub fn all(models: &[&str], shape: Option<Shape>, inputs_max: usize) -> Value {
    let limits = Limits { shape, inputs_max };
    let mut all = Map::new();
    requests(&mut all, models, &limits);
    answers(&mut all);
    Value::Object(all)
}

struct Limits {
    shape: Option<Shape>,
    inputs_max: usize,
}

impl Limits {
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

fn requests(all: &mut Map<String, Value>, models: &[&str], limits: &Limits) {
    let model = match models {
        // The only one may be left out.
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
    all.insert("TokenIds".into(), limits.ids());
    all.insert(
        "Input".into(),
        json!({
            "description": "A text, texts, token ids, or lists of token ids. Longer texts are cut; token ids are used as they are.",
            "anyOf": [text, limits.list(text.clone(), 0), reference("TokenIds"), limits.list(reference("TokenIds"), 0)],
        }),
    );
    all.insert(
        "EmbeddingsRequest".into(),
        object(
            &named(&["input"]),
            json!({
                "input": reference("Input"),
                "model": reference("ModelName"),
                "encoding_format": { "enum": ["float", "base64"], "default": "float" },
                "dimensions": limits.dimensions(),
                "user": { "description": "Taken and not used." },
            }),
            json!([{ "input": "hello world" }, { "input": ["a", "b"], "encoding_format": "base64" }, { "input": [[101, 102]] }]),
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
    // One kind on both sides: text with texts, token ids with token ids.
    let pairs = |one: &str, many: &str, task: &str, more: Value, example: Value| -> Vec<Value> {
        let kinds = [
            (text.clone(), json!({ "anyOf": [text, limits.list(text.clone(), 1)] })),
            (
                reference("TokenIds"),
                json!({ "anyOf": [reference("TokenIds"), limits.list(reference("TokenIds"), 1)] }),
            ),
        ];
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
                "return_documents": { "type": "boolean", "default": false },
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
                "add_special_tokens": { "type": "boolean", "default": true },
            }),
            json!([{ "inputs": "hello world" }, { "inputs": ["a", "b"], "add_special_tokens": false }]),
        ),
    );
}

fn answers(all: &mut Map<String, Value>) {
    let numbers = json!({ "type": "array", "items": { "type": "number" }, "minItems": 1 });
    let index = json!({ "type": "integer", "minimum": 0 });
    let cosine = json!({ "type": "number", "minimum": -1, "maximum": 1 });
    let text = json!({ "type": "string" });
    let usage = whole(json!({ "prompt_tokens": index, "total_tokens": index }));
    let list = |items: Value| json!({ "type": "array", "items": items, "minItems": 1 });
    let place = json!({ "type": ["integer", "null"], "minimum": 0 });
    let mut result = whole(json!({ "index": index, "relevance_score": cosine }));
    result["properties"]["document"] = whole(json!({ "text": text }));
    let infer = |task: &str, field: &str, schema: Value| {
        let mut answer = whole(json!({ "task": { "const": task }, "model": text, "usage": usage }));
        answer["properties"][field] = schema;
        answer["required"].as_array_mut().into_iter().for_each(|required| required.push(json!(field)));
        answer
    };
    let model = whole(json!({
        "id": text, "object": { "const": "model" }, "created": index, "owned_by": text,
    }));
    let embedding = whole(json!({
        "object": { "const": "embedding" }, "index": index,
        "embedding": { "anyOf": [numbers, { "type": "string", "contentEncoding": "base64", "minLength": 1 }] },
    }));
    let token = whole(json!({
        "id": index, "text": text, "special": { "type": "boolean" }, "start": place, "stop": place,
    }));
    let error = whole(json!({
        "message": text,
        "type": { "enum": ["invalid_request_error", "rate_limit_error", "server_error"] },
        "param": { "type": ["string", "null"] },
        "code": text,
    }));
    let schemas = [
        (
            "EmbeddingsAnswer",
            whole(
                json!({ "object": { "const": "list" }, "data": list(embedding), "model": text, "usage": usage }),
            ),
        ),
        (
            "InferAnswer",
            json!({ "anyOf": [
                infer("embed", "embeddings", list(numbers)),
                infer("similarity", "similarities", list(cosine.clone())),
                infer("rerank", "results", list(whole(json!({ "index": index, "score": cosine })))),
            ] }),
        ),
        (
            "RerankAnswer",
            whole(
                json!({ "object": { "const": "list" }, "model": text, "results": list(result), "usage": usage }),
            ),
        ),
        ("TokenizeAnswer", list(json!({ "type": "array", "items": token }))),
        ("Models", whole(json!({ "object": { "const": "list" }, "data": list(model.clone()) }))),
        ("Model", model),
        ("Status", whole(json!({ "status": { "enum": ["ok", "ready"] } }))),
        ("Error", whole(json!({ "error": error }))),
    ];
    all.extend(schemas.map(|(name, schema)| (name.to_owned(), schema)));
}

/// Two schemas, not two types in one: tools then try the limits of the first.
fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// Has these fields, all of them, and no others.
fn whole(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    let required = json!(required);
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn object(required: &[Value], properties: Value, examples: Value) -> Value {
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        "examples": examples,
    })
}
