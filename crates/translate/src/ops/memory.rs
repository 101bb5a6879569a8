//! Loads and stores of scalars, `memory.size`, and the addresses that all accesses to memory use.
//!
//! # Bounds
//!
//! ```text
//!   32-bit memory                                 64-bit memory
//!   base                base + length             base          base + length
//!    |  accessible       |  faults ...  |          |  accessible |  anything
//!    '---- MEMORY32_RESERVATION bytes --'
//! ```
//!
//! A 32-bit access cannot leave the reservation, whatever its index and static offset: the
//! processor tests the bounds, and the access is its own check. A 64-bit access is compared with
//! the memory's current length; if it is out of bounds, its *address* becomes 0, by a conditional
//! move that the processor cannot speculate past, and the access faults there (the system maps
//! nothing at the lowest addresses). So in both cases what traps is the access itself, and the
//! runtime finds [`Trap::MemoryOutOfBounds`](stillframe_abi::Trap::MemoryOutOfBounds) at the
//! faulting instruction.
//!
//! Every access to linear memory must be made with the flags that [`access`] gives: they have its
//! alias region (`regions.rs`).

use crate::func::FuncTranslator;
use crate::regions::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value, types};
use stillframe_abi::types::WASM_PAGE_SIZE;
use stillframe_abi::vmctx::{MEMORY32_MAX_ACCESS, offsets};
use wasmparser::{MemArg, MemArgTarget, Operator};

/// The operands of the machine access that carries out one wasm access.
pub(crate) struct Access {
    pub(crate) flags: MemFlagsData,
    pub(crate) address: Value,
    /// To be added to `address` by the access itself; not negative.
    pub(crate) offset: i32,
}

/// The place of an access to `size` bytes at `index` (as popped). For exactly one load or store:
/// its trap code is in the flags.
pub(crate) fn access(
    t: &mut FuncTranslator<'_>,
    memarg: &MemArg,
    index: Value,
    size: u8,
) -> Access {
    let MemArgTarget::Memory(memory) = memarg.target else {
        unreachable!("the validator refuses accesses to arrays");
    };
    let (address, offset) = match t.env.info.memories[memory as usize].is_64() {
        true => (checked_address(t, memory, index, memarg.offset, size), 0),
        false => unchecked_address(t, memory, index, memarg.offset, size),
    };
    let flags = MemFlagsData::new()
        .with_endianness(Endianness::Little)
        .with_trap_code(Some(t.points.memory_site()));
    let flags = region(t, memory).flags(t.builder.func, flags);
    Access { flags, address, offset }
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    if let Some((opcode, ty, memarg)) = load_kind(op) {
        let index = t.pop();
        let Access { flags, address, offset } = access(t, memarg, index, access_size(opcode, ty));
        let flags = t.builder.func.dfg.mem_flags.insert_unchecked(flags);
        let (load, dfg) = t.builder.ins().Load(opcode, ty, flags, offset.into(), address);
        let value = dfg.first_result(load);
        t.push(value);
        return true;
    }
    if let Some((opcode, ty, memarg)) = store_kind(op) {
        let (index, value) = t.pop2();
        let Access { flags, address, offset } = access(t, memarg, index, access_size(opcode, ty));
        let flags = t.builder.func.dfg.mem_flags.insert_unchecked(flags);
        t.builder.ins().Store(opcode, ty, flags, offset.into(), value, address);
        return true;
    }
    if let Operator::MemorySize { mem } = *op {
        let length = load_field(t, mem, offsets::MEMORY_LENGTH, MemFlagsData::trusted());
        let shift = i64::from(WASM_PAGE_SIZE.trailing_zeros());
        let mut pages = t.builder.ins().ushr_imm_u(length, shift);
        if !t.env.info.memories[mem as usize].is_64() {
            pages = t.builder.ins().ireduce(types::I32, pages);
        }
        t.push(pages);
        return true;
    }
    false
}

