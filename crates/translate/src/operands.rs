//! The operand stack while a function is translated: values, and their wasm types.

use cranelift_codegen::ir::{Block, Value};
use cranelift_codegen::packed_option::ReservedValue;
use stillframe_abi::types::ValType;

/// So many operands, of those pushed last, are recent. They fit the registers.
const RECENT: u32 = 4;

/// The operand stack of the place that is being translated.
#[derive(Debug, Default)]
pub(crate) struct OperandStack {
    values: Vec<Value>,
    types: Vec<ValType>,
    /// Where and when each was pushed.
    pushed: Vec<(Option<Block>, u32)>,
    /// The time: how often something was pushed.
    now: u32,
    /// The least height since [`OperandStack::start_operator`].
    low: usize,
}

impl OperandStack {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values, bottom first.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The types, bottom first.
    pub(crate) fn types(&self) -> &[ValType] {
        &self.types
    }

    /// The type of the topmost operand. Validation has made sure that there is one.
    pub(crate) fn top_type(&self) -> ValType {
        *self.types.last().expect("validated operand stack")
    }

    /// The value of an operand, if it was pushed in this block and not long ago.
    pub(crate) fn recent(&self, depth: usize, block: Option<Block>) -> Option<Value> {
        let (pushed_in, pushed_at) = self.pushed[depth];
        let is_recent =
            pushed_in.is_some() && pushed_in == block && self.now.wrapping_sub(pushed_at) < RECENT;
        is_recent.then(|| self.values[depth])
    }

    /// Makes all operands old.
    pub(crate) fn age(&mut self) {
        self.pushed.iter_mut().rev().take(RECENT as usize).for_each(|(block, _)| *block = None);
    }

    /// Pushes an operand whose value is in its home in the frame.
    pub(crate) fn push_at_home(&mut self, ty: ValType) {
        self.push(Value::reserved_value(), ty, None);
    }

    /// Pushes an operand, in a block.
    pub(crate) fn push(&mut self, value: Value, ty: ValType, block: Option<Block>) {
        self.values.push(value);
        self.types.push(ty);
        self.now = self.now.wrapping_add(1);
        self.pushed.push((block, self.now));
    }

    /// Pops all but the lowest `height`.
    pub(crate) fn truncate(&mut self, height: usize) {
        self.values.truncate(height);
        self.types.truncate(height);
        self.pushed.truncate(height);
        self.low = self.low.min(height);
    }

    /// Notes that an operator starts.
    pub(crate) fn start_operator(&mut self) {
        self.low = self.len();
    }

    /// The operands that the operator has left alone: those below this depth.
    pub(crate) fn untouched(&self) -> usize {
        self.low
    }
}
