//! SPDX 2.3 in JSON. The structures have the fields that this project writes, under the names of the schema.

use serde::Serialize;

use crate::identity::{self, spdx_id};
use crate::model::{Bill, Checksums, Part, Patch, Role};

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_namespace: Option<String>,
    creation_info: CreationInfo<'a>,
    packages: Vec<Package<'a>>,
    files: Vec<File<'a>>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo<'a> {
    created: &'a str,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    name: &'a str,
    version_info: &'a str,
    download_location: &'a str,
    files_analyzed: bool,
    license_concluded: &'static str,
    license_declared: &'a str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalReference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum<'a> {
    algorithm: &'static str,
    checksum_value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalReference<'a> {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    file_types: [&'static str; 1],
    checksums: Vec<Checksum<'a>>,
    license_concluded: &'static str,
    copyright_text: &'static str,
    comment: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

impl Bill {
    /// SPDX 2.3 in JSON, with a newline at its end.
    pub fn to_spdx(&self) -> anyhow::Result<String> {
        self.check()?;
        write(self)
    }
}

fn write(bill: &Bill) -> anyhow::Result<String> {
    let product = &bill.product;
    let roles = [Role::Linked, Role::Untraced, Role::BuildDependency, Role::Tool];
    let parts = bill.parts_of(&roles);
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: format!("{}-{}", product.name, product.version),
        document_namespace: None,
        creation_info: CreationInfo {
            created: &bill.created,
            creators: [format!("Tool: {}-{}", bill.author, bill.author_version)],
        },
        packages: [product].into_iter().chain(parts.iter().copied()).map(package).collect(),
        files: Vec::new(),
        relationships: vec![relationship(DOCUMENT.into(), "DESCRIBES", spdx_id(&product.id))],
    };
    for file in &bill.files {
        let id = spdx_id(&format!("file-{}", file.name));
        document.relationships.push(relationship(id.clone(), "GENERATED_FROM", spdx_id(&product.id)));
        document.files.push(File {
            id,
            file_name: format!("./{}", file.name),
            file_types: ["BINARY"],
            checksums: checksums(&file.checksums),
            license_concluded: UNKNOWN,
            copyright_text: UNKNOWN,
            comment: file.description.clone(),
        });
    }
    for part in &parts {
        document.relationships.push(to_product(part, product));
        document.add_pedigree(part);
    }
    // What the product uses directly is among the parts that it links; the tree of the others is in DEPENDS_ON.
    for part in parts {
        for used in &part.depends_on {
            document.relationships.push(relationship(spdx_id(&part.id), "DEPENDS_ON", spdx_id(used)));
        }
    }
    document.packages[1..].sort_by(|a, b| a.id.cmp(&b.id));
    document.files.sort_by(|a, b| a.id.cmp(&b.id));
    document.relationships.sort();
    document.relationships.dedup();
    let unnamed = serde_json::to_vec(&document)?;
    // The form that the specification proposes for a creator without an address of its own.
    let address = format!("https://spdx.org/spdxdocs/{}-{}", document.name, identity::uuid(&unnamed));
    document.document_namespace = Some(address);
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

impl<'a> Document<'a> {
    /// The unchanged release and its patches.
    fn add_pedigree(&mut self, part: &'a Part) {
        let Some(pedigree) = &part.pedigree else { return };
        let upstream = spdx_id(&format!("{}:upstream", part.id));
        self.relationships.push(relationship(spdx_id(&part.id), "DESCENDANT_OF", upstream.clone()));
        self.packages.push(Package {
            id: upstream,
            source_info: Some(&pedigree.origin),
            checksums: pedigree.sha256.iter().map(|digest| sha256(digest)).collect(),
            external_refs: vec![purl(&pedigree.purl)],
            comment: None,
            summary: Some("the unchanged release"),
            ..package(part)
        });
        for patch in &pedigree.patches {
            let file = patch_file(part, patch);
            self.relationships.push(relationship(file.id.clone(), "PATCH_APPLIED", spdx_id(&part.id)));
            self.files.push(file);
        }
    }
}

fn package(part: &Part) -> Package<'_> {
    let mut facts: Vec<String> =
        part.properties.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    facts.sort();
    let purpose = match part.role {
        Role::Product | Role::Tool => "APPLICATION",
        Role::Linked | Role::Untraced | Role::BuildDependency => "LIBRARY",
    };
    Package {
        id: spdx_id(&part.id),
        name: &part.name,
        version_info: &part.version,
        download_location: part.source_url.as_deref().unwrap_or(UNKNOWN),
        files_analyzed: false,
        license_concluded: UNKNOWN,
        license_declared: part.licence.as_deref().unwrap_or(UNKNOWN),
        copyright_text: UNKNOWN,
        primary_package_purpose: Some(purpose),
        summary: part.description.as_deref(),
        homepage: part.homepage.as_deref(),
        checksums: part.sha256.iter().map(|digest| sha256(digest)).collect(),
        external_refs: part.purl.iter().map(|address| purl(address)).collect(),
        source_info: None,
        comment: (!facts.is_empty()).then(|| facts.join("\n")),
    }
}

fn patch_file<'a>(part: &Part, patch: &'a Patch) -> File<'a> {
    File {
        id: spdx_id(&format!("patch-{}-{}", part.name, patch.name)),
        file_name: format!("./patches/{}/{}", part.name, patch.name),
        file_types: ["TEXT"],
        checksums: checksums(&patch.checksums),
        license_concluded: UNKNOWN,
        copyright_text: UNKNOWN,
        comment: format!("{}\nUpstream: {}", patch.reason, patch.upstream),
    }
}

/// The relation of a part to the product, by its role.
fn to_product(part: &Part, product: &Part) -> Relationship {
    let (part_id, product_id) = (spdx_id(&part.id), spdx_id(&product.id));
    match part.role {
        Role::Product | Role::Linked => relationship(product_id, "STATIC_LINK", part_id),
        Role::Untraced => relationship(product_id, "DEPENDS_ON", part_id),
        Role::BuildDependency => relationship(part_id, "BUILD_DEPENDENCY_OF", product_id),
        Role::Tool => relationship(part_id, "BUILD_TOOL_OF", product_id),
    }
}

fn relationship(from: String, kind: &'static str, to: String) -> Relationship {
    Relationship { spdx_element_id: from, relationship_type: kind, related_spdx_element: to }
}

fn sha256(digest: &str) -> Checksum<'_> {
    Checksum { algorithm: "SHA256", checksum_value: digest }
}

fn checksums(checksums: &Checksums) -> Vec<Checksum<'_>> {
    vec![Checksum { algorithm: "SHA1", checksum_value: &checksums.sha1 }, sha256(&checksums.sha256)]
}

fn purl(address: &str) -> ExternalReference<'_> {
    ExternalReference {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: address,
    }
}
