//! `table.get`, `table.set`, `table.size`, and the addresses of table elements.
//!
//! A table can grow, and then move, at any call, so its base and length are loaded for each
//! access.

use crate::func::FuncTranslator;
use crate::regions::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use stillframe_abi::Trap;
use stillframe_abi::vmctx::offsets;
use wasmparser::Operator;

/// Bytes of an element, as a shift: elements are references of 64 bits.
const ELEMENT_SHIFT: i64 = 3;

/// The address of element `index` (as popped: of the table's index type). Traps for `trap` if there
/// is no such element. Elements are 64-bit references; access them with [`element_flags`].
pub(crate) fn element_address(
    t: &mut FuncTranslator<'_>,
    table: u32,
    index: Value,
    trap: Trap,
) -> Value {
    let index = match t.env.info.tables[table as usize].is_64() {
        true => index,
        false => t.builder.ins().uextend(types::I64, index),
    };
    let length = load_field(t, table, offsets::TABLE_LENGTH);
    let outside = t.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
    t.trap_if(outside, trap);
    let base = load_field(t, table, offsets::TABLE_BASE);
    let offset = t.builder.ins().ishl_imm_u(index, ELEMENT_SHIFT);
    let address = t.builder.ins().iadd(base, offset);
    // The trap is a branch, and the processor may speculate past it; not past this.
    t.builder.ins().select_spectre_guard(outside, base, address)
}

/// Flags of an access to an element.
pub(crate) fn element_flags(t: &mut FuncTranslator<'_>) -> MemFlagsData {
    Region::TableElements.flags(t.builder.func, MemFlagsData::trusted())
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match *op {
        Operator::TableGet { table } => {
            let index = t.pop();
            let address = element_address(t, table, index, Trap::TableOutOfBounds);
            let flags = element_flags(t);
            let value = t.builder.ins().load(types::I64, flags, address, 0);
            t.push_as(value, t.env.info.tables[table as usize].element());
        }
        Operator::TableSet { table } => {
            let (index, value) = t.pop2();
            let address = element_address(t, table, index, Trap::TableOutOfBounds);
            let flags = element_flags(t);
            t.builder.ins().store(flags, value, address, 0);
        }
        Operator::TableSize { table } => {
            let mut length = load_field(t, table, offsets::TABLE_LENGTH);
            if !t.env.info.tables[table as usize].is_64() {
                length = t.builder.ins().ireduce(types::I32, length);
            }
            t.push(length);
        }
        _ => return false,
    }
    true
}

/// Loads a field of a table's `VMTableDefinition`.
fn load_field(t: &mut FuncTranslator<'_>, table: u32, field: usize) -> Value {
    let (definition, at) = match table.checked_sub(t.env.info.num_imported_tables as u32) {
        Some(defined) => (t.vmctx(), t.env.offsets.table(defined)),
        None => (t.load_vmctx_constant(t.env.offsets.table_import(table)), 0),
    };
    let at = (at + field) as i32;
    t.builder.ins().load(types::I64, MemFlagsData::trusted(), definition, at)
}

#[cfg(test)]
mod tests {
    use crate::ops::memory::tests::{def, has, insts, translated};
    use crate::points::Points;
    use cranelift_codegen::ir::{InstructionData, Opcode};
    use stillframe_abi::Trap;

    #[test]
    fn an_element_is_accessed_behind_a_trap_and_at_a_guarded_address() {
        let functions = translated(
            r#"(module (import "" "" (table i64 0 externref)) (table 1 funcref)
                (func (param i64) (result externref) (table.get 0 (local.get 0)))
                (func (param i32 funcref) (table.set 1 (local.get 0) (local.get 1))))"#,
            false,
        );
        for (func, access) in functions.iter().zip([Opcode::Load, Opcode::Store]) {
            let traps: Vec<_> = insts(func)
                .filter(|(_, data)| data.opcode() == Opcode::Trapnz)
                .map(|(_, data)| data.trap_code().unwrap())
                .collect();
            assert_eq!(traps, [Points::fixed_code(Trap::TableOutOfBounds)], "{func}");
            let last = insts(func).filter(|(_, data)| data.opcode() == access).last();
            let address = match *last.unwrap().1 {
                InstructionData::Load { arg, .. } => arg,
                InstructionData::Store { args, .. } => args[1],
                _ => unreachable!(),
            };
            assert_eq!(def(func, address).opcode(), Opcode::SelectSpectreGuard, "{func}");
        }
    }

    #[test]
    fn the_size_has_the_index_type() {
        let functions = translated(
            "(module (table 1 funcref) (table i64 1 funcref)
                (func (result i32) (table.size 0)) (func (result i64) (table.size 1)))",
            false,
        );
        assert!(has(&functions[0], Opcode::Ireduce));
        assert!(!has(&functions[1], Opcode::Ireduce));
    }
}
