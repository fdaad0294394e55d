//! Byte-level edits of 64-bit little-endian ELF files and of UPX's layout.
//!
//! They share no code with the readers of the gate, and repeat the constants of `elf-facts`, on purpose: mutants must not
//! depend on the reader under test, because a field that both located wrongly in the same way would look like a working gate.

const ELF_HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 56;
pub const PT_NULL: u32 = 0;
pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_NOTE: u32 = 4;
pub const PT_GNU_STACK: u32 = 0x6474_e551;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
pub const READ_EXECUTE: u32 = 5;
pub const READ_WRITE: u32 = 6;
pub const READ_WRITE_EXECUTE: u32 = 7;

/// Raise it when [`inner`] changes: its result is cached.
pub const INNER_DAMAGE_VERSION: u32 = 1;

pub type Done = Result<(), String>;

/// A program header by its place in the file.
#[derive(Clone, Copy)]
pub struct ProgramHeader(usize);

impl ProgramHeader {
    /// The first of that kind, with these flags when they are given.
    pub fn find(bytes: &[u8], kind: u32, flags: Option<u32>) -> Result<Self, String> {
        let count = usize::from(u16_at(bytes, 56)?);
        let table = u64_at(bytes, 32)? as usize;
        for index in 0..count {
            let at = table + ENTRY_BYTES * index;
            if u32_at(bytes, at)? == kind && flags.is_none_or(|flags| u32_at(bytes, at + 4) == Ok(flags)) {
                return Ok(Self(at));
            }
        }
        Err(format!("no program header of kind {kind:#x}"))
    }

    pub fn set_kind(self, bytes: &mut [u8], kind: u32) -> Done {
        write(bytes, self.0, &kind.to_le_bytes())
    }

    pub fn set_flags(self, bytes: &mut [u8], flags: u32) -> Done {
        write(bytes, self.0 + 4, &flags.to_le_bytes())
    }

    pub fn set_align(self, bytes: &mut [u8], align: u64) -> Done {
        write(bytes, self.0 + 48, &align.to_le_bytes())
    }

    pub fn set_memory_size(self, bytes: &mut [u8], size: u64) -> Done {
        write(bytes, self.0 + 40, &size.to_le_bytes())
    }

    /// More bytes in the file than in memory.
    pub fn exceed_memory_size(self, bytes: &mut [u8]) -> Done {
        let size = u64_at(bytes, self.0 + 40)? + 1;
        write(bytes, self.0 + 32, &size.to_le_bytes())
    }

    /// Maps the same bytes elsewhere.
    pub fn move_by(self, bytes: &mut [u8], distance: u64) -> Done {
        let address = self.address(bytes)? + distance;
        write(bytes, self.0 + 16, &address.to_le_bytes())?;
        write(bytes, self.0 + 24, &address.to_le_bytes())
    }

    fn offset(self, bytes: &[u8]) -> Result<usize, String> {
        Ok(u64_at(bytes, self.0 + 8)? as usize)
    }

    fn address(self, bytes: &[u8]) -> Result<u64, String> {
        u64_at(bytes, self.0 + 16)
    }

    fn file_size(self, bytes: &[u8]) -> Result<usize, String> {
        Ok(u64_at(bytes, self.0 + 32)? as usize)
    }

    /// Points it at other bytes, mapped where the segment `load` maps them.
    fn point_at(self, bytes: &mut [u8], load: ProgramHeader, offset: usize, size: u64) -> Done {
        let address = load.address(bytes)? + (offset - load.offset(bytes)?) as u64;
        for (field, value) in [(8, offset as u64), (16, address), (24, address), (32, size), (40, size)] {
            write(bytes, self.0 + field, &value.to_le_bytes())?;
        }
        Ok(())
    }
}

pub fn set_stack_size(bytes: &mut [u8], size: u64) -> Done {
    ProgramHeader::find(bytes, PT_GNU_STACK, None)?.set_memory_size(bytes, size)
}

/// An entry point in the data segment.
pub fn enter_data(bytes: &mut [u8]) -> Done {
    let address = ProgramHeader::find(bytes, PT_LOAD, Some(READ_WRITE))?.address(bytes)?;
    write(bytes, 24, &address.to_le_bytes())
}

/// A search table of the unwinder that no unwinder reads, or without one a build-id that is too short.
pub fn break_unwind_table(bytes: &mut [u8]) -> Done {
    match ProgramHeader::find(bytes, PT_GNU_EH_FRAME, None) {
        Ok(table) => {
            let at = table.offset(bytes)?;
            flip(bytes, at, 2)
        }
        Err(_) => {
            let at = build_id_note(bytes)?;
            write(bytes, at + 4, &4_u32.to_le_bytes())
        }
    }
}

