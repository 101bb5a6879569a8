//! Value, function, memory, table and global types, as both sides and the API use them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a WebAssembly value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// Nullable reference to a function.
    FuncRef,
    /// Nullable reference to an object of the host.
    ExternRef,
    /// Nullable reference to an exception.
    ExnRef,
}

impl ValType {
    /// True for the reference types.
    pub const fn is_ref(self) -> bool {
        matches!(self, ValType::FuncRef | ValType::ExternRef | ValType::ExnRef)
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
            ValType::ExnRef => "exnref",
        })
    }
}

/// The type of a function: parameters and results.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FuncType {
    params: Box<[ValType]>,
    results: Box<[ValType]>,
}

impl FuncType {
    /// A function type with these parameters and results.
    pub fn new(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        FuncType { params: params.into_iter().collect(), results: results.into_iter().collect() }
    }

    /// The types of the parameters, in order.
    pub fn params(&self) -> &[ValType] {
        &self.params
    }

    /// The types of the results, in order.
    pub fn results(&self) -> &[ValType] {
        &self.results
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            f.write_str("(")?;
            for (i, ty) in types.iter().enumerate() {
                if i > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{ty}")?;
            }
            f.write_str(")")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

/// Bytes in a page of linear memory.
pub const WASM_PAGE_SIZE: u64 = 65536;

/// The type of a linear memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MemoryType {
    minimum: u64,
    maximum: Option<u64>,
    memory64: bool,
}

impl MemoryType {
    /// A memory addressed by `i32`; sizes in pages of 64 KiB.
    pub const fn new(minimum: u32, maximum: Option<u32>) -> MemoryType {
        let maximum = match maximum {
            Some(max) => Some(max as u64),
            None => None,
        };
        MemoryType { minimum: minimum as u64, maximum, memory64: false }
    }

    /// A memory addressed by `i64`; sizes in pages of 64 KiB.
    pub const fn new64(minimum: u64, maximum: Option<u64>) -> MemoryType {
        MemoryType { minimum, maximum, memory64: true }
    }

    /// Pages at the start.
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Pages at most, if declared.
    pub const fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    /// Whether the memory is addressed by `i64`.
    pub const fn is_64(&self) -> bool {
        self.memory64
    }

    /// The most pages this type can ever have: the declared maximum or that of the index type.
    pub fn absolute_maximum(&self) -> u64 {
        let index_max = if self.memory64 { 1 << 48 } else { 1 << 16 };
        self.maximum.unwrap_or(index_max).min(index_max)
    }
}

/// The type of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TableType {
    element: ValType,
    minimum: u64,
    maximum: Option<u64>,
    table64: bool,
}

impl TableType {
    /// A table of `element` (a reference type) indexed by `i32`; sizes in elements.
    pub const fn new(element: ValType, minimum: u32, maximum: Option<u32>) -> TableType {
        let maximum = match maximum {
            Some(max) => Some(max as u64),
            None => None,
        };
        TableType { element, minimum: minimum as u64, maximum, table64: false }
    }

    /// A table of `element` (a reference type) indexed by `i64`; sizes in elements.
    pub const fn new64(element: ValType, minimum: u64, maximum: Option<u64>) -> TableType {
        TableType { element, minimum, maximum, table64: true }
    }

    /// The type of the elements.
    pub const fn element(&self) -> ValType {
        self.element
    }

    /// Elements at the start.
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Elements at most, if declared.
    pub const fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    /// Whether the table is indexed by `i64`.
    pub const fn is_64(&self) -> bool {
        self.table64
    }
}

/// Whether a global can be set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Mutability {
    /// The global keeps its first value.
    Const,
    /// The global can be set.
    Var,
}

/// The type of a global.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global that holds `content`.
    pub const fn new(content: ValType, mutability: Mutability) -> GlobalType {
        GlobalType { content, mutability }
    }

    /// The type of the value.
    pub const fn content(&self) -> ValType {
        self.content
    }

    /// Whether it can be set.
    pub const fn mutability(&self) -> Mutability {
        self.mutability
    }
}
