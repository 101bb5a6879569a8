//! A function's body, decoded: its operators in a row, each with its wasm pc, and the ends of blocks.

use crate::value::{FuncType, ValType};
use anyhow::{Context as _, Result};
use wasmparser::{BlockType, Operator, OperatorsReader};

/// A function that a module defines.
#[derive(Debug)]
pub struct Function {
    /// Its index, counting the imported functions.
    pub index: u32,
    /// Its type, by index.
    pub type_index: u32,
    /// The types of its locals, parameters first.
    pub locals: Vec<ValType>,
    /// Its operators, in the order of the file. The last one is the `end` of the body.
    pub ops: Vec<Op>,
}

impl Function {
    /// The position in [`Function::ops`] of the operator at `pc`, if one begins there.
    pub fn position(&self, pc: u32) -> Option<usize> {
        self.ops.binary_search_by_key(&pc, |op| op.pc).ok()
    }
}

/// An operator.
#[derive(Debug)]
pub struct Op {
    /// The offset of its first byte in the file.
    pub pc: u32,
    /// What it does.
    pub code: Code,
    /// Of `block`, `loop`, `if`, `try_table`, and of the `else` of an `if`: where it ends.
    pub block: Option<Block>,
    /// The position of the innermost `block`, `loop`, `if` or `try_table` that this is in. (`else`
    /// and `end` are in the block they belong to.) None if it is in the body itself.
    pub parent: Option<usize>,
}

/// What an operator does. The one kind that borrows from the file stands apart.
#[derive(Debug)]
pub enum Code {
    /// `br_table`: its labels, the default one last.
    BrTable(Vec<u32>),
    /// Any other.
    Plain(Operator<'static>),
}

/// A `block`, `loop`, `if` or `try_table`.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// How many operands it takes.
    pub params: usize,
    /// How many it leaves.
    pub results: usize,
    /// The position of its `else`.
    pub otherwise: Option<usize>,
    /// The position of its `end`.
    pub end: usize,
}

/// Decodes operators up to the `end` that ends all.
pub(crate) fn decode(mut reader: OperatorsReader<'_>, types: &[FuncType]) -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    while !reader.eof() {
        let pc = u32::try_from(reader.original_position())?;
        let op = reader.read()?;
        let position = ops.len();
        let parent = open.last().copied();
        let block = match &op {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                Some(block(*blockty, types))
            }
            Operator::TryTable { try_table } => Some(block(try_table.ty, types)),
            _ => None,
        };
        if block.is_some() {
            open.push(position);
        }
        match op {
            Operator::Else => {
                let opener = parent.context("else without if")?;
                ops[opener].block.as_mut().expect("an opener").otherwise = Some(position);
            }
            // The body's own `end` has no opener.
            Operator::End => {
                if let Some(opener) = open.pop() {
                    let block = ops[opener].block.as_mut().expect("an opener");
                    block.end = position;
                    let block = *block;
                    if let Some(otherwise) = block.otherwise {
                        ops[otherwise].block = Some(block);
                    }
                }
            }
            _ => {}
        }
        ops.push(Op { pc, code: own(op)?, block, parent });
    }
    Ok(ops)
}

fn block(ty: BlockType, types: &[FuncType]) -> Block {
    let (params, results) = match ty {
        BlockType::Empty => (0, 0),
        BlockType::Type(_) => (0, 1),
        BlockType::FuncType(index) => {
            let ty = &types[index as usize];
            (ty.params.len(), ty.results.len())
        }
    };
    Block { params, results, otherwise: None, end: 0 }
}

/// An operator that borrows nothing.
fn own(op: Operator<'_>) -> Result<Code> {
    if let Operator::BrTable { targets } = op {
        let mut labels = targets.targets().collect::<wasmparser::Result<Vec<u32>>>()?;
        labels.push(targets.default());
        return Ok(Code::BrTable(labels));
    }
    Ok(Code::Plain(own_plain(op)))
}

/// The same operator with another lifetime; [`own`] has dealt with `br_table`.
macro_rules! same {
    (BrTable $fields:tt) => {
        unreachable!("not a plain operator")
    };
    ($op:ident) => {
        Operator::$op
    };
    ($op:ident { $($field:ident),* }) => {
        Operator::$op { $($field),* }
    };
}

macro_rules! own_plain {
    ($(@$proposal:ident $op:ident $({ $($field:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        #[allow(unused_variables)]
        fn own_plain(op: Operator<'_>) -> Operator<'static> {
            match op {
                $(Operator::$op $({ $($field),* })? => same!($op $({ $($field),* })?),)*
                other => unreachable!("{other:?} is not listed by wasmparser"),
            }
        }
    };
}
wasmparser::for_each_operator!(own_plain);
