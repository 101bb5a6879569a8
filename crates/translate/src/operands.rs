//! The operand stack while a function is translated: values, and their wasm types.

use cranelift_codegen::ir::{Block, Value};
use stillframe_abi::types::ValType;

/// The operand stack of the place that is being translated.
#[derive(Debug, Default)]
pub(crate) struct OperandStack {
    values: Vec<Value>,
    types: Vec<ValType>,
    /// Where each was pushed.
    blocks: Vec<Option<Block>>,
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

    /// The block in which an operand was pushed.
    pub(crate) fn block(&self, depth: usize) -> Option<Block> {
        self.blocks[depth]
    }

    /// Pushes an operand, in a block.
    pub(crate) fn push(&mut self, value: Value, ty: ValType, block: Option<Block>) {
        self.values.push(value);
        self.types.push(ty);
        self.blocks.push(block);
    }

    /// Pops all but the lowest `height`.
    pub(crate) fn truncate(&mut self, height: usize) {
        self.values.truncate(height);
        self.types.truncate(height);
        self.blocks.truncate(height);
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
