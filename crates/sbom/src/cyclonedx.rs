//! CycloneDX 1.6 in JSON. The structures have the fields that this project writes, under the names of the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::identity;
use crate::model::{Bill, Part, Patch, Role};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency<'a>>,
    compositions: Vec<Composition<'a>>,
    formulation: Vec<Formula<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: &'a str,
    lifecycles: [Lifecycle; 1],
    tools: Tools<'a>,
    component: Component<'a>,
}

#[derive(Serialize)]
struct Lifecycle {
    phase: &'static str,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Author<'a>; 1],
}

#[derive(Serialize)]
struct Author<'a> {
    r#type: &'static str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    r#type: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<License<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedigree: Option<Pedigree<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property<'a>>,
}

#[derive(Serialize)]
struct Hash<'a> {
    alg: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct License<'a> {
    expression: &'a str,
}

#[derive(Serialize)]
struct Reference<'a> {
    r#type: &'static str,
    url: &'a str,
}

#[derive(Serialize)]
struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Pedigree<'a> {
    ancestors: Vec<Component<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patches: Vec<PatchEntry<'a>>,
    notes: &'a str,
}

#[derive(Serialize)]
struct PatchEntry<'a> {
    r#type: &'static str,
    diff: Diff,
    resolves: [Issue<'a>; 1],
}

#[derive(Serialize)]
struct Diff {
    text: Attachment,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: &'static str,
    encoding: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Issue<'a> {
    r#type: &'static str,
    name: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency<'a> {
    r#ref: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'a str>,
}

#[derive(Serialize)]
struct Composition<'a> {
    aggregate: &'static str,
    assemblies: [&'a str; 1],
}

#[derive(Serialize)]
struct Formula<'a> {
    #[serde(rename = "bom-ref")]
    bom_ref: &'static str,
    components: Vec<Component<'a>>,
    workflows: [Workflow<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Workflow<'a> {
    #[serde(rename = "bom-ref")]
    bom_ref: &'static str,
    uid: &'static str,
    name: &'static str,
    task_types: [&'static str; 2],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepEntry<'a>>,
}

#[derive(Serialize)]
struct StepEntry<'a> {
    name: &'a str,
    description: &'a str,
}

impl Bill {
    /// CycloneDX 1.6 in JSON, with a newline at its end.
    pub fn to_cyclonedx(&self) -> anyhow::Result<String> {
        self.check()?;
        write(self)
    }
}

fn write(bill: &Bill) -> anyhow::Result<String> {
    let linked = bill.parts_of(&[Role::Linked, Role::Untraced]);
    let made_by = bill.parts_of(&[Role::BuildDependency, Role::Tool]);
    let mut product = component(&bill.product);
    product.components = bill
        .files
        .iter()
        .map(|file| Component {
            hashes: vec![Hash { alg: "SHA-256", content: &file.checksums.sha256 }],
            description: Some(&file.description),
            ..bare("file", format!("file:{}", file.name), &file.name)
        })
        .collect();
    product.components.sort_by(|a, b| a.bom_ref.cmp(&b.bom_ref));
    let mut document = Document {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: &bill.created,
            lifecycles: [Lifecycle { phase: "build" }],
            tools: Tools {
                components: [Author {
                    r#type: "application",
                    name: &bill.author,
                    version: &bill.author_version,
                }],
            },
            component: product,
        },
        components: linked.iter().map(|part| component(part)).collect(),
        dependencies: [&bill.product].into_iter().chain(linked).map(dependency).collect(),
        compositions: vec![Composition {
            aggregate: if bill.is_complete { "complete" } else { "incomplete" },
            assemblies: [&bill.product.id],
        }],
        formulation: vec![Formula {
            bom_ref: "formula",
            components: made_by.into_iter().map(component).collect(),
            workflows: [Workflow {
                bom_ref: "workflow",
                uid: "build",
                name: "build",
                task_types: ["build", "test"],
                steps: bill
                    .steps
                    .iter()
                    .map(|step| StepEntry { name: &step.name, description: &step.description })
                    .collect(),
            }],
        }],
    };
    let unnamed = serde_json::to_vec(&document)?;
    document.serial_number = Some(format!("urn:uuid:{}", identity::uuid(&unnamed)));
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn bare<'a>(kind: &'static str, bom_ref: String, name: &'a str) -> Component<'a> {
    Component {
        r#type: kind,
        bom_ref,
        name,
        version: None,
        description: None,
        hashes: Vec::new(),
        licenses: Vec::new(),
        purl: None,
        pedigree: None,
        external_references: Vec::new(),
        components: Vec::new(),
        properties: Vec::new(),
    }
}

fn component(part: &Part) -> Component<'_> {
    let kind = match part.role {
        Role::Product | Role::Tool => "application",
        Role::Linked | Role::Untraced | Role::BuildDependency => "library",
    };
    let references = [("website", &part.homepage), ("distribution", &part.source_url)];
    let mut properties: Vec<Property<'_>> =
        part.properties.iter().map(|(name, value)| Property { name, value }).collect();
    properties.sort_by_key(|property| (property.name, property.value));
    Component {
        version: Some(&part.version),
        description: part.description.as_deref(),
        hashes: part.sha256.iter().map(|sha256| Hash { alg: "SHA-256", content: sha256 }).collect(),
        licenses: part.licence.iter().map(|expression| License { expression }).collect(),
        purl: part.purl.as_deref(),
        pedigree: pedigree(part),
        external_references: references
            .into_iter()
            .filter_map(|(kind, url)| Some(Reference { r#type: kind, url: url.as_deref()? }))
            .collect(),
        properties,
        ..bare(kind, part.id.clone(), &part.name)
    }
}

fn pedigree(part: &Part) -> Option<Pedigree<'_>> {
    let pedigree = part.pedigree.as_ref()?;
    let ancestor = Component {
        version: Some(&part.version),
        hashes: pedigree.sha256.iter().map(|sha256| Hash { alg: "SHA-256", content: sha256 }).collect(),
        licenses: part.licence.iter().map(|expression| License { expression }).collect(),
        purl: Some(&pedigree.purl),
        ..bare("library", format!("{}:upstream", part.id), &part.name)
    };
    Some(Pedigree {
        ancestors: vec![ancestor],
        patches: pedigree.patches.iter().map(patch).collect(),
        notes: &pedigree.origin,
    })
}

/// The format has no field for the digest of a diff: the whole text is in the document, byte for byte.
fn patch(patch: &Patch) -> PatchEntry<'_> {
    let is_address = patch.upstream.starts_with("https://") && !patch.upstream.contains(char::is_whitespace);
    PatchEntry {
        r#type: "unofficial",
        diff: Diff {
            text: Attachment {
                content_type: "text/x-diff",
                encoding: "base64",
                content: STANDARD.encode(&patch.text),
            },
        },
        resolves: [Issue {
            r#type: "defect",
            name: &patch.name,
            description: &patch.reason,
            references: if is_address { vec![&patch.upstream] } else { Vec::new() },
        }],
    }
}

fn dependency(part: &Part) -> Dependency<'_> {
    let mut depends_on: Vec<&str> = part.depends_on.iter().map(String::as_str).collect();
    depends_on.sort_unstable();
    depends_on.dedup();
    Dependency { r#ref: &part.id, depends_on }
}
