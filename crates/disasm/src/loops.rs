//! Computing loops of x86-64 functions: which vector instructions they execute, and whether they spill registers.
//!
//! A loop is a direct jump backwards inside of a function, and everything between its target and itself. Read are loops of straight
//! code, without calls and other jumps: the loops that compute. Paths for the ends of rows store vectors on purpose. A spill is a vector register that is stored to the stack, or loaded from it: the
//! compiler had more values than registers.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use object::read::elf::{ElfFile, ElfFile64};
use object::{Architecture, Object};

use crate::functions::{self, Piece};
use crate::scan::CodeProblem;
use crate::vectors::{VectorWidth, width};

/// The loops of straight code of a function that compute with vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionLoops {
    /// Mangled names; several at one address.
    pub names: Vec<String>,
    /// Address of the function.
    pub address: u64,
    /// In the order of their addresses.
    pub loops: Vec<VectorLoop>,
}

/// A loop of straight code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorLoop {
    /// Address of its first instruction.
    pub address: u64,
    /// Mnemonic, width of the widest register, and number of each vector instruction.
    pub instructions: Vec<(String, VectorWidth, usize)>,
    /// Addresses of loads and stores of vector registers on the stack.
    pub spills: Vec<u64>,
}

impl VectorLoop {
    /// How often the loop executes an instruction on registers of this width, in one pass.
    pub fn count(&self, mnemonic: &str, registers: VectorWidth) -> usize {
        let same = |(name, width, _): &&(String, VectorWidth, usize)| name == mnemonic && *width == registers;
        self.instructions.iter().find(same).map_or(0, |(.., count)| *count)
    }
}