/// How a load is done: the instruction and the type of the value on the stack.
fn load_kind<'op>(op: &'op Operator<'_>) -> Option<(Opcode, Type, &'op MemArg)> {
    use Opcode::{Load, Sload8, Sload16, Sload32, Uload8, Uload16, Uload32};
    Some(match op {
        Operator::I32Load { memarg } => (Load, types::I32, memarg),
        Operator::I64Load { memarg } => (Load, types::I64, memarg),
        Operator::F32Load { memarg } => (Load, types::F32, memarg),
        Operator::F64Load { memarg } => (Load, types::F64, memarg),
        Operator::I32Load8S { memarg } => (Sload8, types::I32, memarg),
        Operator::I32Load8U { memarg } => (Uload8, types::I32, memarg),
        Operator::I32Load16S { memarg } => (Sload16, types::I32, memarg),
        Operator::I32Load16U { memarg } => (Uload16, types::I32, memarg),
        Operator::I64Load8S { memarg } => (Sload8, types::I64, memarg),
        Operator::I64Load8U { memarg } => (Uload8, types::I64, memarg),
        Operator::I64Load16S { memarg } => (Sload16, types::I64, memarg),
        Operator::I64Load16U { memarg } => (Uload16, types::I64, memarg),
        Operator::I64Load32S { memarg } => (Sload32, types::I64, memarg),
        Operator::I64Load32U { memarg } => (Uload32, types::I64, memarg),
        _ => return None,
    })
}

/// How a store is done: the instruction and the type of the value on the stack.
fn store_kind<'op>(op: &'op Operator<'_>) -> Option<(Opcode, Type, &'op MemArg)> {
    use Opcode::{Istore8, Istore16, Istore32, Store};
    Some(match op {
        Operator::I32Store { memarg } => (Store, types::I32, memarg),
        Operator::I64Store { memarg } => (Store, types::I64, memarg),
        Operator::F32Store { memarg } => (Store, types::F32, memarg),
        Operator::F64Store { memarg } => (Store, types::F64, memarg),
        Operator::I32Store8 { memarg } => (Istore8, types::I32, memarg),
        Operator::I32Store16 { memarg } => (Istore16, types::I32, memarg),
        Operator::I64Store8 { memarg } => (Istore8, types::I64, memarg),
        Operator::I64Store16 { memarg } => (Istore16, types::I64, memarg),
        Operator::I64Store32 { memarg } => (Istore32, types::I64, memarg),
        _ => return None,
    })
}

/// Bytes of memory that the instruction touches.
fn access_size(opcode: Opcode, ty: Type) -> u8 {
    match opcode {
        Opcode::Sload8 | Opcode::Uload8 | Opcode::Istore8 => 1,
        Opcode::Sload16 | Opcode::Uload16 | Opcode::Istore16 => 2,
        Opcode::Sload32 | Opcode::Uload32 | Opcode::Istore32 => 4,
        _ => ty.bytes() as u8,
    }
}

/// Address and offset of an access to a 32-bit memory: in bounds, or in the part of the
/// reservation that faults.
fn unchecked_address(
    t: &mut FuncTranslator<'_>,
    memory: u32,
    index: Value,
    offset: u64,
    size: u8,
) -> (Value, i32) {
    assert!(usize::from(size) <= MEMORY32_MAX_ACCESS, "the reservation allows for no such access");
    let base = load_field(t, memory, offsets::MEMORY_BASE, FuncTranslator::constant_flags());
    let index = t.builder.ins().uextend(types::I64, index);
    let address = t.builder.ins().iadd(base, index);
    match i32::try_from(offset) {
        Ok(offset) => (address, offset),
        // Cranelift's offsets are signed; the validator has made sure that this is below 2^32.
        Err(_) => (t.builder.ins().iadd_imm_s(address, offset as i64), 0),
    }
}

/// The address of an access to a 64-bit memory, the static offset included; 0 if any of its bytes
/// is out of bounds.
fn checked_address(
    t: &mut FuncTranslator<'_>,
    memory: u32,
    index: Value,
    offset: u64,
    size: u8,
) -> Value {
    let null = t.builder.ins().iconst(types::I64, 0);
    // The access is in bounds if `index + extent <= length` without overflow. That is
    // `index <= length - extent`, if the memory has `extent` bytes at all.
    let Some(extent) = offset.checked_add(u64::from(size)) else { return null };
    let length = load_field(t, memory, offsets::MEMORY_LENGTH, MemFlagsData::trusted());
    let extent_value = t.builder.ins().iconst(types::I64, extent as i64);
    let last = t.builder.ins().isub(length, extent_value);
    let mut outside = t.builder.ins().icmp(IntCC::UnsignedGreaterThan, index, last);
    let minimum = t.env.info.memories[memory as usize].minimum();
    if extent > minimum.saturating_mul(WASM_PAGE_SIZE) {
        let short = t.builder.ins().icmp(IntCC::UnsignedLessThan, length, extent_value);
        outside = t.builder.ins().bor(outside, short);
    }

    let base = load_field(t, memory, offsets::MEMORY_BASE, MemFlagsData::trusted());
    let mut address = t.builder.ins().iadd(base, index);
    if offset != 0 {
        // Before the guard and not after: also a speculated access must go to address 0.
        address = t.builder.ins().iadd_imm_s(address, offset as i64);
    }
    t.builder.ins().select_spectre_guard(outside, null, address)
}