/// An address of `.got` that leads nowhere; in a program without addresses there, a damaged search table.
pub fn break_got(bytes: &mut [u8]) -> Done {
    const NOWHERE: u64 = 0x7fff_ffff_f000;
    let facts = elf_gate::inspect(bytes).map_err(|error| error.to_string())?;
    match facts.section(".got").filter(|got| facts.address_table.is_some() && got.size_bytes >= 8) {
        Some(got) => write(bytes, got.offset as usize, &NOWHERE.to_le_bytes()),
        None => break_unwind_table(bytes),
    }
}

pub fn set_machine(bytes: &mut [u8], machine: u16) -> Done {
    write(bytes, 18, &machine.to_le_bytes())
}

/// The header that the fewest would miss becomes a PT_INTERP with a path in the file.
pub fn add_interpreter(bytes: &mut [u8]) -> Done {
    const PATH: &[u8] = b"/lib/ld-musl-x86_64.so.1\0";
    let (load, at) = room(bytes)?;
    write(bytes, at, PATH)?;
    let spare = spare(bytes)?;
    spare.set_kind(bytes, PT_INTERP)?;
    spare.point_at(bytes, load, at, PATH.len() as u64)
}

pub const DT_NEEDED: u64 = 1;
pub const DT_RPATH: u64 = 15;
pub const DT_TEXTREL: u64 = 22;

/// A PT_DYNAMIC with one entry of that kind, whose value is a name.
pub fn add_dynamic(bytes: &mut [u8], tag: u64) -> Done {
    const STRINGS: &[u8] = b"\0libc.so.6\0";
    const ENTRIES: usize = 4;
    let (load, at) = room(bytes)?;
    let strings_at = at + 16 * ENTRIES;
    if strings_at + STRINGS.len() > load.offset(bytes)? + load.file_size(bytes)? {
        return Err("no room in the data segment".into());
    }
    let strings_address = load.address(bytes)? + (strings_at - load.offset(bytes)?) as u64;
    let (string_table, string_table_size) = (5_u64, 10_u64);
    let entries =
        [(string_table, strings_address), (string_table_size, STRINGS.len() as u64), (tag, 1), (0, 0)];
    for (index, (tag, value)) in entries.into_iter().enumerate() {
        write(bytes, at + 16 * index, &tag.to_le_bytes())?;
        write(bytes, at + 16 * index + 8, &value.to_le_bytes())?;
    }
    write(bytes, strings_at, STRINGS)?;
    let spare = spare(bytes)?;
    spare.set_kind(bytes, PT_DYNAMIC)?;
    spare.point_at(bytes, load, at, 16 * ENTRIES as u64)
}

/// Bytes of the data segment that no reader of headers needs: of a packed file the segment begins with its headers.
fn room(bytes: &[u8]) -> Result<(ProgramHeader, usize), String> {
    let load = ProgramHeader::find(bytes, PT_LOAD, Some(READ_WRITE))?;
    let at = load.offset(bytes)?;
    Ok((load, if at == 0 { 1024 } else { at.next_multiple_of(8) }))
}

/// A packed file has but three headers; there the stack has to give way.
fn spare(bytes: &[u8]) -> Result<ProgramHeader, String> {
    ProgramHeader::find(bytes, PT_GNU_RELRO, None)
        .or_else(|_| ProgramHeader::find(bytes, PT_NOTE, None))
        .or_else(|_| ProgramHeader::find(bytes, PT_GNU_STACK, None))
}

/// What a panic message of a program built at home would bring along.
pub fn add_local_path(bytes: &mut [u8]) -> Done {
    let (_, at) = room(bytes)?;
    write(bytes, at, b"\0/home/ann/src/main.c\0")
}

/// The name of a source file in debug information.
pub fn add_debug_path(bytes: &mut [u8]) -> Done {
    let (at, size) = section(bytes, |_, name| name == b".debug_str")?;
    let path = b"\0/home/ann/src/main.c\0";
    if size < path.len() {
        return Err("`.debug_str` is too small".into());
    }
    write(bytes, at, path)
}

