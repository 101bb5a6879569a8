//! Values and types, as the interpreter has them.

use crate::machine::{ExnId, FuncId};

/// A value. Floats are their bits, so that comparing compares NaNs too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// An `i32`.
    I32(u32),
    /// An `i64`.
    I64(u64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`; lane 0 is in the lowest bits.
    V128(u128),
    /// A reference to a function.
    FuncRef(Option<FuncId>),
    /// A reference to something of the host's: a number that only the host understands.
    ExternRef(Option<u32>),
    /// A reference to an exception.
    ExnRef(Option<ExnId>),
}

impl Value {
    /// The first value of a local of this type; null for references, of whatever type.
    pub fn zero(ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(0),
            ValType::I64 => Value::I64(0),
            ValType::F32 => Value::F32(0),
            ValType::F64 => Value::F64(0),
            ValType::V128 => Value::V128(0),
            ValType::Ref(ty) => Value::null(ty.heap),
        }
    }

    /// The null reference of a heap type.
    pub fn null(heap: HeapType) -> Value {
        match heap {
            HeapType::Func | HeapType::NoFunc | HeapType::Type(_) => Value::FuncRef(None),
            HeapType::Extern | HeapType::NoExtern => Value::ExternRef(None),
            HeapType::Exn | HeapType::NoExn => Value::ExnRef(None),
        }
    }

    /// Whether this is a null reference.
    pub fn is_null(self) -> bool {
        matches!(self, Value::FuncRef(None) | Value::ExternRef(None) | Value::ExnRef(None))
    }

    /// The value of a table index, memory index or length, of either index type.
    pub(crate) fn index(self) -> u64 {
        match self {
            Value::I32(value) => u64::from(value),
            Value::I64(value) => value,
            other => panic!("{other:?} is not an index"),
        }
    }
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValType {
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `v128`
    V128,
    /// A reference.
    Ref(RefType),
}

impl ValType {
    /// `funcref`
    pub const FUNCREF: ValType = ValType::Ref(RefType { nullable: true, heap: HeapType::Func });
    /// `externref`
    pub const EXTERNREF: ValType = ValType::Ref(RefType { nullable: true, heap: HeapType::Extern });
    /// `exnref`
    pub const EXNREF: ValType = ValType::Ref(RefType { nullable: true, heap: HeapType::Exn });
}

/// The type of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RefType {
    /// Whether null is a value of this type.
    pub nullable: bool,
    /// What is referred to.
    pub heap: HeapType,
}

/// What is referred to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeapType {
    /// Any function.
    Func,
    /// No function: only null.
    NoFunc,
    /// Anything of the host's.
    Extern,
    /// Nothing of the host's: only null.
    NoExtern,
    /// Any exception.
    Exn,
    /// No exception: only null.
    NoExn,
    /// A function of this type: in a [`Module`](crate::Module) an index of its types, in a
    /// [`Machine`](crate::Machine) a number that the machine gave to the type.
    Type(u32),
}

/// The type of a function, or of a tag (which has no results).
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct FuncType {
    /// The parameters.
    pub params: Vec<ValType>,
    /// The results.
    pub results: Vec<ValType>,
}

impl FuncType {
    /// The type of functions with these parameters and results.
    pub fn new(params: impl Into<Vec<ValType>>, results: impl Into<Vec<ValType>>) -> FuncType {
        FuncType { params: params.into(), results: results.into() }
    }
}

/// The size of a memory in pages, or of a table in elements: the least, and the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Whether indices are `i64`.
    pub is_64: bool,
    /// The size at the start.
    pub min: u64,
    /// The most it may grow to.
    pub max: Option<u64>,
}

/// The type of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableType {
    /// Its elements.
    pub element: RefType,
    /// Its size.
    pub limits: Limits,
}

/// The type of a global.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GlobalType {
    /// Its value.
    pub content: ValType,
    /// Whether it can be set.
    pub mutable: bool,
}
