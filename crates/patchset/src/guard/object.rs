//! Checks on the compiled archive, by the relocations of its members.

use anyhow::{Context, Result};
use diag::Diagnostic;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SectionIndex, SymbolKind};

use super::document::{Guard, ObjectRequirement};
use crate::ar;
use crate::codes::{
    ARCHIVE_UNREADABLE, PATCH_FORBID_REFERENCES, PATCH_FUNCTION, PATCH_MEMBER, PATCH_ONLY_HERE, PATCH_REFERENCE,
};

impl Guard {
    /// Violated requirements of the compiled archive. A missing member or function is a violation: without code there is no
    /// evidence.
    pub fn object_violations(&self, archive: &[u8]) -> Result<Vec<Diagnostic>> {
        let members = ar::members(archive)?;
        let mut violations = Vec::new();
        for requirement in &self.objects {
            let name = requirement.member.as_bytes();
            let found: Vec<&[u8]> =
                members.iter().filter(|(member, _)| *member == name).map(|(_, data)| *data).collect();
            match found[..] {
                [data] => requirement.check(data, &mut violations)?,
                _ => violations.push(
                    Diagnostic::new(&PATCH_MEMBER, "a guarded member is not in the archive exactly once")
                        .file(&requirement.member)
                        .expected("one member of this name")
                        .found(found.len().to_string()),
                ),
            }
        }
        Ok(violations)
    }
}

/// A reference from loaded code or data of the member to a named symbol.
struct Reference {
    section: SectionIndex,
    offset: u64,
    symbol: String,
}

impl ObjectRequirement {
    fn check(&self, data: &[u8], violations: &mut Vec<Diagnostic>) -> Result<()> {
        let object = object::File::parse(data).map_err(|error| {
            Diagnostic::new(&ARCHIVE_UNREADABLE, "a guarded member is not an object").file(&self.member).cause(error)
        })?;
        let references = references_of(&object)?;
        let functions: Vec<_> = object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text).collect();
        let function_at = |reference: &Reference| {
            functions.iter().find_map(|function| {
                let holds = function.section_index() == Some(reference.section)
                    && (function.address()..function.address() + function.size()).contains(&reference.offset);
                holds.then(|| function.name().unwrap_or("?"))
            })
        };
        let is_inside = |reference: &&Reference| match &self.function {
            Some(function) => function_at(reference) == Some(function),
            None => true,
        };
        let place = self.place();
        if let Some(name) = &self.function
            && !functions.iter().any(|function| function.name() == Ok(name) && function.size() > 0)
        {
            violations.push(
                Diagnostic::new(&PATCH_FUNCTION, format!("`{name}` is not in the symbol table of its member"))
                    .file(&self.member)
                    .expected("a function that holds the code of the patch"),
            );
            return Ok(());
        }
        let references_symbol =
            |symbol: &String| references.iter().filter(is_inside).any(|reference| reference.symbol == *symbol);
        for symbol in self.references.iter().filter(|symbol| !references_symbol(symbol)) {
            violations.push(
                Diagnostic::new(&PATCH_REFERENCE, format!("{place} does not reference `{symbol}`"))
                    .file(&self.member),
            );
        }
        for symbol in self.forbid_references.iter().filter(|symbol| references_symbol(symbol)) {
            violations.push(
                Diagnostic::new(&PATCH_FORBID_REFERENCES, format!("{place} references `{symbol}`"))
                    .file(&self.member),
            );
        }
        for symbol in &self.only_here {
            let outside = references.iter().filter(|found| found.symbol == *symbol && !is_inside(found));
            for reference in outside {
                let other = function_at(reference).unwrap_or("data");
                violations.push(
                    Diagnostic::new(&PATCH_ONLY_HERE, format!("`{other}` references `{symbol}` too"))
                        .file(&self.member)
                        .expected(format!("references from {place} only")),
                );
            }
        }
        Ok(())
    }
}

fn references_of(object: &object::File<'_>) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for section in object.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if !sh_flags.contains(object::elf::SHF_ALLOC) {
            continue; // debug information names functions that no code calls
        }
        for (offset, relocation) in section.relocations() {
            if let RelocationTarget::Symbol(index) = relocation.target() {
                let symbol = object.symbol_by_index(index)?.name().context("reading the name of a symbol")?.to_owned();
                references.push(Reference { section: section.index(), offset, symbol });
            }
        }
    }
    Ok(references)
}