/// A function that the linker did not find.
pub fn undefine_symbol(bytes: &mut [u8]) -> Done {
    const SHT_SYMTAB: u32 = 2;
    const ENTRY_BYTES: usize = 24;
    let (at, size) = section(bytes, |kind, _| kind == SHT_SYMTAB)?;
    for entry in (at..at + size).step_by(ENTRY_BYTES) {
        let info = *bytes.get(entry + 4).ok_or("the symbol table is cut off")?;
        let is_global_function = info == 0x12;
        if is_global_function && u16_at(bytes, entry + 6)? != 0 {
            return write(bytes, entry + 6, &[0, 0]);
        }
    }
    Err("no global function in .symtab".into())
}

const SHT_SYMTAB: u32 = 2;
const SYMBOL_BYTES: usize = 24;

/// An entry of the symbol table, and where its name is.
struct Symbol {
    at: usize,
    name_at: usize,
    name_bytes: usize,
    info: u8,
    section: u16,
}

impl Symbol {
    fn is_defined_function(&self) -> bool {
        const STT_FUNC: u8 = 2;
        self.info & 0xf == STT_FUNC && self.section != 0
    }

    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.name_at..self.name_at + self.name_bytes]
    }
}

fn symbols(bytes: &[u8]) -> Result<Vec<Symbol>, String> {
    let (at, size) = section(bytes, |kind, _| kind == SHT_SYMTAB)?;
    let (names, names_bytes) = section(bytes, |_, name| name == b".strtab")?;
    let strings = names.checked_add(names_bytes).and_then(|end| bytes.get(names..end));
    let strings = strings.ok_or("the names of the symbols end beyond the file")?;
    let entries = (at..at + size).step_by(SYMBOL_BYTES).map(|at| {
        let offset = u32_at(bytes, at)? as usize;
        let rest = strings.get(offset..).ok_or("a symbol name lies outside of the file")?;
        let name_bytes = memchr::memchr(0, rest).ok_or("a symbol name has no end")?;
        let info = *bytes.get(at + 4).ok_or("the symbol table is cut off")?;
        Ok(Symbol { at, name_at: names + offset, name_bytes, info, section: u16_at(bytes, at + 6)? })
    });
    entries.collect()
}

/// Gives these names to the functions with the longest names: they are mangled ones, which no policy demands as a whole.
pub fn name_functions(bytes: &mut [u8], wanted: &[&str]) -> Done {
    let mut functions: Vec<Symbol> =
        symbols(bytes)?.into_iter().filter(Symbol::is_defined_function).collect();
    functions.sort_by_key(|symbol| std::cmp::Reverse(symbol.name_bytes));
    // Linkers store equal names once, and a name may be the end of another one.
    functions.dedup_by_key(|symbol| symbol.name_at + symbol.name_bytes);
    let mut functions = functions.iter();
    for wanted in wanted {
        let symbol = functions.next().filter(|symbol| symbol.name_bytes >= wanted.len());
        let symbol = symbol.ok_or_else(|| format!("no function to name `{wanted}`"))?;
        write(bytes, symbol.name_at, wanted.as_bytes())?;
        if symbol.name_bytes > wanted.len() {
            write(bytes, symbol.name_at + wanted.len(), &[0])?;
        }
    }
    Ok(())
}

/// Gives a function this name, unless one has it.
pub fn define_function(bytes: &mut [u8], wanted: &str) -> Done {
    let symbols = symbols(bytes)?;
    let has_it =
        symbols.iter().any(|symbol| symbol.is_defined_function() && symbol.name(bytes) == wanted.as_bytes());
    if has_it { Ok(()) } else { name_functions(bytes, &[wanted]) }
}

/// Changes the first byte of each name that matches.
pub fn rename_matching(bytes: &mut [u8], is_meant: impl Fn(&[u8]) -> bool) -> Done {
    let symbols = symbols(bytes)?;
    let mut places: Vec<usize> =
        symbols.iter().filter(|symbol| is_meant(symbol.name(bytes))).map(|symbol| symbol.name_at).collect();
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Err("no symbol matches".into());
    }
    places.into_iter().try_for_each(|at| write(bytes, at, b"-"))
}

/// A weak reference that the linker did not find.
pub fn undefine_weakly(bytes: &mut [u8], name: &str) -> Done {
    let symbols = symbols(bytes)?;
    let symbol = symbols.iter().find(|symbol| symbol.name(bytes) == name.as_bytes());
    let at = symbol.ok_or_else(|| format!("no symbol `{name}`"))?.at;
    let weak_function = 0x22;
    write(bytes, at + 4, &[weak_function, 0, 0, 0])
}

