//! Code of an object, for comparison.

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// Bytes and relocations.
pub(super) type ObjectCode = Option<(Vec<u8>, Vec<(u64, String, i64)>)>;

/// The code of a function, or of every loaded section; `None` when the function does not exist.
pub(super) fn object_code(data: &[u8], function: Option<&str>) -> Result<ObjectCode> {
    let object = object::File::parse(data).context("reading an object that was compiled for liveness")?;
    let place = match function {
        None => None,
        Some(name) => {
            let Some(symbol) = object.symbols().find(|symbol| symbol.name() == Ok(name) && symbol.size() > 0)
            else {
                return Ok(None);
            };
            Some((symbol.section_index(), symbol.address()..symbol.address() + symbol.size()))
        }
    };
    let (mut bytes, mut relocations) = (Vec::new(), Vec::new());
    for section in object.sections() {
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if !sh_flags.contains(object::elf::SHF_ALLOC) {
            continue;
        }
        let all = section.data().unwrap_or_default();
        let range = match &place {
            None => 0..all.len() as u64,
            Some((index, range)) if *index == Some(section.index()) => range.clone(),
            Some(_) => continue,
        };
        let wanted = usize::try_from(range.start)?..usize::try_from(range.end)?;
        bytes.extend_from_slice(all.get(wanted).unwrap_or_default());
        for (offset, relocation) in section.relocations().filter(|(offset, _)| range.contains(offset)) {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    object.symbol_by_index(index)?.name().unwrap_or_default().to_owned()
                }
                other => format!("{other:?}"),
            };
            relocations.push((offset - range.start, target, relocation.addend()));
        }
    }
    Ok(Some((bytes, relocations)))
}