/// Loads a field of a memory's `VMMemoryDefinition`.
fn load_field(t: &mut FuncTranslator<'_>, memory: u32, field: usize, flags: MemFlagsData) -> Value {
    let (definition, at) = match memory.checked_sub(t.env.info.num_imported_memories as u32) {
        Some(defined) => (t.vmctx(), t.env.offsets.memory(defined)),
        None => (t.load_vmctx_constant(t.env.offsets.memory_import(memory)), 0),
    };
    t.builder.ins().load(types::I64, flags, definition, (at + field) as i32)
}

/// The alias region of a memory.
fn region(t: &FuncTranslator<'_>, memory: u32) -> Region {
    match memory.checked_sub(t.env.info.num_imported_memories as u32) {
        Some(defined) => Region::DefinedMemory(defined),
        None => Region::ImportedMemories,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::costs::OperatorCosts;
    use crate::env::{Metering, ModuleEnv};
    use cranelift_codegen::ir::{Function, Inst, InstructionData};
    use cranelift_codegen::settings::{self, Flags};
    use std::collections::HashSet;
    use stillframe_abi::vmctx::VMOffsets;

    /// The functions of a module, translated and not compiled.
    pub(crate) fn translated(wat: &str, fuel: bool) -> Vec<Function> {
        let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
        let module = crate::module::parse(&wasm).unwrap();
        let isa = cranelift_native::builder().unwrap();
        let isa = isa.finish(Flags::new(settings::builder())).unwrap();
        let metering = Metering { fuel, epochs: false, costs: OperatorCosts::default() };
        let env = ModuleEnv {
            info: &module.info,
            offsets: VMOffsets::new(&module.info),
            isa: &*isa,
            plain_isa: &*isa,
            single_pass_isa: &*isa,
            plain: false,
            single_pass: false,
            metering: &metering,
            inlinable: Default::default(),
            // What is stored for frames has tests of its own.
            frame_state: stillframe_abi::artifact::FrameState::Off,
            frame_writes: false,
        };
        let mut functions = Vec::new();
        for (index, (validator, body)) in (0..).zip(module.bodies) {
            let index = index + env.info.num_imported_functions as u32;
            let mut func = Function::new();
            crate::func::translate_function(
                &env,
                index,
                &body,
                &mut validator.into_validator(Default::default()),
                &mut func,
                &mut Default::default(),
                crate::frame_state::Way::Usual,
            )
            .unwrap();
            functions.push(func);
        }
        functions
    }

    /// All instructions of a function.
    pub(crate) fn insts(func: &Function) -> impl Iterator<Item = (Inst, &InstructionData)> {
        let blocks = func.layout.blocks();
        blocks.flat_map(|b| func.layout.block_insts(b)).map(|inst| (inst, &func.dfg.insts[inst]))
    }

    pub(crate) fn has(func: &Function, opcode: Opcode) -> bool {
        insts(func).any(|(_, data)| data.opcode() == opcode)
    }

    /// The instruction that defines a value.
    pub(crate) fn def(func: &Function, value: Value) -> &InstructionData {
        let value = func.dfg.resolve_aliases(value);
        &func.dfg.insts[func.dfg.value_def(value).unwrap_inst()]
    }

    /// Flags, address and offset of all accesses to linear memory.
    fn accesses(func: &Function) -> Vec<(MemFlagsData, Value, i32)> {
        let accesses = insts(func).filter_map(|(_, data)| match *data {
            InstructionData::Load { flags, arg, offset, .. } => Some((flags, arg, offset)),
            InstructionData::Store { flags, args, offset, .. } => Some((flags, args[1], offset)),
            _ => None,
        });
        accesses
            .map(|(flags, address, offset)| (func.dfg.mem_flags[flags], address, offset.into()))
            .filter(|(flags, ..)| !flags.notrap())
            .collect()
    }

    #[test]
    fn a_32_bit_access_is_not_compared_with_anything() {
        let functions = translated(
            r#"(module (import "" "" (memory 0)) (memory 1)
                (func (param i32) (result i64)
                    (i64.store offset=0xffffffff (local.get 0) (i64.const 1))
                    (i64.load 1 offset=0x7fffffff (local.get 0))))"#,
            false,
        );
        let func = &functions[0];
        for opcode in [Opcode::Icmp, Opcode::Trapnz, Opcode::Brif, Opcode::SelectSpectreGuard] {
            assert!(!has(func, opcode), "{func}");
        }
        let offsets: Vec<_> = accesses(func).into_iter().map(|(.., offset)| offset).collect();
        assert_eq!(offsets, [0, i32::MAX], "{func}");
    }

    #[test]
    fn a_64_bit_access_out_of_bounds_goes_to_address_0() {
        let functions = translated(
            r#"(module (memory i64 1)
                (func (param i64) (result i64)
                    (i64.store offset=0x12345 (local.get 0) (i64.const 1))
                    (i64.load offset=8 (local.get 0)))
                (func (param i64) (result i64)
                    (i64.load offset=0xfffffffffffffff8 (local.get 0))))"#,
            false,
        );
        let is_0 = |func, value| match *def(func, value) {
            InstructionData::UnaryImm { imm, .. } => imm.bits() == 0,
            _ => false,
        };
        let func = &functions[0];
        assert_eq!(accesses(func).len(), 2);
        for (_, address, offset) in accesses(func) {
            let &InstructionData::Ternary { opcode: Opcode::SelectSpectreGuard, args } =
                def(func, address)
            else {
                panic!("no guard:\n{func}");
            };
            assert!(is_0(func, args[1]) && offset == 0, "{func}");
        }
        // No memory is large enough for this one.
        let func = &functions[1];
        let (_, address, offset) = accesses(func)[0];
        assert!(is_0(func, address) && offset == 0, "{func}");
    }

    #[test]
    fn only_a_64_bit_access_beyond_the_declared_minimum_is_compared_twice() {
        let functions = translated(
            r#"(module (memory i64 1)
                (func (param i64) (result i32) (i32.load8_u offset=0xffff (local.get 0)))
                (func (param i64) (result i32) (i32.load8_u offset=0x10000 (local.get 0))))"#,
            false,
        );
        let compares = |func| insts(func).filter(|(_, d)| d.opcode() == Opcode::Icmp).count();
        assert_eq!(functions.iter().map(compares).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn every_access_is_little_endian_and_traps_with_a_code_of_its_own() {
        let functions = translated(
            r#"(module (memory 1) (memory i64 1)
                (func (param i32 i64)
                    (drop (i32.load (local.get 0))) (drop (f32.load (local.get 0)))
                    (drop (i64.load32_s (local.get 0))) (drop (f64.load 1 (local.get 1)))
                    (i32.store8 (local.get 0) (i32.const 1))
                    (i64.store16 1 (local.get 1) (i64.const 1))))"#,
            false,
        );
        let accesses = accesses(&functions[0]);
        let codes: HashSet<_> = accesses.iter().map(|(flags, ..)| flags.trap_code()).collect();
        assert_eq!((accesses.len(), codes.len()), (6, 6));
        for (flags, ..) in accesses {
            assert_eq!(flags.explicit_endianness(), Some(Endianness::Little));
            assert!(!flags.aligned() && !flags.can_move() && !flags.readonly());
        }
    }

    #[test]
    fn memories_share_an_alias_region_if_they_can_be_the_same() {
        let functions = translated(
            r#"(module (import "" "a" (memory 0)) (import "" "b" (memory 0))
                (memory 1) (memory 1)
                (func (param i32)
                    (drop (i32.load 0 (local.get 0))) (drop (i32.load 1 (local.get 0)))
                    (drop (i32.load 2 (local.get 0))) (drop (i32.load 3 (local.get 0)))
                    (drop (i32.load 2 (local.get 0)))))"#,
            false,
        );
        let regions: Vec<_> =
            accesses(&functions[0]).iter().map(|(flags, ..)| flags.alias_region()).collect();
        assert!(regions.iter().all(Option::is_some));
        assert_eq!(regions[0], regions[1]);
        assert_eq!(regions[2], regions[4]);
        assert_eq!(regions.iter().collect::<HashSet<_>>().len(), 3);
    }
}
