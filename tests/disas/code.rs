//! A function's machine code as a graph of basic blocks.
//!
//! Decoding follows control flow from the entry, because jump tables lie between instructions: the
//! code generator puts each right behind the jump that reads it, as 32-bit offsets from its start.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A function's instructions and blocks; addresses are offsets in the text section.
pub(super) struct FunctionCode {
    /// Where the function starts.
    pub(super) entry: u64,
    /// All instructions that can be reached, by address.
    pub(super) instructions: BTreeMap<u64, Instruction>,
    /// The targets of a jump through a table, by the jump's address.
    pub(super) tables: BTreeMap<u64, Vec<u64>>,
    /// The blocks' instructions, by the address of the first.
    pub(super) blocks: BTreeMap<u64, Vec<Instruction>>,
}

impl FunctionCode {
    /// Decodes the function at `range` of `text`.
    pub(super) fn decode(text: &[u8], range: &Range<u32>) -> FunctionCode {
        let range = u64::from(range.start)..u64::from(range.end);
        let mut code = FunctionCode {
            entry: range.start,
            instructions: BTreeMap::new(),
            tables: BTreeMap::new(),
            blocks: BTreeMap::new(),
        };
        let mut leaders = BTreeSet::from([range.start]);
        let mut pending = vec![range.start];
        while let Some(mut at) = pending.pop() {
            while !code.instructions.contains_key(&at) {
                assert!(range.contains(&at), "control leaves the function for {at:#x}");
                let bytes = &text[at as usize..range.end as usize];
                let instruction = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode();
                assert_ne!(instruction.code(), Code::INVALID, "no instruction at {at:#x}");
                code.instructions.insert(at, instruction);
                if instruction.flow_control() == FlowControl::IndirectBranch {
                    let targets = jump_table(text, &range, instruction.next_ip(), &leaders);
                    code.tables.insert(at, targets);
                }
                let ends = ends_block(&instruction);
                for next in code.successors(&instruction) {
                    if ends {
                        leaders.insert(next);
                        pending.push(next);
                    }
                }
                if ends {
                    break;
                }
                at = instruction.next_ip();
            }
        }
        let mut last = range.start;
        for (&at, &instruction) in &code.instructions {
            if leaders.contains(&at) {
                last = at;
            }
            code.blocks.entry(last).or_default().push(instruction);
        }
        code
    }

    /// Where an instruction jumps to within the function, if it does.
    pub(super) fn jumps(&self, instruction: &Instruction) -> Vec<u64> {
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                vec![instruction.near_branch_target()]
            }
            FlowControl::IndirectBranch => self.tables[&instruction.ip()].clone(),
            _ => Vec::new(),
        }
    }

    /// Where control can go from an instruction within the function; calls come back.
    fn successors(&self, instruction: &Instruction) -> Vec<u64> {
        let mut next = self.jumps(instruction);
        let falls_through = matches!(
            instruction.flow_control(),
            FlowControl::Next
                | FlowControl::ConditionalBranch
                | FlowControl::Call
                | FlowControl::IndirectCall
        );
        if falls_through {
            next.push(instruction.next_ip());
        }
        next
    }

    /// The blocks that can follow the block at `start`.
    pub(super) fn next_blocks(&self, start: u64) -> Vec<u64> {
        let last = self.blocks[&start].last().expect("blocks are not empty");
        self.successors(last)
    }

    /// The bytes of all its instructions.
    pub(super) fn size(&self) -> usize {
        self.instructions.values().map(Instruction::len).sum()
    }
}

fn ends_block(instruction: &Instruction) -> bool {
    !matches!(
        instruction.flow_control(),
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
    )
}

/// The targets in the jump table at `start`. It ends where code that is known begins: at the latest
/// where its own first target does.
fn jump_table(text: &[u8], function: &Range<u64>, start: u64, known: &BTreeSet<u64>) -> Vec<u64> {
    let mut targets = Vec::new();
    let mut end = known.range(start..).next().copied().unwrap_or(function.end);
    let mut at = start;
    while at + 4 <= end {
        let entry = text[at as usize..][..4].try_into().expect("four bytes");
        let target = start.wrapping_add_signed(i64::from(i32::from_le_bytes(entry)));
        if !function.contains(&target) || (start..at + 4).contains(&target) {
            break;
        }
        if target > start {
            end = end.min(target);
        }
        targets.push(target);
        at += 4;
    }
    assert!(!targets.is_empty(), "an indirect jump without a table behind it, at {start:#x}");
    targets
}

/// The register and the displacement of an operand in memory that has no index.
pub(super) fn based(instruction: &Instruction) -> Option<(Register, i64)> {
    let operands = 0..instruction.op_count();
    let memory = operands.into_iter().any(|op| instruction.op_kind(op) == OpKind::Memory);
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    (memory && base != Register::None && base != Register::RIP && index == Register::None)
        .then(|| (base, instruction.memory_displacement64() as i64))
}

#[test]
fn jump_tables_are_read_and_not_taken_for_code() {
    let mut text = vec![0xff, 0xe0]; // 0: jmp rax
    text.extend(8i32.to_le_bytes()); // 2: the table: 10, 11
    text.extend(9i32.to_le_bytes());
    text.extend([0xc3, 0xc3]); // 10: ret; 11: ret
    let code = FunctionCode::decode(&text, &(0..12));
    assert_eq!(code.tables[&0], [10, 11]);
    assert_eq!(code.blocks.keys().copied().collect::<Vec<_>>(), [0, 10, 11]);
    assert_eq!(code.size(), 4);
}
