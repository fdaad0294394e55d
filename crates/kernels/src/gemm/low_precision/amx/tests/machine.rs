//! An interpreter of the instructions that a block has. It panics on any other instruction.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::super::blocks::{Block, Function};
use super::super::{BLOCK_BYTES, Configuration, TILE_ROWS};

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Products have their operands in the other order.
    SwapsOperands,
    /// A product replaces its sums.
    ForgetsSums,
    /// The second tile of weights is the first one.
    RepeatsWeights,
    /// The lower rows are not stored.
    SkipsLowerRows,
    /// The second terms of rows are the first ones.
    ForgetsSecondTermsOfRows,
    /// The second terms of weights are the first ones.
    ForgetsSecondTermsOfWeights,
}

impl Mutation {
    pub const ALL: [Self; 4] =
        [Self::SwapsOperands, Self::ForgetsSums, Self::RepeatsWeights, Self::SkipsLowerRows];
    /// Those of products with two terms only.
    pub const OF_TWO_TERMS: [Self; 2] = [Self::ForgetsSecondTermsOfRows, Self::ForgetsSecondTermsOfWeights];

    /// Changes the arguments of a block, if this is a defect of them.
    pub fn apply(self, block: &mut Block) {
        match self {
            Self::ForgetsSecondTermsOfRows => (block.x_low, block.x_lower_low) = (0, block.x_lower),
            Self::ForgetsSecondTermsOfWeights => block.w_low = 0,
            _ => {}
        }
    }
}

type Tile = [[u8; BLOCK_BYTES]; TILE_ROWS];

pub struct Machine {
    /// By the number of the register.
    registers: [u64; 16],
    /// The flag that conditional jumps read.
    is_zero: bool,
    tiles: [Tile; 8],
    /// Rows of each tile.
    rows: [usize; 8],
    mutation: Option<Mutation>,
}

impl Machine {
    pub fn new(configuration: &Configuration, mutation: Option<Mutation>) -> Self {
        let rows = std::array::from_fn(|tile| usize::from(configuration.rows[tile]));
        // Registers that no instruction has written hold no address.
        Machine {
            registers: [u64::MAX; 16],
            is_zero: false,
            tiles: [[[0xff; BLOCK_BYTES]; TILE_ROWS]; 8],
            rows,
            mutation,
        }
    }

    /// Interprets a function up to its return.
    ///
    /// # Safety
    ///
    /// The function is one of the blocks, and its argument is valid.
    pub unsafe fn run(&mut self, function: Function, block: *const Block) {
        *self.register(Register::RDI) = block as u64;
        let mut ip = function as usize as u64;
        loop {
            // SAFETY: instructions of the function; the longest one has 15 bytes, and other functions or constants follow it.
            let code = unsafe { std::slice::from_raw_parts(ip as *const u8, 15) };
            let instruction = Decoder::with_ip(64, code, ip, DecoderOptions::NONE).decode();
            ip = instruction.next_ip();
            match instruction.mnemonic() {
                Mnemonic::Ret => return,
                Mnemonic::Je if self.is_zero => ip = instruction.near_branch_target(),
                Mnemonic::Jne if !self.is_zero => ip = instruction.near_branch_target(),
                Mnemonic::Je | Mnemonic::Jne => {}
                // SAFETY: as the caller promises.
                _ => unsafe { self.step(&instruction) },
            }
        }
    }

    /// Executes an instruction that is no jump.
    ///
    /// # Safety
    ///
    /// The memory operand is valid.
    unsafe fn step(&mut self, instruction: &Instruction) {
        let target = instruction.op0_register();
        match instruction.mnemonic() {
            Mnemonic::Mov => {
                // SAFETY: as the caller promises.
                *self.register(target) = unsafe { self.operand(instruction) };
            }
            Mnemonic::Add => {
                // SAFETY: as the caller promises.
                let sum = self.register(target).wrapping_add(unsafe { self.operand(instruction) });
                *self.register(target) = sum;
                self.is_zero = sum == 0;
            }
            Mnemonic::Cmp => {
                // SAFETY: as the caller promises.
                self.is_zero = *self.register(target) == unsafe { self.operand(instruction) };
            }
            // What these request and do is not visible.
            Mnemonic::Nop | Mnemonic::Prefetcht1 => {}
            Mnemonic::Dec => {
                *self.register(target) -= 1;
                self.is_zero = *self.register(target) == 0;
            }
            Mnemonic::Xor => {
                assert_eq!(target, instruction.op1_register(), "sets a register to zero");
                *self.register(target) = 0;
            }
            // SAFETY: as the caller promises.
            Mnemonic::Tileloadd => unsafe { self.load(instruction) },
            // SAFETY: as the caller promises.
            Mnemonic::Tilestored => unsafe { self.store(instruction) },
            Mnemonic::Tdpbf16ps => self.multiply(instruction, dot_bf16),
            Mnemonic::Tdpbusd => self.multiply(instruction, dot_bytes),
            _ => panic!("a block has no {instruction:?}"),
        }
    }

    /// A general register; one of 32 bits is the lower half, and writing it clears the upper half.
    fn register(&mut self, register: Register) -> &mut u64 {
        &mut self.registers[register.full_register().number()]
    }

