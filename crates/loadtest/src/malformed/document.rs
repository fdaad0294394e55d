//! The operations of the server, from its OpenAPI document.

use diag::Diagnostic;
use serde_json::Value;

use crate::NOT_MEASURED;
use crate::malformed::schema::Schemas;

/// The interface of the server under test.
#[derive(Debug)]
pub struct Document {
    pub schemas: Schemas,
    pub operations: Vec<Operation>,
}

/// One method of one path.
#[derive(Debug)]
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// With values for its parameters.
    pub path: String,
    /// Alternatives for the body; empty when the operation has none.
    pub bodies: Vec<Value>,
    /// Headers that are parameters, with their schemas.
    pub headers: Vec<(String, Value)>,
    /// By status.
    pub responses: Value,
    /// Methods of the same path.
    pub methods: Vec<String>,
}

impl Document {
    /// Reads the document; without an operation it is an error.
    pub fn new(bytes: &[u8]) -> Result<Self, Diagnostic> {
        let unusable = |found: String| {
            Diagnostic::new(&NOT_MEASURED, "the server's OpenAPI document cannot be used")
                .file("/openapi.json")
                .found(found)
        };
        let root: Value = serde_json::from_slice(bytes).map_err(|error| unusable(error.to_string()))?;
        let schemas = Schemas::new(root)?;
        let mut operations = Vec::new();
        for (path, item) in schemas.document()["paths"].as_object().into_iter().flatten() {
            let path = filled(path, &item["parameters"]);
            let methods: Vec<String> = item
                .as_object()
                .into_iter()
                .flat_map(|item| item.keys())
                .map(|key| key.to_uppercase())
                .collect();
            for (method, operation) in item.as_object().into_iter().flatten() {
                if !operation["responses"].is_object() {
                    continue;
                }
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                let bodies = if body.is_null() { Vec::new() } else { schemas.alternatives(body) };
                let headers = operation["parameters"].as_array().into_iter().flatten();
                let headers =
                    headers.filter(|parameter| parameter["in"] == "header").filter_map(|parameter| {
                        Some((parameter["name"].as_str()?.to_string(), parameter["schema"].clone()))
                    });
                operations.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    bodies: bodies.into_iter().cloned().collect(),
                    headers: headers.collect(),
                    responses: operation["responses"].clone(),
                    methods: methods.clone(),
                });
            }
        }
        if operations.iter().all(|operation| operation.bodies.is_empty()) {
            return Err(unusable("no operation with a body".into()));
        }
        Ok(Self { schemas, operations })
    }

    /// Whether the body of a response has the schema of its status.
    pub fn is_documented(&self, operation: &Operation, status: u16, body: &[u8]) -> bool {
        let content = &operation.responses[status.to_string().as_str()]["content"];
        match content.get("application/json") {
            Some(json) => {
                serde_json::from_slice(body).is_ok_and(|body| self.schemas.is_valid(&json["schema"], &body))
            }
            None => content.is_object(),
        }
    }

    /// Whether a body is the envelope of errors.
    pub fn is_error(&self, body: &[u8]) -> bool {
        let schema = &self.schemas.document()["components"]["schemas"]["Error"];
        schema.is_object()
            && serde_json::from_slice(body).is_ok_and(|body| self.schemas.is_valid(schema, &body))
    }

    /// Every status that some operation may answer.
    pub fn statuses(&self) -> Vec<u16> {
        let statuses = self.operations.iter().filter_map(|operation| operation.responses.as_object());
        statuses.flat_map(|statuses| statuses.keys()).filter_map(|status| status.parse().ok()).collect()
    }
}

/// The path with the first allowed value for each parameter.
fn filled(path: &str, parameters: &Value) -> String {
    parameters.as_array().into_iter().flatten().fold(path.to_string(), |path, parameter| {
        let name = format!("{{{}}}", parameter["name"].as_str().unwrap_or_default());
        path.replace(&name, parameter["schema"]["enum"][0].as_str().unwrap_or("x"))
    })
}
