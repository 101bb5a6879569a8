//! What operands in memory are: fields of the context and of what it points to.
//!
//! A function gets its context in a register. From there the pass follows moves between registers,
//! to stack slots and back, and loads of pointers, block by block, along the first way by which each
//! block is reached: a register that is read as a pointer was the same pointer on each way there, or
//! the code would be wrong. This makes comments, and finds calls of the runtime; nothing depends on
//! it but what is shown.

use super::code::{FunctionCode, based};
use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use stillframe_abi::builtins::Builtin;
use stillframe_abi::limits::offsets as limits;
use stillframe_abi::module::{ModuleInfo, NO_SLOT};
use stillframe_abi::vmctx::{VMOffsets, offsets as vmctx};

/// The register that has the context where a function starts.
const CONTEXT_AT_ENTRY: Register = Register::RDI;

/// What a pointer points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Context,
    Limits,
    Builtins,
    Epoch,
    /// Not to data: the code of a function of the runtime.
    Builtin(Builtin),
    /// Not to data: the code of an imported function.
    Import(u32),
    /// Byte 0 of a memory.
    Memory(u32),
    /// Element 0 of a table.
    Table(u32),
}

/// What is known at a place: of registers, and of stack slots by base register and offset.
#[derive(Clone, Default)]
struct Known {
    registers: HashMap<Register, Meaning>,
    slots: HashMap<(Register, i64), Meaning>,
}

impl Known {
    /// Forgets what functions of wasm and of System V do not preserve.
    fn call(&mut self) {
        const PRESERVED: [Register; 5] =
            [Register::RBX, Register::R12, Register::R13, Register::R14, Register::R15];
        self.registers.retain(|register, _| PRESERVED.contains(register));
    }
}

/// What has been found out about a function.
#[derive(Default)]
pub(super) struct Meanings {
    /// Comments on instructions, by address.
    pub(super) comments: BTreeMap<u64, String>,
    /// Blocks that call one of the runtime's checkpoints, by address.
    pub(super) slow: BTreeSet<u64>,
}

impl Meanings {
    /// Finds them out.
    pub(super) fn of(code: &FunctionCode, info: &ModuleInfo) -> Meanings {
        let mut meanings = Meanings::default();
        let mut pass =
            Pass { fields: context_fields(info), factory: InstructionInfoFactory::new() };
        let mut entry = Known::default();
        entry.registers.insert(CONTEXT_AT_ENTRY, Meaning::Context);
        let mut seen = BTreeSet::from([code.entry]);
        let mut pending = VecDeque::from([(code.entry, entry)]);
        while let Some((block, mut known)) = pending.pop_front() {
            for instruction in &code.blocks[&block] {
                let step = pass.step(&mut known, instruction);
                if let Some(comment) = step.comment {
                    meanings.comments.insert(instruction.ip(), comment);
                }
                if step.calls.is_some_and(is_checkpoint) {
                    meanings.slow.insert(block);
                }
            }
            for next in code.next_blocks(block) {
                if seen.insert(next) {
                    pending.push_back((next, known.clone()));
                }
            }
        }
        meanings
    }
}

/// Whether it is called on slow paths only, and preserves all registers.
fn is_checkpoint(builtin: Builtin) -> bool {
    use Builtin::{Checkpoint, CheckpointFor, EpochCheckpoint};
    matches!(builtin, Checkpoint | EpochCheckpoint | CheckpointFor)
}

/// What one instruction is about.
#[derive(Default)]
struct Step {
    comment: Option<String>,
    calls: Option<Builtin>,
}

/// A field of the context: its name, and what its value points to.
type Field = (String, Option<Meaning>);

struct Pass {
    fields: BTreeMap<i64, Field>,
    factory: InstructionInfoFactory,
}

impl Pass {
    fn step(&mut self, known: &mut Known, instruction: &Instruction) -> Step {
        let mut step = Step::default();
        let mut loaded = None;
        if let Some((base, displacement)) = based(instruction) {
            if let Some((name, points_to)) =
                known.registers.get(&base).and_then(|&meaning| self.field(meaning, displacement))
            {
                step.comment = Some(name);
                loaded = points_to;
            } else {
                loaded = known.slots.get(&(base, displacement)).copied();
            }
        } else if let Some(name) = indexed(known, instruction) {
            step.comment = Some(name);
        }

        let target = match instruction.op0_kind() {
            OpKind::Register => known.registers.get(&instruction.op0_register()).copied(),
            OpKind::Memory => loaded,
            _ => None,
        };
        match (instruction.flow_control(), target) {
            (FlowControl::IndirectCall, Some(Meaning::Builtin(builtin))) => {
                step.calls = Some(builtin);
                step.comment = Some(format!("{builtin:?}"));
                if !is_checkpoint(builtin) {
                    known.call();
                }
            }
            (FlowControl::IndirectCall, Some(Meaning::Import(index))) => {
                step.comment = Some(format!("import {index}"));
                known.call();
            }
            (FlowControl::Call | FlowControl::IndirectCall, _) => known.call(),
            _ => self.assign(known, instruction, loaded),
        }
        step
    }

