//! Values of frames, with their types; and why one cannot be had.

use crate::store::{ExnHandle, ExternHandle, FuncHandle, StoreId};
use std::fmt;
use stillframe_abi::types::ValType;

/// The value of a local or of an operand. References are handles: they can be checked against the
/// store that they came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameValue {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector, little-endian.
    V128(u128),
    /// A function, or null.
    FuncRef(Option<FuncHandle>),
    /// An object of the host, or null.
    ExternRef(Option<ExternHandle>),
    /// An exception, or null.
    ExnRef(Option<ExnHandle>),
}

impl FrameValue {
    /// Its type.
    pub fn ty(self) -> ValType {
        match self {
            FrameValue::I32(_) => ValType::I32,
            FrameValue::I64(_) => ValType::I64,
            FrameValue::F32(_) => ValType::F32,
            FrameValue::F64(_) => ValType::F64,
            FrameValue::V128(_) => ValType::V128,
            FrameValue::FuncRef(_) => ValType::FuncRef,
            FrameValue::ExternRef(_) => ValType::ExternRef,
            FrameValue::ExnRef(_) => ValType::ExnRef,
        }
    }

    /// The store it belongs to; numbers and null belong to none.
    pub fn store(self) -> Option<StoreId> {
        match self {
            FrameValue::FuncRef(func) => func.map(|func| func.store()),
            FrameValue::ExternRef(object) => object.map(|object| object.store()),
            FrameValue::ExnRef(exception) => exception.map(|exception| exception.store()),
            _ => None,
        }
    }
}

/// Why a frame, or something of it, cannot be looked at or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The frame, or the value for it, is of another store.
    WrongStore,
    /// The frame has run since, or is gone.
    Stale,
    /// It has no local, or no operand, with this index.
    OutOfRange {
        /// The index.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The value is not kept where the frame stands: the program does not read it any more, or the
    /// engine's `FrameState` does not promise it.
    NotLive,
    /// The module was compiled without `Config::frame_writes`.
    ReadOnly,
    /// The value is of another type than the place.
    TypeMismatch {
        /// The type of the place.
        expected: ValType,
        /// The type of the value.
        found: ValType,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::WrongStore => f.write_str("the frame is of another store"),
            FrameError::Stale => f.write_str("the frame is stale: it has run since, or is gone"),
            FrameError::OutOfRange { index, len } => {
                write!(f, "index {index} is out of range: there are {len}")
            }
            FrameError::NotLive => f.write_str("the value is not kept at this place"),
            FrameError::ReadOnly => f.write_str(
                "the frame is read-only: its module was compiled without `Config::frame_writes`",
            ),
            FrameError::TypeMismatch { expected, found } => {
                write!(f, "expected a value of type `{expected}`, found `{found}`")
            }
        }
    }
}

impl std::error::Error for FrameError {}