/// The loops of the functions for which `is_wanted` is true of one of their mangled names. Reads x86-64 only.
pub fn vector_loops(
    bytes: &[u8],
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<FunctionLoops>, CodeProblem> {
    let file: ElfFile64 = ElfFile::parse(bytes)?;
    if file.architecture() != Architecture::X86_64 {
        let machine = format!("{:?}", file.architecture()).to_lowercase();
        return Err(CodeProblem::Malformed(format!("loops of {machine} are not read")));
    }
    let mut found = Vec::new();
    let mut code_bytes = 0_u64;
    functions::for_each(&file, |Piece { names, address, code, .. }| {
        code_bytes = code_bytes.saturating_add(code.len() as u64);
        // Sections of a damaged file may all cover the whole file.
        if code_bytes <= bytes.len() as u64 && names.iter().any(|name| is_wanted(name)) {
            let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            found.push(FunctionLoops { names, address, loops: loops(code, address) });
        }
    })?;
    Ok(found)
}

fn loops(code: &[u8], address: u64) -> Vec<VectorLoop> {
    let decoded: Vec<Instruction> =
        Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter().collect();
    let frame = has_frame_pointer(&decoded);
    let mut ranges: Vec<(u64, u64)> = decoded.iter().filter_map(|jump| backward(jump, address)).collect();
    ranges.sort_unstable();
    ranges.dedup();
    let leaves = |(_, i): &(usize, &Instruction)| i.flow_control() != FlowControl::Next;
    let jumps: Vec<usize> = decoded.iter().enumerate().filter(leaves).map(|(index, _)| index).collect();
    let of_range = ranges.iter().filter_map(|&(start, end)| {
        let first = decoded.partition_point(|instruction| instruction.ip() < start);
        let last = decoded.partition_point(|instruction| instruction.ip() < end);
        // The jump that closes the loop is the first one after its start. So no instruction is in two loops, and a file of jumps
        // takes no more time than another one.
        let next_jump = jumps.get(jumps.partition_point(|jump| *jump < first))?;
        (*next_jump == last).then(|| vector_loop(start, &decoded[first..last], frame))
    });
    of_range.filter(|found| !found.instructions.is_empty()).collect()
}

/// Start and last instruction of the loop that a jump closes.
fn backward(jump: &Instruction, function: u64) -> Option<(u64, u64)> {
    let is_direct = jump.op_count() == 1 && jump.op0_kind() == OpKind::NearBranch64;
    let is_jump =
        matches!(jump.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch);
    let target = jump.near_branch_target();
    (is_direct && is_jump && (function..=jump.ip()).contains(&target)).then_some((target, jump.ip()))
}

/// Whether RBP is the frame pointer. Otherwise it is a register like others, which can hold the address of an array.
fn has_frame_pointer(code: &[Instruction]) -> bool {
    code.iter().any(|i| {
        matches!(i.code(), Code::Mov_rm64_r64 | Code::Mov_r64_rm64)
            && (i.op0_kind(), i.op1_kind()) == (OpKind::Register, OpKind::Register)
            && (i.op0_register(), i.op1_register()) == (Register::RBP, Register::RSP)
    })
}

fn vector_loop(address: u64, body: &[Instruction], has_frame_pointer: bool) -> VectorLoop {
    let mut found = VectorLoop { address, ..VectorLoop::default() };
    for instruction in body {
        let widest = (0..instruction.op_count())
            .filter(|operand| instruction.op_kind(*operand) == OpKind::Register)
            .map(|operand| width(instruction.op_register(operand)))
            .max();
        let Some(widest) = widest.filter(|widest| *widest > VectorWidth::None) else { continue };
        let name = format!("{:?}", instruction.mnemonic()).to_lowercase();
        match found.instructions.iter_mut().find(|(known, width, _)| *known == name && *width == widest) {
            Some((.., count)) => *count += 1,
            None => found.instructions.push((name, widest, 1)),
        }
        let base = instruction.memory_base();
        let is_stack = base == Register::RSP || has_frame_pointer && base == Register::RBP;
        let has_memory = (0..instruction.op_count()).any(|o| instruction.op_kind(o) == OpKind::Memory);
        if has_memory && is_stack {
            found.spills.push(instruction.ip());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // vfmadd231ps zmm0, zmm1, zmm2
    const FMA: [u8; 6] = [0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2];
    // vmovaps [rsp+64], zmm0
    const SPILL: [u8; 8] = [0x62, 0xf1, 0x7c, 0x48, 0x29, 0x44, 0x24, 0x01];
    // vmovaps zmm0, [rbp+64]
    const OF_RBP: [u8; 7] = [0x62, 0xf1, 0x7c, 0x48, 0x28, 0x45, 0x01];
    // mov rbp, rsp
    const FRAME: [u8; 3] = [0x48, 0x89, 0xe5];
    const RET: u8 = 0xc3;

    /// `before`, then a loop of `body`, then `ret`.
    fn looped(before: &[u8], body: &[&[u8]]) -> Vec<VectorLoop> {
        let mut code = before.to_vec();
        let start = code.len();
        body.iter().for_each(|part| code.extend_from_slice(part));
        // jne
        let back = start as i64 - (code.len() as i64 + 2);
        code.extend([0x75, back as i8 as u8, RET]);
        loops(&code, 0x1000)
    }

    #[test]
    fn counts_the_instructions_of_a_loop_and_not_those_around_it() {
        let [found] = &looped(&FMA, &[&FMA, &FMA])[..] else { panic!("one loop") };
        assert_eq!((found.address, found.count("vfmadd231ps", VectorWidth::Zmm)), (0x1006, 2));
        assert_eq!(found.count("vfmadd231ps", VectorWidth::Ymm), 0);
        assert_eq!(found.spills, []);
        assert_eq!(looped(&FMA, &[&[0x90]]), []);
    }

    #[test]
    fn sees_a_spill_inside_of_a_loop_only() {
        let spills = |before: &[u8], body: &[&[u8]]| looped(before, body)[0].spills.clone();
        assert_eq!(spills(&[], &[&FMA, &SPILL]), [0x1006]);
        assert_eq!(spills(&SPILL, &[&FMA]), []);
        // RBP is the stack only with a frame pointer.
        assert_eq!(spills(&[], &[&FMA, &OF_RBP]), []);
        assert_eq!(spills(&FRAME, &[&FMA, &OF_RBP]), [0x1009]);
    }

    #[test]
    fn a_loop_with_a_call_or_another_jump_is_not_read() {
        let call = [0xe8, 0, 0, 0, 0];
        assert_eq!(looped(&[], &[&FMA, &call]), []);
        let inner_jump = [0x75, 0xf8]; // to the FMA before it
        let found = looped(&[], &[&SPILL, &FMA, &inner_jump]);
        let [inner] = &found[..] else { panic!("{found:?}") };
        assert_eq!((inner.address, inner.spills.len()), (0x1008, 0));
    }
}
