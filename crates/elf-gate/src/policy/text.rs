//! Policies as the text of their files.

use serde::Serialize;
use toml::{Table, Value};

use crate::image::ImagePolicy;
use crate::policy::document::PolicyDocument;
use crate::policy::schema::PolicyTable;

/// The name under which a policy lies beside the files that it is for.
pub const POLICY_FILE_NAME: &str = "gate-policy.toml";

impl PolicyDocument {
    /// The text of a file with this policy: `PolicyDocument::parse` of it is equal to the policy. `comment` is written before it.
    pub fn to_text(&self, comment: &str) -> Result<String, toml::ser::Error> {
        let mut out: String =
            comment.lines().map(|line| format!("# {line}").trim_end().to_string() + "\n").collect();
        for (key, value) in [("gate_version", &self.gate_version), ("extends", &self.extends)] {
            if let Some(value) = value {
                out += &key_and_value(key, &Value::from(value.as_str()));
            }
        }
        let Self { gate_version: _, extends: _, every, object, linked, stripped, debug, packed, image } =
            self;
        let tables = [
            ("every", every),
            ("object", object),
            ("linked", linked),
            ("stripped", stripped),
            ("debug", debug),
            ("packed", packed),
        ];
        let mut keys = Vec::new();
        for (name, table) in tables.into_iter().filter(|(_, table)| **table != PolicyTable::default()) {
            keys.push((name, values(table)?));
        }
        if *image != ImagePolicy::default() {
            keys.push(("image", values(image)?));
        }
        for (name, keys) in keys {
            out += &format!("\n[{name}]\n");
            for (key, value) in keys {
                out += &key_and_value(&key, &value);
            }
        }
        Ok(out)
    }
}

/// One line, with nested tables inline. Written by hand because `toml` writes them as tables with headers of their own, after
/// which no key of the outer table can follow.
pub(super) fn key_and_value(key: &str, value: &Value) -> String {
    format!("{key} = {value}\n")
}

/// The keys of a table.
pub(super) fn values(table: &impl Serialize) -> Result<Table, toml::ser::Error> {
    Table::try_from(table)
}
