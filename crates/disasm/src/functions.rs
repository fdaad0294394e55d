//! The functions of an ELF file: executable sections, divided by the symbol table.

use object::read::elf::{ElfFile, FileHeader};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// A piece of code: a function, a part of one, or code between functions.
pub(crate) struct Piece<'data, 'names> {
    /// Mangled names. Empty for code outside of all symbols. Borrowed, because many parts may have many names.
    pub(crate) names: &'names [&'data [u8]],
    /// The function or the range has an earlier part; data lie between the two.
    pub(crate) is_continued: bool,
    pub(crate) address: u64,
    pub(crate) code: &'data [u8],
}

struct Symbol<'data> {
    address: u64,
    size: u64,
    name: &'data [u8],
}

/// Calls `visit` with each piece of each executable section. No byte is in two pieces, unless sections overlap.
pub(crate) fn for_each<'data, Elf: FileHeader>(
    file: &ElfFile<'data, Elf>,
    mut visit: impl FnMut(Piece<'data, '_>),
) -> object::Result<()> {
    let mut by_section: Vec<(usize, Symbol)> = Vec::new();
    for symbol in file.symbols() {
        let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name_bytes()) else { continue };
        let is_code = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown);
        if is_code && !name.is_empty() {
            by_section.push((section.0, Symbol { address: symbol.address(), size: symbol.size(), name }));
        }
    }
    // At one address the longest function first: a label without a size is a further name.
    by_section.sort_by_key(|(section, symbol)| (*section, symbol.address, std::cmp::Reverse(symbol.size)));
    for section in file.sections() {
        const SHF_EXECINSTR: u64 = 4;
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if sh_flags.0 & SHF_EXECINSTR == 0 {
            continue;
        }
        let start = by_section.partition_point(|(index, _)| *index < section.index().0);
        let end = by_section.partition_point(|(index, _)| *index <= section.index().0);
        divide(section.address(), section.data()?, &by_section[start..end], &mut visit);
    }
    Ok(())
}

