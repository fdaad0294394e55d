//! The subset of JSON Schema that the server's OpenAPI document uses: whether a value is valid, and a valid value.
//!
//! Own code, because a validator as a dependency would be the largest one of the crate, and because an unknown keyword has to be
//! an error here: a keyword that is ignored makes an invalid value pass for a valid one.

use diag::Diagnostic;
use serde_json::{Map, Value, json};

use crate::NOT_MEASURED;

/// The schemas of a document.
#[derive(Debug)]
pub struct Schemas {
    document: Value,
}

/// Keywords that restrict nothing.
const ANNOTATIONS: [&str; 7] =
    ["description", "default", "examples", "contentEncoding", "title", "deprecated", "format"];
const KEYWORDS: [&str; 14] = [
    "$ref",
    "type",
    "enum",
    "const",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "minLength",
];

impl Schemas {
    /// Fails when a schema has a keyword that [`Self::is_valid`] does not support.
    pub fn new(document: Value) -> Result<Self, Diagnostic> {
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            check_keywords(name, schema)?;
        }
        Ok(Self { document })
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The schema behind `$ref`.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap_or(&Value::Null),
            None => schema,
        }
    }

    /// Every alternative of a schema.
    pub fn alternatives<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema["anyOf"].as_array() {
            Some(any) => any.iter().flat_map(|schema| self.alternatives(schema)).collect(),
            None => vec![schema],
        }
    }

    /// Whether the value satisfies the schema.
    pub fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let schema = self.resolve(schema);
        let Some(keywords) = schema.as_object() else { return schema != &Value::Bool(false) };
        keywords.iter().all(|(keyword, limit)| self.holds(keyword, limit, keywords, value))
    }

    fn holds(&self, keyword: &str, limit: &Value, keywords: &Map<String, Value>, value: &Value) -> bool {
        let list = value.as_array();
        let object = value.as_object();
        let number = |limit: &Value| limit.as_f64().unwrap_or(f64::NAN);
        match keyword {
            "type" => match limit {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            "enum" => limit.as_array().is_some_and(|values| values.contains(value)),
            "const" => limit == value,
            "anyOf" => {
                limit.as_array().is_some_and(|any| any.iter().any(|schema| self.is_valid(schema, value)))
            }
            "properties" => object.is_none_or(|object| {
                object
                    .iter()
                    .all(|(name, value)| limit.get(name).is_none_or(|schema| self.is_valid(schema, value)))
            }),
            "required" => object.is_none_or(|object| {
                limit
                    .as_array()
                    .into_iter()
                    .flatten()
                    .all(|name| name.as_str().is_some_and(|name| object.contains_key(name)))
            }),
            "additionalProperties" => {
                limit != &Value::Bool(false)
                    || object.is_none_or(|object| {
                        object
                            .keys()
                            .all(|name| keywords.get("properties").is_some_and(|all| all.get(name).is_some()))
                    })
            }
            "items" => list.is_none_or(|list| list.iter().all(|value| self.is_valid(limit, value))),
            "minItems" => list.is_none_or(|list| list.len() as f64 >= number(limit)),
            "maxItems" => list.is_none_or(|list| list.len() as f64 <= number(limit)),
            "minimum" => value.as_f64().is_none_or(|value| value >= number(limit)),
            "maximum" => value.as_f64().is_none_or(|value| value <= number(limit)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 >= number(limit)),
            _ => true,
        }
    }

    /// A small value that satisfies the schema.
    pub fn sample(&self, schema: &Value) -> Value {
        let schema = self.alternatives(schema).first().copied().unwrap_or(&Value::Null);
        if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            return value.clone();
        }
        match schema["type"].as_str() {
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
            Some("boolean") => true.into(),
            Some("null") => Value::Null,
            Some("array") => json!([self.sample(&schema["items"])]),
            Some("object") => {
                let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                required
                    .map(|name| (name.to_string(), self.sample(&schema["properties"][name])))
                    .collect::<Map<_, _>>()
                    .into()
            }
            _ => "a cat".into(),
        }
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

fn check_keywords(place: &str, schema: &Value) -> Result<(), Diagnostic> {
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        match keyword.as_str() {
            "properties" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    check_keywords(&format!("{place}/{name}"), schema)?;
                }
            }
            "anyOf" => {
                for schema in value.as_array().into_iter().flatten() {
                    check_keywords(place, schema)?;
                }
            }
            "items" => check_keywords(place, value)?,
            known if KEYWORDS.contains(&known) || ANNOTATIONS.contains(&known) => {}
            unknown => {
                return Err(Diagnostic::new(
                    &NOT_MEASURED,
                    "the OpenAPI document has a keyword that the generator of malformed requests does not support",
                )
                .found(format!("`{unknown}` in {place}"))
                .hint("add it to crates/loadtest/src/malformed/schema.rs"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> Schemas {
        let object = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": { "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "array", "items": { "$ref": "#/components/schemas/N" }, "minItems": 1, "maxItems": 2 }] },
                "b": { "enum": ["x", null] }, "c": { "const": 1 }, "d": {},
            },
        });
        let number = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
        Schemas::new(json!({ "components": { "schemas": { "O": object, "N": number } } })).unwrap()
    }

    fn is_valid(value: &Value) -> bool {
        schemas().is_valid(&json!({ "$ref": "#/components/schemas/O" }), value)
    }

    #[test]
    fn accepts_what_the_schema_allows_and_nothing_else() {
        for valid in [json!({ "a": "t" }), json!({ "a": [0, 9.0], "b": null, "c": 1, "d": [[]] })] {
            assert!(is_valid(&valid), "{valid}");
        }
        for invalid in [
            json!([]),
            json!({}),
            json!({ "a": "" }),
            json!({ "a": [] }),
            json!({ "a": [1, 2, 3] }),
            json!({ "a": [10] }),
            json!({ "a": [-1] }),
            json!({ "a": [0.5] }),
            json!({ "a": "t", "b": "y" }),
            json!({ "a": "t", "c": 2 }),
            json!({ "a": "t", "e": 1 }),
        ] {
            assert!(!is_valid(&invalid), "{invalid}");
        }
    }

    #[test]
    fn a_sample_is_valid() {
        assert!(is_valid(&schemas().sample(&json!({ "$ref": "#/components/schemas/O" }))));
    }

    #[test]
    fn an_unknown_keyword_is_an_error() {
        let document = json!({ "components": { "schemas": { "X": { "items": { "uniqueItems": true } } } } });
        assert_eq!(Schemas::new(document).unwrap_err().code(), &NOT_MEASURED);
    }
}
