//! What an engine must be able to do to be compared, and what is compared.

use super::host::{Host, HostError};
use super::value::{Given, Ty, Value};
use crate::{Choices, modules};
use anyhow::Result;
use wasmparser::{Parser, Payload, Validator};

/// Bytes that a memory may have.
pub const MAX_MEMORY: usize = 4 << 20;

/// Elements that a table may have.
pub const MAX_TABLE: usize = 10_000;

/// Why wasm stopped, in the coarsest words of any engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The stack is used up: where, depends on the engine.
    StackOverflow,
    /// All fuel is consumed.
    OutOfFuel,
    /// `unreachable`.
    Unreachable,
    /// Out of bounds of a memory.
    Memory,
    /// Out of bounds of a table.
    Table,
    /// `call_indirect` out of bounds of a table: [`Kind::Table`] in engines that do not tell.
    Element,
    /// `call_indirect` of null.
    Null,
    /// `call_indirect` of another type.
    Signature,
    /// Division by zero.
    DivisionByZero,
    /// Integer overflow.
    Overflow,
    /// Conversion of NaN to an integer.
    Conversion,
    /// A null exception was thrown.
    NullReference,
    /// An atomic access that is not aligned.
    Unaligned,
    /// An atomic wait on a memory that is not shared.
    NotShared,
}

/// How a call ended, or an instantiation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It returned.
    Returned(Vec<Value>),
    /// It trapped.
    Trapped(Kind),
    /// A host function failed.
    HostFailed(HostError),
    /// An exception was not caught.
    Threw,
    /// The engine refused: because of a limit, or types of imports. Engines say it in words of
    /// their own.
    Refused(String),
}

impl Ending {
    /// Whether two engines can differ from here on: what they have room for is their own affair.
    pub fn depends_on_engine(&self) -> bool {
        matches!(self, Ending::Trapped(Kind::StackOverflow | Kind::OutOfFuel))
    }

    /// Whether two engines agree.
    pub fn agrees(&self, other: &Ending) -> bool {
        use Kind::{Element, Table};
        match (self, other) {
            (Ending::Refused(_), Ending::Refused(_)) => true,
            (Ending::Trapped(Element), Ending::Trapped(Table))
            | (Ending::Trapped(Table), Ending::Trapped(Element)) => true,
            (a, b) => a == b,
        }
    }
}

/// A function's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Types of the parameters.
    pub params: Vec<Ty>,
    /// Types of the results.
    pub results: Vec<Ty>,
}

/// What a comparable module exports: `f0`, `f1`, ..., `m0`, ..., `t0`, ..., `g0`, ...
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exports {
    /// The functions.
    pub functions: Vec<Signature>,
    /// Number of memories.
    pub memories: u32,
    /// Number of tables.
    pub tables: u32,
    /// Number of globals.
    pub globals: u32,
    /// How many locals the function with the most has.
    pub locals: u32,
}

impl Exports {
    /// Those of a module.
    ///
    /// # Errors
    ///
    /// If it is not valid.
    pub fn of(wasm: &[u8]) -> Result<Exports> {
        let types = Validator::new_with_features(modules::features()).validate_all(wasm)?;
        let types = types.as_ref();
        let list = |list: &[wasmparser::ValType]| list.iter().copied().map(ty).collect();
        let functions = (0..types.function_count()).map(|index| {
            let ty = types[types.core_function_at(index)].unwrap_func();
            Signature { params: list(ty.params()), results: list(ty.results()) }
        });
        Ok(Exports {
            functions: functions.collect(),
            memories: types.memory_count(),
            tables: types.table_count(),
            globals: types.global_count(),
            locals: locals(wasm)?,
        })
    }

    /// Whether a frame can be so large with us, and so small in wasmtime, that ours overflow the
    /// stack first: we keep locals that are never read.
    pub fn have_huge_frames(&self) -> bool {
        self.locals > 500
    }