/// A function ends at its size, at the next function, or at the end of its section.
fn divide<'data>(
    base: u64,
    code: &'data [u8],
    symbols: &[(usize, Symbol<'data>)],
    visit: &mut impl FnMut(Piece<'data, '_>),
) {
    let is_data = Marks::of(base, code.len(), symbols);
    let mut piece = |names: &[&'data [u8]], start: usize, end: usize| {
        let mut is_continued = false;
        is_data.code_parts(start, end, |start, end| {
            let address = base.wrapping_add(start as u64);
            visit(Piece { names, is_continued, address, code: &code[start..end] });
            is_continued = true;
        });
    };
    let named: Vec<&Symbol> =
        symbols.iter().map(|(_, symbol)| symbol).filter(|symbol| !is_mark(symbol.name)).collect();
    let next_sized = next_sized(&named);
    let mut covered = 0;
    let mut index = 0;
    while let Some(symbol) = named.get(index) {
        let own = index;
        let aliases = named[own..].iter().take_while(|alias| alias.address == symbol.address);
        let names: Vec<&[u8]> = aliases.map(|alias| alias.name).collect();
        index += names.len();
        // A label inside of the function before is part of it.
        let Some(start) = offset(base, code.len(), symbol.address).filter(|start| *start >= covered) else {
            continue;
        };
        let (next, size) = match symbol.size {
            // Assembler without `.size`: up to the next symbol of any kind.
            0 => (named.get(index).map(|next| next.address), usize::MAX),
            size => (next_sized[own], usize::try_from(size).unwrap_or(usize::MAX)),
        };
        let next = next.and_then(|address| offset(base, code.len(), address)).unwrap_or(code.len());
        let end = start.saturating_add(size).min(next);
        if covered < start {
            piece(&[], covered, start);
        }
        piece(&names, start, end);
        covered = end;
    }
    if covered < code.len() {
        piece(&[], covered, code.len());
    }
}

/// For each symbol the address of the next function with a size and another address.
fn next_sized(symbols: &[&Symbol]) -> Vec<Option<u64>> {
    let mut next = vec![None; symbols.len()];
    let (mut nearest, mut after_nearest) = (None, None);
    for (index, symbol) in symbols.iter().enumerate().rev() {
        next[index] = if nearest == Some(symbol.address) { after_nearest } else { nearest };
        if symbol.size > 0 && nearest != Some(symbol.address) {
            (nearest, after_nearest) = (Some(symbol.address), nearest);
        }
    }
    next
}

fn offset(base: u64, len: usize, address: u64) -> Option<usize> {
    usize::try_from(address.checked_sub(base)?).ok().filter(|offset| *offset < len)
}

/// Mapping symbols of the Arm ABI: `$d` starts data, `$x` code; `$d.1` is a further form.
fn is_mark(name: &[u8]) -> bool {
    matches!(name, [b'$', b'd' | b'x' | b'a' | b't'] | [b'$', b'd' | b'x' | b'a' | b't', b'.', ..])
}

/// Changes between code and data in a section, by offset.
struct Marks(Vec<(usize, bool)>);

impl Marks {
    fn of(base: u64, len: usize, symbols: &[(usize, Symbol)]) -> Marks {
        let marks = symbols.iter().filter(|(_, symbol)| is_mark(symbol.name));
        let at = marks
            .filter_map(|(_, symbol)| Some((offset(base, len, symbol.address)?, symbol.name[1] == b'd')));
        Marks(at.collect())
    }

    /// The parts of a range that are code.
    fn code_parts(&self, start: usize, end: usize, mut visit: impl FnMut(usize, usize)) {
        let first = self.0.partition_point(|(at, _)| *at <= start);
        let mut is_data = first.checked_sub(1).is_some_and(|before| self.0[before].1);
        let mut from = start;
        for &(at, next_is_data) in self.0[first..].iter().take_while(|(at, _)| *at < end) {
            if !is_data && from < at {
                visit(from, at);
            }
            (from, is_data) = (at, next_is_data);
        }
        if !is_data && from < end {
            visit(from, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, address and size of each piece of a section of 32 bytes at 0x100.
    fn pieces(symbols: &[(u64, u64, &str)]) -> Vec<(String, u64, usize)> {
        let code = [0; 32];
        let mut symbols: Vec<_> = symbols
            .iter()
            .map(|(address, size, name)| {
                (1, Symbol { address: *address, size: *size, name: name.as_bytes() })
            })
            .collect();
        symbols.sort_by_key(|(_, symbol)| (symbol.address, std::cmp::Reverse(symbol.size)));
        let mut found = Vec::new();
        divide(0x100, &code, &symbols, &mut |Piece { names, address, code, .. }| {
            let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
            found.push((names.join(" "), address, code.len()));
        });
        found
    }

    fn piece(names: &str, address: u64, size: usize) -> (String, u64, usize) {
        (names.into(), address, size)
    }

    #[test]
    fn divides_a_section_without_gap_or_overlap() {
        assert_eq!(pieces(&[]), [piece("", 0x100, 32)]);
        let sized = [(0x100, 8, "f"), (0x104, 0, "label"), (0x110, 8, "g"), (0x110, 0, "alias")];
        let expected =
            [piece("f", 0x100, 8), piece("", 0x108, 8), piece("g alias", 0x110, 8), piece("", 0x118, 8)];
        assert_eq!(pieces(&sized), expected);
        // Assembler without sizes: up to the next label. A function beyond its section is cut.
        assert_eq!(
            pieces(&[(0x100, 0, "f"), (0x108, 0, "g")]),
            [piece("f", 0x100, 8), piece("g", 0x108, 24)]
        );
        assert_eq!(pieces(&[(0x110, u64::MAX, "f")]), [piece("", 0x100, 16), piece("f", 0x110, 16)]);
        assert_eq!(pieces(&[(0x120, 1, "outside"), (0, 1, "before")]), [piece("", 0x100, 32)]);
        // Two functions that overlap: the second one starts where it says.
        let overlapping = [(0x100, 16, "f"), (0x108, 24, "g")];
        assert_eq!(pieces(&overlapping), [piece("f", 0x100, 8), piece("g", 0x108, 24)]);
    }

    #[test]
    fn leaves_out_data_that_mapping_symbols_declare() {
        let marks =
            [(0x100, 32, "f"), (0x100, 0, "$x"), (0x108, 0, "$d"), (0x110, 0, "$x.1"), (0x11c, 0, "$d")];
        assert_eq!(pieces(&marks), [piece("f", 0x100, 8), piece("f", 0x110, 12)]);
    }
}
