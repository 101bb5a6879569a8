//! Operations on many bytes or elements at once, and `grow`: the runtime does them.
//!
//! The runtime's functions test the bounds, and leave wasm for good if they are exceeded, so there
//! is nothing to test here. The operands of all of them are on the stack in the order of the
//! builtin's arguments, behind the indices that the operator names.

use crate::costs::BulkUnit;
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use stillframe_abi::builtins::Builtin;
use stillframe_abi::frame_table::WasmPc;
use wasmparser::Operator;

/// The checkpoint, and the charge for each byte, element or page, before `op` at `pc` if it is an
/// operation of which that depends on an operand. Comes before the charge for the operator itself.
pub(crate) fn checkpoint_before(t: &mut FuncTranslator<'_>, op: &Operator<'_>, pc: WasmPc) {
    let Some(unit) = unit_of(op) else { return };
    if !t.env.metering.fuel && !t.env.metering.epochs {
        return;
    }
    // The checkpoint can suspend: it needs a point of its own, where nothing is charged in advance.
    let loc = t.points.start_point(pc, None);
    t.builder.set_srcloc(loc);
    // The number of units is on top of the stack for all of them.
    let units = |t: &mut FuncTranslator<'_>| {
        let units = t.top(1)[0];
        zero_extend(t, units)
    };
    let per_unit = t.env.metering.costs.per_unit(unit);
    let constant = t.last_const;
    t.bulk_checkpoint(units, per_unit, constant);
}

/// What the operation's top operand counts.
fn unit_of(op: &Operator<'_>) -> Option<BulkUnit> {
    Some(match op {
        Operator::MemoryCopy { .. } => BulkUnit::MemoryCopy,
        Operator::MemoryFill { .. } => BulkUnit::MemoryFill,
        Operator::MemoryInit { .. } => BulkUnit::MemoryInit,
        Operator::MemoryGrow { .. } => BulkUnit::MemoryGrow,
        Operator::TableCopy { .. } => BulkUnit::TableCopy,
        Operator::TableFill { .. } => BulkUnit::TableFill,
        Operator::TableInit { .. } => BulkUnit::TableInit,
        Operator::TableGrow { .. } => BulkUnit::TableGrow,
        _ => return None,
    })
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match *op {
        Operator::MemoryCopy { dst_mem, src_mem } => {
            call(t, Builtin::MemoryCopy, &[dst_mem, src_mem]);
        }
        Operator::MemoryFill { mem } => {
            call(t, Builtin::MemoryFill, &[mem]);
        }
        Operator::MemoryInit { data_index, mem } => {
            call(t, Builtin::MemoryInit, &[mem, data_index]);
        }
        Operator::DataDrop { data_index } => {
            call(t, Builtin::DataDrop, &[data_index]);
        }
        Operator::MemoryGrow { mem } => {
            let old = call(t, Builtin::MemoryGrow, &[mem]);
            let is_64 = t.env.info.memories[mem as usize].is_64();
            push_old_size(t, old, is_64);
        }
        Operator::TableCopy { dst_table, src_table } => {
            call(t, Builtin::TableCopy, &[dst_table, src_table]);
        }
        Operator::TableFill { table } => {
            call(t, Builtin::TableFill, &[table]);
        }
        Operator::TableInit { elem_index, table } => {
            call(t, Builtin::TableInit, &[table, elem_index]);
        }
        Operator::ElemDrop { elem_index } => {
            call(t, Builtin::ElemDrop, &[elem_index]);
        }
        Operator::TableGrow { table } => {
            let old = call(t, Builtin::TableGrow, &[table]);
            let is_64 = t.env.info.tables[table as usize].is_64();
            push_old_size(t, old, is_64);
        }
        _ => return false,
    }
    true
}

/// Calls `builtin` with `indices` and then as many operands as it has further arguments.
fn call(t: &mut FuncTranslator<'_>, builtin: Builtin, indices: &[u32]) -> Option<Value> {
    // A call ends the run: so the counter is exact for the runtime, and if the runtime traps, no
    // operator behind this one has been charged.
    t.end_run_exactly();
    let operands = t.pop_many(builtin.arity() - 1 - indices.len());
    let mut args = Vec::with_capacity(builtin.arity() - 1);
    for &index in indices {
        args.push(t.builder.ins().iconst(types::I64, i64::from(index)));
    }
    for operand in operands {
        args.push(zero_extend(t, operand));
    }
    t.call_builtin(builtin, &args)
}

/// Pushes what `grow` gave: the old size or -1, in the index type.
fn push_old_size(t: &mut FuncTranslator<'_>, old: Option<Value>, is_64: bool) {
    let old = old.expect("the builtins that grow have a result");
    let old = match is_64 {
        true => old,
        false => t.builder.ins().ireduce(types::I32, old),
    };
    t.push(old);
}