    /// Any parameters for the function of this index.
    pub fn params(&self, function: u32, choices: &mut Choices<'_>) -> Vec<Given> {
        let given = |&ty: &Ty| match ty {
            Ty::Func if choices.one_in(2) => {
                Given::Function(choices.below(self.functions.len()) as u32)
            }
            _ => Given::Value(Value::choose(ty, choices)),
        };
        self.functions[function as usize].params.iter().map(given).collect()
    }
}

/// How many locals the function with the most declares.
fn locals(wasm: &[u8]) -> Result<u32> {
    let mut most = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload? {
            let mut locals = 0;
            for group in body.get_locals_reader()? {
                locals += group?.0;
            }
            most = most.max(locals);
        }
    }
    Ok(most)
}

fn ty(ty: wasmparser::ValType) -> Ty {
    match ty {
        wasmparser::ValType::I32 => Ty::I32,
        wasmparser::ValType::I64 => Ty::I64,
        wasmparser::ValType::F32 => Ty::F32,
        wasmparser::ValType::F64 => Ty::F64,
        wasmparser::ValType::V128 => Ty::V128,
        wasmparser::ValType::Ref(ty) if ty.is_func_ref() => Ty::Func,
        wasmparser::ValType::Ref(ty) if ty.is_extern_ref() => Ty::Extern,
        wasmparser::ValType::Ref(_) => Ty::Exn,
    }
}

/// All of an instance that can be seen from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Bytes of the memories, or their sizes alone.
    pub memories: Vec<MemoryState>,
    /// For each table, and each of its elements, whether it is not null.
    pub tables: Vec<Vec<bool>>,
    /// Values of the globals.
    pub globals: Vec<Value>,
}

/// A memory, for comparing.
#[derive(Clone, PartialEq, Eq)]
pub struct MemoryState {
    /// Number of bytes.
    pub size: usize,
    /// The bytes, if they are to be compared.
    pub bytes: Option<Vec<u8>>,
}

impl std::fmt::Debug for MemoryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}

impl MemoryState {
    /// A memory with these bytes.
    pub fn new(bytes: &[u8], whole: bool) -> MemoryState {
        MemoryState { size: bytes.len(), bytes: whole.then(|| bytes.to_vec()) }
    }
}

impl State {
    /// What differs between two engines' states, if anything.
    pub fn difference(&self, other: &State) -> Option<String> {
        for (i, (a, b)) in self.memories.iter().zip(&other.memories).enumerate() {
            if a.size != b.size {
                return Some(format!("memory {i} has {} bytes and {}", a.size, b.size));
            }
            let (Some(a), Some(b)) = (&a.bytes, &b.bytes) else { continue };
            if a != b {
                let at = a.iter().zip(b).position(|(a, b)| a != b).expect("they differ");
                return Some(format!("memory {i} at {at:#x}: {:#x} and {:#x}", a[at], b[at]));
            }
        }
        for (i, (a, b)) in self.tables.iter().zip(&other.tables).enumerate() {
            if a != b {
                return Some(format!("table {i}: elements that are not null: {a:?} and {b:?}"));
            }
        }
        for (i, (a, b)) in self.globals.iter().zip(&other.globals).enumerate() {
            if a != b {
                return Some(format!("global {i}: {a:x?} and {b:x?}"));
            }
        }
        None
    }
}

/// An instance in an engine.
pub trait Guest {
    /// Calls the function of this index.
    fn call(&mut self, function: u32, params: &[Given]) -> Ending;

    /// The instance's state. Its memories' bytes only if `whole`.
    fn state(&mut self, whole: bool) -> State;

    /// What the host remembers.
    fn host(&self) -> &Host;

    /// Units of fuel that the last call consumed, if the engine counts as the default table says.
    fn consumed(&mut self) -> Option<u64>;

    /// Sets a global of type `i32`.
    fn set_global(&mut self, global: u32, value: u32);
}
