//! What operators cost: the default table of `docs/fuel.md`, and nothing else.

use crate::function::Code;
use crate::value::Value;
use wasmparser::Operator as Op;

/// The cost of entering a wasm function.
pub(crate) const FUNCTION_ENTRY: u64 = 1;

/// The most that the bytes or elements of one operator cost together.
const BULK_COST_MAX: u64 = i64::MAX as u64;

/// The cost of executing an operator that finds these operands.
pub(crate) fn cost(code: &Code, operands: &[Value]) -> u64 {
    let Code::Plain(op) = code else { return 1 };
    match op {
        Op::Nop
        | Op::Block { .. }
        | Op::Loop { .. }
        | Op::Drop
        | Op::End
        | Op::Else
        | Op::Return
        | Op::Unreachable => 0,
        // One more for each byte or element. Their number is the last operand of all of them.
        Op::MemoryCopy { .. }
        | Op::MemoryFill { .. }
        | Op::MemoryInit { .. }
        | Op::TableCopy { .. }
        | Op::TableFill { .. }
        | Op::TableInit { .. }
        | Op::TableGrow { .. } => {
            let units = operands.last().expect("validated").index();
            units.min(BULK_COST_MAX).saturating_add(1)
        }
        _ => 1,
    }
}