    /// The second operand, a number or memory.
    ///
    /// # Safety
    ///
    /// The memory operand is valid.
    unsafe fn operand(&mut self, instruction: &Instruction) -> u64 {
        match instruction.op1_kind() {
            OpKind::Memory => {
                assert_eq!(instruction.memory_index(), Register::None);
                // SAFETY: as the caller promises.
                unsafe { (self.address(instruction) as *const u64).read_unaligned() }
            }
            OpKind::Register => *self.register(instruction.op1_register()),
            OpKind::Immediate32 => u64::from(instruction.immediate32()),
            OpKind::Immediate8to64 => instruction.immediate8to64() as u64,
            OpKind::Immediate32to64 => instruction.immediate32to64() as u64,
            kind => panic!("{kind:?} of {instruction:?}"),
        }
    }

    /// Base and displacement of the memory operand.
    fn address(&mut self, instruction: &Instruction) -> u64 {
        self.register(instruction.memory_base()).wrapping_add(instruction.memory_displacement64())
    }

    /// Where the rows of a tile are: the start, and the distance, which is the index of the memory operand.
    fn rows_of(&mut self, instruction: &Instruction) -> (u64, u64) {
        let stride = *self.register(instruction.memory_index());
        (self.address(instruction), stride * u64::from(instruction.memory_index_scale()))
    }

    /// # Safety
    ///
    /// The rows of the tile can be read.
    unsafe fn load(&mut self, instruction: &Instruction) {
        let (tile, (start, stride)) = (instruction.op0_register().number(), self.rows_of(instruction));
        if self.mutation == Some(Mutation::RepeatsWeights) && tile == 7 {
            self.tiles[7] = self.tiles[6];
            return;
        }
        self.tiles[tile] = [[0; BLOCK_BYTES]; TILE_ROWS];
        for row in 0..self.rows[tile] {
            // SAFETY: as the caller promises.
            self.tiles[tile][row] = unsafe { ((start + row as u64 * stride) as *const Row).read_unaligned() };
        }
    }

    /// # Safety
    ///
    /// The rows of the tile can be written.
    unsafe fn store(&mut self, instruction: &Instruction) {
        let (tile, (start, stride)) = (instruction.op1_register().number(), self.rows_of(instruction));
        if self.mutation == Some(Mutation::SkipsLowerRows) && (self.rows[tile] < TILE_ROWS || tile > 1) {
            return;
        }
        for row in 0..self.rows[tile] {
            // SAFETY: as the caller promises.
            unsafe { ((start + row as u64 * stride) as *mut Row).write_unaligned(self.tiles[tile][row]) };
        }
    }

    /// Adds the products of two tiles; `dot` adds those of a row with a column.
    fn multiply(
        &mut self,
        instruction: &Instruction,
        dot: fn(&[Group; TILE_ROWS], &[Group; TILE_ROWS], Group) -> Group,
    ) {
        let [sums, mut a, mut b] =
            [instruction.op0_register(), instruction.op1_register(), instruction.op2_register()]
                .map(|register| register.number());
        assert_eq!(self.rows[sums], self.rows[a], "rows of {instruction:?}");
        assert_eq!(self.rows[b], BLOCK_BYTES / 4, "rows of {instruction:?}");
        if self.mutation == Some(Mutation::SwapsOperands) {
            (a, b) = (b, a);
        }
        for row in 0..self.rows[sums] {
            let of_row = std::array::from_fn(|k| group(&self.tiles[a][row], k));
            for column in 0..BLOCK_BYTES / 4 {
                let sum = match self.mutation {
                    Some(Mutation::ForgetsSums) => [0; 4],
                    _ => group(&self.tiles[sums][row], column),
                };
                let of_column = std::array::from_fn(|k| group(&self.tiles[b][k], column));
                let sum = dot(&of_row, &of_column, sum);
                self.tiles[sums][row][4 * column..][..4].copy_from_slice(&sum);
            }
        }
    }
}

type Row = [u8; BLOCK_BYTES];
type Group = [u8; 4];

fn group(row: &Row, index: usize) -> Group {
    std::array::from_fn(|i| row[4 * index + i])
}

/// Products of bf16 with a sum of f32, by the definition of the instruction: fused multiply-adds of the even and of the odd elements
/// in a chain each, whose sum is added. Denormals are read and written as zero.
fn dot_bf16(a: &[Group; TILE_ROWS], b: &[Group; TILE_ROWS], sum: Group) -> Group {
    let bf16 = |group: Group, i: usize| {
        without_denormals(f32::from_bits(u32::from_le_bytes([0, 0, group[2 * i], group[2 * i + 1]])))
    };
    let chain = |i: usize| {
        a.iter().zip(b).fold(0.0, |sum, (a, b)| without_denormals(bf16(*a, i).mul_add(bf16(*b, i), sum)))
    };
    let products = without_denormals(chain(0) + chain(1));
    without_denormals(without_denormals(f32::from_le_bytes(sum)) + products).to_le_bytes()
}

fn without_denormals(value: f32) -> f32 {
    if value.is_subnormal() { f32::copysign(0.0, value) } else { value }
}

/// Products of unsigned with signed bytes.
fn dot_bytes(a: &[Group; TILE_ROWS], b: &[Group; TILE_ROWS], sum: Group) -> Group {
    let pairs = a.as_flattened().iter().zip(b.as_flattened());
    let products = pairs.map(|(a, b)| i32::from(*a) * i32::from(*b as i8));
    products.fold(i32::from_le_bytes(sum), i32::wrapping_add).to_le_bytes()
}
