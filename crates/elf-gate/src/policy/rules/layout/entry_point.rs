//! The entry point: in code, at the start of a function, with instructions.

use elf_facts::facts::{EntryPoint, Facts, FileKind, Header, PT_LOAD, Segment};

use crate::policy::check_result::CheckResult;
use crate::policy::rules::layout::problems::{Hex, Problems};

const X86_64: u16 = 62;
const I386: u16 = 3;
const AARCH64: u16 = 183;

/// The executable PT_LOAD that loads the first instruction from the file.
pub(super) fn code_segment<'a>(header: &Header, segments: &'a [Segment]) -> Option<&'a Segment> {
    let mut code =
        segments.iter().filter(|segment| segment.kind_number == PT_LOAD && segment.is_executable());
    code.find(|segment| segment.offset_of(header.entry).is_some())
}

pub(super) fn check(facts: &Facts) -> CheckResult {
    const EXPECTED: &str = "the first instruction of a function";
    let (header, entry) = (&facts.header, &facts.entry_point);
    let is_library = matches!(facts.kind, FileKind::SharedObject | FileKind::Undecided);
    if is_library && header.entry == 0 {
        return CheckResult::pass_if(true, EXPECTED, "none; a library needs none");
    }
    let mut problems = Problems::default();
    problems.require(
        entry.offset.is_some(),
        "e_entry",
        "an address in the file part of an executable PT_LOAD",
        Hex(header.entry),
    );
    if entry.offset.is_some() && !is_library {
        start_of_function(facts, entry, &mut problems);
        instructions(header, &entry.code, &mut problems);
    }
    let found = match &entry.symbol {
        Some(symbol) => format!("`{symbol}` at {:#x}", header.entry),
        None => format!("{:#x}", header.entry),
    };
    let result = problems.result(EXPECTED);
    match result.items.is_empty() {
        true => CheckResult::pass_if(true, EXPECTED, found),
        false => result,
    }
}

/// A symbol decides. Without one the unwind table does, then the start code of a libc or the bytes before the entry point.
fn start_of_function(facts: &Facts, entry: &EntryPoint, problems: &mut Problems) {
    let address = facts.header.entry;
    if facts.symbols.is_some() && entry.symbol.is_none() && facts.upx.is_none() {
        let start = entry.start_symbol.map_or("a symbol".into(), |start| format!("`_start` at {start:#x}"));
        return problems.require(false, "e_entry", start, format_args!("{address:#x}, which has no symbol"));
    }
    if let Some(symbol) = &entry.symbol {
        // Another function starts nothing: it finds neither arguments nor TLS.
        let start = entry.start_symbol.unwrap_or(address);
        let found = format_args!("`{symbol}` at {address:#x}");
        return problems.require(start == address, "e_entry", format_args!("`_start` at {start:#x}"), found);
    }
    if let Some(function) = entry.function {
        return problems.require(
            function.start == address,
            "e_entry",
            "the start of a function",
            format_args!("{address:#x}, inside of the function {:#x}..{:#x}", function.start, function.end),
        );
    }
    if facts.header.machine_number == X86_64 && facts.upx.is_none() {
        problems.require(
            is_start_code(&entry.code)
                || facts.sections.iter().any(|section| section.address == address)
                || ends_function(&entry.code_before),
            "e_entry",
            "the start of a function",
            format_args!("{address:#x}, behind bytes that end no function"),
        );
    }
}

/// The end of a function or the padding after it: `ret`, a jump, a call that does not return, `ud2`, `hlt`, `int3`, `nop`.
fn ends_function(before: &[u8]) -> bool {
    const LONG_NOPS: [&[u8]; 4] =
        [&[0x0f, 0x1f, 0], &[0x0f, 0x1f, 0x40, 0], &[0x0f, 0x1f, 0x44, 0, 0], &[0; 4]];
    let from_end = |distance: usize| before.len().checked_sub(distance).and_then(|at| before.get(at));
    matches!(
        before,
        [] | [.., 0xc3 | 0xcb | 0xcc | 0x90 | 0xf4] | [.., 0x0f, 0x0b | 0x05] | [.., 0xff, 0xe0..=0xe7]
    ) || matches!(from_end(2), Some(0xeb))
        || matches!(from_end(3), Some(0xc2))
        || matches!(from_end(5), Some(0xe8 | 0xe9))
        || before.len() >= 6 && before[before.len() - 6..].starts_with(&[0xff, 0x25])
        || LONG_NOPS.iter().any(|nop| before.ends_with(nop))
}

/// `xor %ebp,%ebp` in its encodings, after an optional `endbr64`: the first instruction of musl and glibc.
fn is_start_code(code: &[u8]) -> bool {
    let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    let code = code.strip_prefix(&[0x48]).unwrap_or(code);
    matches!(code, [0x31 | 0x33, 0xed, ..])
}

/// Instructions up to the first branch. A processor without a decoder here is judged by its alignment only.
fn instructions(header: &Header, code: &[u8], problems: &mut Problems) {
    let problem = match header.machine_number {
        X86_64 | I386 => invalid_x86(code, header.machine_number, header.entry),
        AARCH64 => invalid_aarch64(code, header.entry),
        _ => None,
    };
    if let Some(problem) = problem {
        problems.add(format_args!("code at e_entry {:#x}: {problem}", header.entry));
    }
}

fn invalid_x86(code: &[u8], machine: u16, entry: u64) -> Option<String> {
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};
    // The longest instruction; the last bytes may be cut.
    const INSTRUCTION_BYTES_MAX: usize = 15;
    let bitness = if machine == I386 { 32 } else { 64 };
    if code.len() >= 4 && code[..4] == [0; 4] {
        return Some("expected instructions, found zeros".into());
    }
    let mut decoder = Decoder::with_ip(bitness, code, entry, DecoderOptions::NONE);
    while decoder.can_decode()
        && (decoder.position() == 0 || decoder.position() + INSTRUCTION_BYTES_MAX <= code.len())
    {
        let at = decoder.position();
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Some(format!("expected an instruction at byte {at}, found an invalid one"));
        }
        let stops = matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::Hlt | Mnemonic::Ud2);
        if stops && at == 0 {
            return Some(format!("expected start code, found `{:?}`", instruction.mnemonic()));
        }
        let is_branch = instruction.near_branch_target() != 0
            || matches!(
                instruction.mnemonic(),
                Mnemonic::Jmp | Mnemonic::Call | Mnemonic::Ret | Mnemonic::Syscall | Mnemonic::Int
            );
        // What follows a branch may be data.
        if is_branch || stops {
            return None;
        }
    }
    let is_cut = code.len() < INSTRUCTION_BYTES_MAX;
    is_cut.then(|| format!("expected instructions up to a branch, found an end after {} bytes", code.len()))
}

fn invalid_aarch64(code: &[u8], entry: u64) -> Option<String> {
    if !entry.is_multiple_of(4) {
        return Some("expected a multiple of 4".into());
    }
    let first = u32::from_le_bytes(*code.first_chunk()?);
    // Bits 25 to 28 are the group of the instruction; 0 is `udf` and unallocated.
    let group = first.to_le_bytes()[3] >> 1 & 0xf;
    (group == 0).then(|| format!("expected an instruction, found {first:08x}"))
}