/// An operand (`i32`, `i64` or a reference) as an argument of a builtin.
fn zero_extend(t: &mut FuncTranslator<'_>, value: Value) -> Value {
    match t.builder.func.dfg.value_type(value) {
        types::I32 => t.builder.ins().uextend(types::I64, value),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::memory::tests::{def, insts, translated};
    use cranelift_codegen::ir::{Function, InstructionData, Opcode, ValueDef};
    use cranelift_codegen::isa::CallConv;

    /// The calls to builtins but `vmctx`, each argument written as `#constant` or `%parameter` of
    /// the wasm function.
    fn calls(func: &Function) -> Vec<String> {
        let argument = |value: Value| {
            let mut value = func.dfg.resolve_aliases(value);
            loop {
                match func.dfg.value_def(value) {
                    ValueDef::Param(_, number) => return format!("%{}", number as i64 - 2),
                    _ => match *def(func, value) {
                        InstructionData::UnaryImm { imm, .. } => return format!("#{imm}"),
                        InstructionData::Unary { opcode: Opcode::Uextend, arg } => value = arg,
                        ref other => panic!("unexpected argument {other:?}\n{func}"),
                    },
                }
            }
        };
        let calls = insts(func).filter(|(_, data)| data.opcode() == Opcode::CallIndirect);
        calls
            .map(|(inst, _)| {
                // The callee and its vmctx come before.
                let args = &func.dfg.inst_args(inst)[2..];
                args.iter().map(|&arg| argument(arg)).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn builtins_get_indices_and_operands_in_the_order_of_their_declaration() {
        let functions = translated(
            r#"(module
                (memory 1) (memory i64 1) (table 1 funcref) (table i64 1 funcref)
                (data "") (data "") (elem func) (elem func)
                (func (param i64 i32 i32)
                    (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2))
                    (memory.init 1 0 (local.get 0) (local.get 1) (local.get 2))
                    (memory.init 0 1 (local.get 1) (local.get 2) (local.get 2)))
                (func (param i64 i32 i64)
                    (memory.fill 1 (local.get 0) (local.get 1) (local.get 2)))
                (func (param i64 i32 i32)
                    (table.copy 1 0 (local.get 0) (local.get 1) (local.get 2))
                    (table.init 1 0 (local.get 0) (local.get 1) (local.get 2)))
                (func (param i32 funcref i32)
                    (table.fill 0 (local.get 0) (local.get 1) (local.get 2)))
                (func (param i64 funcref) (result i64) (table.grow 1 (local.get 1) (local.get 0)))
                (func (param i32) (result i32) (memory.grow 0 (local.get 0)))
                (func (data.drop 1) (elem.drop 1)))"#,
            false,
        );
        let calls: Vec<_> = functions.iter().map(calls).collect();
        let expected: [&[&str]; 7] = [
            &["#1 #0 %0 %1 %2", "#1 #0 %0 %1 %2", "#0 #1 %1 %2 %2"],
            &["#1 %0 %1 %2"],
            &["#1 #0 %0 %1 %2", "#1 #0 %0 %1 %2"],
            &["#0 %0 %1 %2"],
            &["#1 %1 %0"],
            &["#0 %0"],
            &["#1", "#1"],
        ];
        assert_eq!(calls, expected);
    }

    fn checkpoints(func: &Function) -> usize {
        insts(func)
            .filter_map(|(inst, _)| func.dfg.call_signature(inst))
            .filter(|&sig| func.dfg.signatures[sig].call_conv == CallConv::PreserveAll)
            .count()
    }

    #[test]
    fn there_is_a_checkpoint_unless_the_cost_is_a_small_constant() {
        let fill = |len: &str| {
            format!(
                "(func (param i32) (memory.fill (i32.const 0) (i32.const 0) {len}))
                 (func (param i32) (table.init 0 (i32.const 0) (i32.const 0) {len}))"
            )
        };
        let (small, large, param) =
            (fill("(i32.const 128)"), fill("(i32.const 129)"), fill("(local.get 0)"));
        let functions = translated(
            &format!("(module (memory 1) (table 1 funcref) (elem func) {small} {large} {param})"),
            true,
        );
        let checkpoints: Vec<_> = functions.iter().map(checkpoints).collect();
        assert_eq!(checkpoints, [0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn what_comes_after_a_builtin_is_charged_after_it() {
        let functions = translated(
            "(module (memory 1) (func (param i32)
                (memory.fill (i32.const 0) (i32.const 0) (i32.const 5))
                (drop (i32.const 0)) (drop (i32.const 0))))",
            true,
        );
        let func = &functions[0];
        let mut charges = Vec::new();
        for (_, data) in insts(func) {
            match *data {
                InstructionData::Unary { opcode: Opcode::SetPinnedReg, arg } => {
                    if let InstructionData::Binary { opcode: Opcode::Iadd, args } = *def(func, arg)
                    {
                        charges.push(def(func, args[1]).to_owned());
                    }
                }
                ref other if other.opcode().is_call() => charges.push(other.to_owned()),
                _ => {}
            }
        }
        let charges: Vec<_> = charges
            .iter()
            .map(|data| match data {
                InstructionData::UnaryImm { imm, .. } => imm.bits(),
                _ => -1,
            })
            .collect();
        // Entering, three constants, the operation and its five bytes; the call; two constants.
        assert_eq!(charges, [1 + 3 + 1 + 5, -1, 2]);
    }
}
