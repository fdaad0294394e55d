//! Independent validators of bills of materials: CycloneDX's own library with the published schema, and spdx-tools, the
//! reference of SPDX 2. Each run also validates damaged copies, which must be rejected.

use anyhow::Context;
use process::Task;
use release::context::BuildContext;
use release::fetch::pip;
use serde_json::Value;

const REQUIREMENTS: &str = include_str!("requirements.txt");
const SCRIPT: &str = include_str!("validate.py");
/// What the script prints for a valid document.
const VALID: &str = "valid";

/// A document and its name in messages.
pub struct Document {
    pub name: String,
    pub content: Value,
}

/// The problems of the documents, and of the validators: a damaged copy that they accept is one too. Empty when all is well.
pub fn problems(context: &BuildContext, documents: &[Document]) -> anyhow::Result<Vec<String>> {
    validate(context, documents, &documents.iter().flat_map(damaged).collect::<Vec<_>>())
}

/// The problems of the documents alone; `cargo xtask lint` tests the validators.
pub fn invalid(context: &BuildContext, documents: &[Document]) -> anyhow::Result<Vec<String>> {
    validate(context, documents, &[])
}

fn validate(
    context: &BuildContext,
    documents: &[Document],
    damaged: &[Document],
) -> anyhow::Result<Vec<String>> {
    let python = pip::environment(context, "sbom", REQUIREMENTS, "no other program validates the documents")?;
    let mut script = context.command(&python);
    // Python writes no cache into the checkout.
    script.args(["-c", SCRIPT]).env("PYTHONDONTWRITEBYTECODE", "1");
    let all = || documents.iter().chain(damaged);
    let lines: String = all().map(|document| format!("{}\n", document.content)).collect();
    let output = context.runner.run(Task::new("validate bills of materials", script).stdin(lines))?;
    judge(documents, damaged, &output.stdout_text())
}

/// One line of `results` for each document, the damaged ones last.
fn judge(documents: &[Document], damaged: &[Document], results: &str) -> anyhow::Result<Vec<String>> {
    let results: Vec<&str> = results.lines().collect();
    let (of_documents, of_damaged) = results
        .split_at_checked(documents.len())
        .filter(|(_, rest)| rest.len() == damaged.len())
        .with_context(|| {
            let expected = documents.len() + damaged.len();
            format!("the validators returned {} results for {expected} documents", results.len())
        })?;
    let invalid = documents.iter().zip(of_documents).filter(|(_, result)| **result != VALID);
    let accepted = damaged.iter().zip(of_damaged).filter(|(_, result)| **result == VALID);
    let invalid = invalid.map(|(document, result)| format!("{} is not valid: {result}", document.name));
    let accepted = accepted.map(|(document, _)| format!("the validators accept {}", document.name));
    Ok(invalid.chain(accepted).collect())
}

/// One defect and how to make it.
type Defect = (&'static str, fn(&mut Value));

/// Copies with one defect each that the formats forbid.
fn damaged(document: &Document) -> Vec<Document> {
    let edits: [Defect; 5] = if document.content["bomFormat"].is_string() {
        [
            ("another version", |value| value["specVersion"] = "1.5".into()),
            ("no name of the product", |value| remove(&mut value["metadata"]["component"], "name")),
            ("an unknown key", |value| value["metadata"]["component"]["extra"] = 1.into()),
            ("an unknown type", |value| value["metadata"]["component"]["type"] = "crate".into()),
            ("a serial number that is none", |value| value["serialNumber"] = "1".into()),
        ]
    } else {
        [
            ("another version", |value| value["spdxVersion"] = "SPDX-9".into()),
            ("no location of a package", |value| remove(&mut value["packages"][0], "downloadLocation")),
            ("an unknown key", |value| value["packages"][0]["extra"] = 1.into()),
            ("a licence that is no expression", |value| {
                value["packages"][0]["licenseDeclared"] = "MIT/X".into();
            }),
            ("a relationship to nothing", |value| {
                value["relationships"][0]["relatedSpdxElement"] = "SPDXRef-none".into();
            }),
        ]
    };
    edits
        .into_iter()
        .map(|(defect, edit)| {
            let mut content = document.content.clone();
            edit(&mut content);
            Document { name: format!("{} with {defect}", document.name), content }
        })
        .collect()
}

fn remove(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str) -> Document {
        Document { name: name.into(), content: serde_json::json!({ "bomFormat": "CycloneDX" }) }
    }

    #[test]
    fn an_invalid_document_and_an_accepted_defect_are_problems() {
        let (documents, damaged) = ([document("a"), document("b")], [document("a with a defect")]);
        let judged = |results: &str| judge(&documents, &damaged, results).unwrap();
        assert_eq!(judged("valid\nvalid\nno name"), Vec::<String>::new());
        assert_eq!(judged("valid\nno name\nno name"), ["b is not valid: no name"]);
        assert_eq!(judged("valid\nvalid\nvalid"), ["the validators accept a with a defect"]);
        assert!(judge(&documents, &damaged, "valid\nvalid").is_err(), "a missing result is no pass");
    }

    #[test]
    fn each_damaged_copy_differs_from_its_document() {
        for text in [
            include_str!("../../../schemas/examples/small.cdx.json"),
            include_str!("../../../schemas/examples/small.spdx.json"),
        ] {
            let original = Document { name: "a".into(), content: serde_json::from_str(text).unwrap() };
            for copy in damaged(&original) {
                assert!(copy.content != original.content, "{}", copy.name);
            }
        }
    }
}