/// The first function gets the type `STT_GNU_IFUNC`.
pub fn make_ifunc(bytes: &mut [u8]) -> Done {
    const STT_GNU_IFUNC: u8 = 10;
    let symbols = symbols(bytes)?;
    let symbol =
        symbols.iter().find(|symbol| symbol.is_defined_function()).ok_or("no function in .symtab")?;
    write(bytes, symbol.at + 4, &[symbol.info & 0xf0 | STT_GNU_IFUNC])
}

/// A loaded relocation section with one entry of that type, in the place of the section header of `.bss`.
pub fn add_irelative(bytes: &mut [u8], kind: u32) -> Done {
    const SHT_RELA: u32 = 4;
    const SHF_ALLOC: u64 = 2;
    const RELA_BYTES: u64 = 24;
    let (load, at) = room(bytes)?;
    let address = load.address(bytes)?;
    for (field, value) in [(0, address), (8, u64::from(kind)), (16, address)] {
        write(bytes, at + field, &value.to_le_bytes())?;
    }
    let header = section_header(bytes, |_, name| name == b".bss")?;
    write(bytes, header + 4, &SHT_RELA.to_le_bytes())?;
    for (field, value) in [(8, SHF_ALLOC), (24, at as u64), (32, RELA_BYTES), (56, RELA_BYTES)] {
        write(bytes, header + field, &value.to_le_bytes())?;
    }
    Ok(())
}

/// A file whose symbols a profile of cargo stripped.
pub fn lose_symbol_table(bytes: &mut [u8]) -> Done {
    const SHT_PROGBITS: u32 = 1;
    let header = section_header(bytes, |kind, _| kind == SHT_SYMTAB)?;
    write(bytes, header + 4, &SHT_PROGBITS.to_le_bytes())
}

pub const PT_TLS: u32 = 7;

pub fn set_tls_size(bytes: &mut [u8], size: u64) -> Done {
    let header = ProgramHeader::find(bytes, PT_TLS, None).or_else(|_| spare(bytes))?;
    header.set_kind(bytes, PT_TLS)?;
    header.set_memory_size(bytes, size)
}

/// An object of an unexpected compiler.
pub fn change_producer(bytes: &mut [u8]) -> Done {
    let (at, _) = section(bytes, |_, name| name == b".comment")?;
    write(bytes, at, b"GCC: (")
}

/// Offset and size of the first section of that kind or name.
fn section(bytes: &[u8], is_meant: impl Fn(u32, &[u8]) -> bool) -> Result<(usize, usize), String> {
    let header = section_header(bytes, is_meant)?;
    Ok((u64_at(bytes, header + 24)? as usize, u64_at(bytes, header + 32)? as usize))
}

/// Offset of the first section header of that kind or name.
fn section_header(bytes: &[u8], is_meant: impl Fn(u32, &[u8]) -> bool) -> Result<usize, String> {
    const ENTRY_BYTES: usize = 64;
    let table = u64_at(bytes, 40)? as usize;
    let field = |index: u16, at: usize| u64_at(bytes, table + ENTRY_BYTES * usize::from(index) + at);
    let names = field(u16_at(bytes, 62)?, 24)? as usize;
    for index in 0..u16_at(bytes, 60)? {
        let words = table + ENTRY_BYTES * usize::from(index);
        let name = bytes.get(names + u32_at(bytes, words)? as usize..).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if is_meant(u32_at(bytes, words + 4)?, name) {
            return Ok(words);
        }
    }
    Err("no such section".into())
}

/// The first block of a packed file is the original's headers; here they are stored as they are, but for the edit.
pub fn change_inner_headers(
    packed: &mut Vec<u8>,
    original: &[u8],
    edit: impl FnOnce(&mut [u8]) -> Done,
) -> Done {
    let block = loader_info(packed)? + 24;
    let (size, compressed) = (u32_at(packed, block)?, u32_at(packed, block + 4)?);
    let mut headers =
        original.get(..size as usize).ok_or("the original is shorter than its headers")?.to_vec();
    edit(&mut headers)?;
    write(packed, block + 4, &size.to_le_bytes())?;
    // Method and filter 0: stored.
    write(packed, block + 8, &[0, 0])?;
    let data = block + 12;
    if packed.len() < data + compressed as usize {
        return Err("the first block ends beyond the file".into());
    }
    packed.splice(data..data + compressed as usize, headers);
    Ok(())
}

/// Changes the owner of the build-id note.
pub fn lose_build_id(bytes: &mut [u8]) -> Done {
    let at = build_id_note(bytes)?;
    write(bytes, at + 12, b"gnu\0")
}

