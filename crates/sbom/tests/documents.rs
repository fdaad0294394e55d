//! Both documents of a small bill. `schemas/examples` has them as files, so that `cargo xtask lint --only sbom` can validate
//! them against the published schemas; `MUSLIN_WRITE_DOCS=1 cargo test -p sbom` writes them.

use std::path::PathBuf;

use sbom::{Bill, Checksums, Part, Patch, Pedigree, Purl, Role, SBOM_INVALID, ShippedFile, Step};

fn checksums(digit: char) -> Checksums {
    Checksums { sha1: digit.to_string().repeat(40), sha256: digit.to_string().repeat(64) }
}

/// A program with one crate that is linked, one that leaves no trace, a patched C library, a code generator and a compiler.
fn bill() -> Bill {
    let mut product = Part::new(Role::Product, "cargo:app@1.0.0", "app", "1.0.0");
    product.licence = Some("Apache-2.0 OR MIT".into());
    product.depends_on =
        vec!["cargo:text@2.1.0".into(), "native:numbers@3.0".into(), "cargo:macros@0.1.0".into()];
    product.property("example:target", "x86_64-unknown-linux-musl");

    let mut text = Part::new(Role::Linked, "cargo:text@2.1.0", "text", "2.1.0");
    text.licence = sbom::spdx_expression("MIT/Apache-2.0");
    text.purl = Some(Purl::cargo("text", "2.1.0").to_string());
    text.sha256 = Some("a".repeat(64));
    text.homepage = Some("https://example.org/text".into());
    text.depends_on = vec!["cargo:macros@0.1.0".into()];
    text.property("example:evidence", "source-paths, symbols");

    let mut macros = Part::new(Role::Untraced, "cargo:macros@0.1.0", "macros", "0.1.0");
    macros.purl = Some(Purl::cargo("macros", "0.1.0").to_string());
    macros.property("example:evidence", "none");

    let mut numbers = Part::new(Role::Linked, "native:numbers@3.0", "numbers", "3.0");
    numbers.licence = Some("BSD-3-Clause".into());
    numbers.purl = Some(Purl::generic("numbers", "3.0").to_string());
    numbers.pedigree = Some(Pedigree {
        purl: Purl::new("deb", "numbers", "3.0-1")
            .namespace("debian")
            .qualifier("arch", "source")
            .to_string(),
        sha256: Some("b".repeat(64)),
        origin: "Debian's source package `numbers`".into(),
        patches: vec![
            patch("0001-add.patch", "not sent yet"),
            patch("0002-sub.patch", "https://example.org/pull/2"),
        ],
    });

    let mut generator = Part::new(Role::BuildDependency, "build:cargo:generator@0.4.0", "generator", "0.4.0");
    generator.purl = Some(Purl::cargo("generator", "0.4.0").to_string());
    let mut compiler = Part::new(Role::Tool, "tool:cc", "cc", "12.2.0");
    compiler.sha256 = Some("c".repeat(64));

    Bill {
        product,
        files: vec![ShippedFile {
            name: "app-1.0.0".into(),
            description: "the program, packed".into(),
            checksums: checksums('d'),
        }],
        parts: vec![text, macros, numbers, generator, compiler],
        is_complete: true,
        steps: vec![Step { name: "link".into(), description: "links the binary".into() }],
        created: "2025-01-01T00:00:00Z".into(),
        author: "example".into(),
        author_version: "0.1.0".into(),
    }
}

fn patch(name: &str, upstream: &str) -> Patch {
    Patch {
        name: name.into(),
        text: format!(
            "Why: the sum is wrong\nUpstream: {upstream}\n\n--- a/add.c\n+++ b/add.c\n@@ -1 +1 @@\n-0\n+1\n"
        )
        .into(),
        checksums: checksums('e'),
        reason: "the sum is wrong".into(),
        upstream: upstream.into(),
    }
}

fn both(bill: &Bill) -> [String; 2] {
    [bill.to_cyclonedx().unwrap(), bill.to_spdx().unwrap()]
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the user requests the update by a variable")]
fn the_examples_are_the_documents_of_the_small_bill() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples");
    for (name, document) in ["small.cdx.json", "small.spdx.json"].into_iter().zip(both(&bill())) {
        let path = folder.join(name);
        if std::env::var_os("MUSLIN_WRITE_DOCS").is_some() {
            std::fs::write(&path, &document).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(document, written, "{name} is outdated: run `MUSLIN_WRITE_DOCS=1 cargo test -p sbom`");
    }
}

#[test]
fn the_order_of_parts_and_properties_changes_nothing() {
    let mut other = bill();
    other.parts.reverse();
    for part in &mut other.parts {
        part.depends_on.reverse();
        part.properties.reverse();
    }
    assert_eq!(both(&bill()), both(&other));
}

/// Each edit must reach both documents, also their identity: a reader that compares serial numbers sees the change.
#[test]
fn every_removed_part_and_patch_changes_both_documents() {
    type Edit = fn(&mut Bill);
    let edits: [(&str, Edit); 6] = [
        ("a linked crate", |bill| {
            bill.parts.remove(0);
            bill.product.depends_on.remove(0);
        }),
        ("a code generator", |bill| drop(bill.parts.remove(3))),
        ("a tool", |bill| drop(bill.parts.remove(4))),
        ("the last patch", |bill| drop(bill.parts[2].pedigree.as_mut().unwrap().patches.pop())),
        ("all patches", |bill| bill.parts[2].pedigree = None),
        ("a file", |bill| drop(bill.files.pop())),
    ];
    let identity = |document: &str| {
        let value: serde_json::Value = serde_json::from_str(document).unwrap();
        let key = if value["bomFormat"].is_string() { "serialNumber" } else { "documentNamespace" };
        value[key].as_str().unwrap().to_owned()
    };
    for (what, edit) in edits {
        let mut edited = bill();
        edit(&mut edited);
        for (before, after) in both(&bill()).iter().zip(&both(&edited)) {
            assert_ne!(identity(before), identity(after), "{what}");
        }
    }
}

#[test]
fn the_text_of_a_patch_survives_byte_for_byte() {
    use base64::Engine;
    let mut other = bill();
    let bytes = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xe9\n+e\n".to_vec();
    other.parts[2].pedigree.as_mut().unwrap().patches[0].text.clone_from(&bytes);
    let document: serde_json::Value = serde_json::from_str(&other.to_cyclonedx().unwrap()).unwrap();
    let components = document["components"].as_array().unwrap();
    let numbers = components.iter().find(|part| part["name"] == "numbers").unwrap();
    let text = numbers["pedigree"]["patches"][0]["diff"]["text"]["content"].as_str().unwrap();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(text).unwrap(), bytes);
}

#[test]
fn rejects_two_parts_of_one_identity_and_a_dependency_that_is_missing() {
    let mut twice = bill();
    twice.parts.push(twice.parts[0].clone());
    let mut dangling = bill();
    dangling.parts.remove(0);
    // Different ids, and the same one in SPDX.
    let mut merged = bill();
    merged.parts.push(Part::new(Role::Linked, "cargo-text@2.1.0", "text", "2.1.0"));
    for (what, bill) in [("twice", twice), ("dangling", dangling), ("merged", merged)] {
        for result in [bill.to_cyclonedx(), bill.to_spdx()] {
            assert!(diag::has_code(&result.expect_err(what), &SBOM_INVALID), "{what}");
        }
    }
}