    /// Notes what an instruction writes, where `loaded` is what it reads from memory.
    fn assign(&mut self, known: &mut Known, instruction: &Instruction, loaded: Option<Meaning>) {
        let moves = instruction.mnemonic() == Mnemonic::Mov;
        let value = match instruction.op1_kind() {
            OpKind::Register => known.registers.get(&instruction.op1_register()).copied(),
            OpKind::Memory => loaded,
            _ => None,
        };
        let value = value.filter(|_| moves);
        for used in self.factory.info(instruction).used_registers() {
            let writes = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            if writes {
                known.registers.remove(&used.register().full_register());
            }
        }
        match instruction.op0_kind() {
            OpKind::Register if moves => {
                if let Some(value) = value {
                    known.registers.insert(instruction.op0_register(), value);
                }
            }
            OpKind::Memory if moves => {
                // Only prologues and epilogues move the two registers.
                if let Some(slot) = based(instruction)
                    && matches!(slot.0, Register::RSP | Register::RBP)
                {
                    match value {
                        Some(value) => known.slots.insert(slot, value),
                        None => known.slots.remove(&slot),
                    };
                }
            }
            _ => {}
        }
    }

    /// The field of what a pointer points to.
    fn field(&self, meaning: Meaning, offset: i64) -> Option<Field> {
        let plain = |name: &str| Some((name.to_string(), None));
        match meaning {
            Meaning::Context => self.fields.get(&offset).cloned(),
            Meaning::Limits => plain(limits_field(offset as usize)?),
            Meaning::Builtins => {
                let builtin = Builtin::ALL.into_iter().find(|b| b.offset() as i64 == offset)?;
                Some((format!("builtins.{builtin:?}"), Some(Meaning::Builtin(builtin))))
            }
            Meaning::Epoch => plain("the epoch"),
            Meaning::Memory(_) | Meaning::Table(_) => Some((data(meaning)?, None)),
            Meaning::Builtin(_) | Meaning::Import(_) => None,
        }
    }
}

/// What an operand with two registers reads, if one of the two points to a memory or table.
fn indexed(known: &Known, instruction: &Instruction) -> Option<String> {
    let registers = [instruction.memory_base(), instruction.memory_index()];
    if instruction.mnemonic() == Mnemonic::Lea || registers.contains(&Register::None) {
        return None;
    }
    registers.iter().filter_map(|register| known.registers.get(register)).find_map(|&m| data(m))
}

fn data(meaning: Meaning) -> Option<String> {
    match meaning {
        Meaning::Memory(index) => Some(format!("memory {index}")),
        Meaning::Table(index) => Some(format!("table {index}")),
        _ => None,
    }
}

fn limits_field(offset: usize) -> Option<&'static str> {
    Some(match offset {
        limits::STACK_LIMIT => "limits.stack_limit",
        limits::FUEL_CONSUMED => "limits.fuel_consumed",
        limits::EPOCH_DEADLINE => "limits.epoch_deadline",
        limits::LAST_WASM_EXIT_FP => "limits.last_wasm_exit_fp",
        limits::LAST_WASM_EXIT_PC => "limits.last_wasm_exit_pc",
        limits::LAST_WASM_ENTRY_SP => "limits.last_wasm_entry_sp",
        limits::LAST_WASM_EXIT_SP => "limits.last_wasm_exit_sp",
        limits::EXECUTION_VERSION => "limits.execution_version",
        _ => return None,
    })
}

/// The fields of a module's context, by offset.
fn context_fields(info: &ModuleInfo) -> BTreeMap<i64, Field> {
    let offsets = VMOffsets::new(info);
    let mut fields = BTreeMap::new();
    let mut field = |offset: usize, name: String, points_to: Option<Meaning>| {
        fields.insert(offset as i64, (name, points_to));
    };
    field(vmctx::LIMITS, "vmctx.limits".into(), Some(Meaning::Limits));
    field(vmctx::BUILTINS, "vmctx.builtins".into(), Some(Meaning::Builtins));
    field(vmctx::EPOCH, "vmctx.epoch".into(), Some(Meaning::Epoch));
    field(vmctx::TYPE_IDS, "vmctx.type_ids".into(), None);
    for index in 0..info.num_imported_functions as u32 {
        let at = offsets.function_import(index);
        let points_to = Some(Meaning::Import(index));
        field(at + vmctx::IMPORT_WASM_CALL, format!("import {index}: code"), points_to);
        field(at + vmctx::IMPORT_VMCTX, format!("import {index}: context"), None);
        field(at + vmctx::IMPORT_FUNC_REF, format!("import {index}: reference"), None);
    }
    for defined in 0..info.num_defined_memories() as u32 {
        let (at, index) = (offsets.memory(defined), info.num_imported_memories as u32 + defined);
        let points_to = Some(Meaning::Memory(index));
        field(at + vmctx::MEMORY_BASE, format!("memory {index}: base"), points_to);
        field(at + vmctx::MEMORY_LENGTH, format!("memory {index}: length"), None);
    }
    for defined in 0..info.num_defined_tables() as u32 {
        let (at, index) = (offsets.table(defined), info.num_imported_tables as u32 + defined);
        let points_to = Some(Meaning::Table(index));
        field(at + vmctx::TABLE_BASE, format!("table {index}: base"), points_to);
        field(at + vmctx::TABLE_LENGTH, format!("table {index}: length"), None);
    }
    for (index, &slot) in info.func_ref_slots.iter().enumerate() {
        if slot != NO_SLOT {
            field(offsets.func_ref(slot), format!("reference to function {index}"), None);
        }
    }
    for defined in 0..info.num_defined_globals() as u32 {
        let index = info.num_imported_globals as u32 + defined;
        field(offsets.global(defined), format!("global {index}"), None);
    }
    fields
}