/// Another build-id of the same length.
pub fn change_build_id(bytes: &mut [u8]) -> Done {
    let at = build_id_note(bytes)?;
    flip(bytes, at + 16, 0xff)
}

/// Length of the name 4, of the id 20, kind 3, the name.
fn build_id_note(bytes: &[u8]) -> Result<usize, String> {
    const START: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    find(bytes, START).ok_or_else(|| "no build-id note of 20 bytes".into())
}

/// Gives the symbol another name of the same length.
pub fn rename_symbol(bytes: &mut [u8], from: &str, to: &str) -> Done {
    let whole: Vec<u8> = [b"\0", from.as_bytes(), b"\0"].concat();
    let mut done = Err(format!("no symbol `{from}`"));
    let mut start = 0;
    // The name may stand in data as well; all of them are changed, the one of the symbol table with them.
    while let Some(at) = find(&bytes[start..], &whole) {
        done = write(bytes, start + at + 1, to.as_bytes());
        start += at + 1;
    }
    done
}

/// Wrong inside: no stack size, an executable stack, a writable executable segment and an interpreter.
pub fn inner(bytes: &mut [u8]) -> Done {
    let stack = ProgramHeader::find(bytes, PT_GNU_STACK, None)?;
    stack.set_memory_size(bytes, 0)?;
    stack.set_flags(bytes, READ_WRITE_EXECUTE)?;
    ProgramHeader::find(bytes, PT_LOAD, Some(READ_WRITE))?.set_flags(bytes, READ_WRITE_EXECUTE)?;
    let spare = ProgramHeader::find(bytes, PT_NOTE, None)?;
    spare.set_kind(bytes, PT_INTERP)
}

/// Right outside: what a reader of headers expects.
pub fn disguise(packed: &mut [u8], stack_size: u64) -> Done {
    let stack = ProgramHeader::find(packed, PT_GNU_STACK, None)?;
    stack.set_memory_size(packed, stack_size)?;
    stack.set_flags(packed, READ_WRITE)
}

/// `l_info` of a packed file: right behind the program headers.
pub fn loader_info(packed: &[u8]) -> Result<usize, String> {
    let at = ELF_HEADER_BYTES + ENTRY_BYTES * usize::from(u16_at(packed, 56)?);
    match packed.get(at + 4..at + 8) {
        Some(b"UPX!") => Ok(at),
        _ => Err("no `l_info` behind the program headers".into()),
    }
}

/// The code that runs first: where the entry point is in the file.
pub fn entry_offset(bytes: &[u8]) -> Result<usize, String> {
    let entry = u64_at(bytes, 24)?;
    let load = ProgramHeader::find(bytes, PT_LOAD, Some(5))?;
    let inside = entry.checked_sub(load.address(bytes)?).ok_or("the entry point is outside of the code")?;
    Ok(load.offset(bytes)? + inside as usize)
}

pub fn flip(bytes: &mut [u8], at: usize, mask: u8) -> Done {
    let byte = bytes.get_mut(at).ok_or_else(|| format!("the file ends before byte {at}"))?;
    *byte ^= mask;
    Ok(())
}

/// Turns each `vfmadd231ps` on registers of AVX-512 into `vfmadd132ps`.
pub fn replace_multiply_adds(bytes: &mut [u8]) -> Done {
    const EVEX: u8 = 0x62;
    /// Of the second byte, the map of opcodes that begin with 0F 38.
    const MAP: u8 = 0b111;
    const MAP_0F38: u8 = 2;
    const VFMADD231PS: u8 = 0xb8;
    const VFMADD132PS: u8 = 0x98;
    let mut found = false;
    for at in 0..bytes.len().saturating_sub(5) {
        if bytes[at] == EVEX && bytes[at + 1] & MAP == MAP_0F38 && bytes[at + 4] == VFMADD231PS {
            bytes[at + 4] = VFMADD132PS;
            found = true;
        }
    }
    if found { Ok(()) } else { Err("the file has no vfmadd231ps on registers of AVX-512".into()) }
}

pub fn write(bytes: &mut [u8], at: usize, new: &[u8]) -> Done {
    let place = at.checked_add(new.len()).and_then(|end| bytes.get_mut(at..end));
    place.ok_or_else(|| format!("the file ends before byte {at}"))?.copy_from_slice(new);
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    Ok(u16::from_le_bytes(array(bytes, at)?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    Ok(u32::from_le_bytes(array(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    Ok(u64::from_le_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().ok_or_else(|| format!("the file ends before byte {at}"))
}
