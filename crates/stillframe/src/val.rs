//! Values: `Val`, `Ref`, `V128`, `ExternRef`.

use crate::context::{AsContextMut, StoreContext};
use crate::func::Func;
use anyhow::Result;
use std::any::Any;
use std::sync::Arc;
use stillframe_abi::types::ValType;
use stillframe_runtime::{ExnHandle, ExternHandle, FrameValue, StoreId};

/// A WebAssembly value of any type.
///
/// Floats are kept as bits, so that no NaN changes on its way.
#[derive(Clone, Copy, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(V128),
    /// A function, or null.
    FuncRef(Option<Func>),
    /// An object of the host, or null.
    ExternRef(Option<ExternRef>),
    /// An exception, or null.
    ExnRef(Option<ExnRef>),
}

/// A reference: what tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ref {
    /// A function, or null.
    Func(Option<Func>),
    /// An object of the host, or null.
    Extern(Option<ExternRef>),
    /// An exception, or null.
    Exn(Option<ExnRef>),
}

/// A 128-bit vector. Lane 0 is in the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct V128(u128);

/// An object of the host that wasm can hold and pass around as `externref`, without seeing into
/// it. It belongs to a store and lives as long as that does.
///
/// ```
/// use stillframe::{Engine, ExternRef, Func, Store};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let same = Func::wrap(&mut store, |object: Option<ExternRef>| object);
/// let same = same.typed::<Option<ExternRef>, Option<ExternRef>>(&store)?;
/// let object = ExternRef::new(&mut store, String::from("of the host"))?;
/// let back = same.call(&mut store, Some(object))?.unwrap();
/// assert_eq!(back.data(&store).downcast_ref::<String>().unwrap(), "of the host");
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExternRef(pub(crate) ExternHandle);

/// An exception that wasm made. It belongs to a store and lives as long as that does; the host can
/// pass it around and give it back to wasm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExnRef(pub(crate) ExnHandle);

impl ExternRef {
    /// Gives an object to the store.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn new(
        mut store: impl AsContextMut,
        object: impl Any + Send + Sync + 'static,
    ) -> Result<ExternRef> {
        Ok(ExternRef(store.as_context_mut().core.add_extern(Arc::new(object))))
    }

    /// The object.
    ///
    /// # Panics
    ///
    /// If it is of another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> &'a (dyn Any + Send + Sync) {
        &**store.into().core.extern_object(self.0)
    }
}

macro_rules! accessors {
    ($($variant:ident $get:ident $unwrap:ident $ty:ty, $value:ident => $convert:expr;)*) => {
        impl Val {
            $(
                #[doc = concat!("The value, if it is of the type of [`Val::", stringify!($variant), "`].")]
                pub fn $get(&self) -> Option<$ty> {
                    match *self {
                        Val::$variant($value) => Some($convert),
                        _ => None,
                    }
                }

                #[doc = concat!("The value, which must be of the type of [`Val::", stringify!($variant), "`].")]
                ///
                /// # Panics
                ///
                /// If it is of another type.
                #[track_caller]
                pub fn $unwrap(&self) -> $ty {
                    let wanted = stringify!($get);
                    self.$get().unwrap_or_else(|| panic!("expected {wanted}, found {}", self.ty()))
                }
            )*
        }
    };
}

accessors! {
    I32 i32 unwrap_i32 i32, value => value;
    I64 i64 unwrap_i64 i64, value => value;
    F32 f32 unwrap_f32 f32, value => f32::from_bits(value);
    F64 f64 unwrap_f64 f64, value => f64::from_bits(value);
    V128 v128 unwrap_v128 V128, value => value;
    FuncRef func_ref unwrap_funcref Option<Func>, value => value;
    ExternRef extern_ref unwrap_externref Option<ExternRef>, value => value;
    ExnRef exn_ref unwrap_exnref Option<ExnRef>, value => value;
}

impl Val {
    /// Its type.
    pub const fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FuncRef,
            Val::ExternRef(_) => ValType::ExternRef,
            Val::ExnRef(_) => ValType::ExnRef,
        }
    }

    /// Zero, or null, of this type: what a local starts with.
    pub const fn default_for_ty(ty: ValType) -> Val {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128(0)),
            ValType::FuncRef => Val::FuncRef(None),
            ValType::ExternRef => Val::ExternRef(None),
            ValType::ExnRef => Val::ExnRef(None),
        }
    }

    /// A value that was read from a frame.
    #[inline]
    pub(crate) fn of_frame(value: FrameValue) -> Val {
        match value {
            FrameValue::I32(value) => Val::I32(value),
            FrameValue::I64(value) => Val::I64(value),
            FrameValue::F32(bits) => Val::F32(bits),
            FrameValue::F64(bits) => Val::F64(bits),
            FrameValue::V128(bits) => Val::V128(V128(bits)),
            FrameValue::FuncRef(func) => Val::FuncRef(func.map(Func)),
            FrameValue::ExternRef(object) => Val::ExternRef(object.map(ExternRef)),
            FrameValue::ExnRef(exception) => Val::ExnRef(exception.map(ExnRef)),
        }
    }

    /// A value that is to be written to a frame.
    pub(crate) fn for_frame(self) -> FrameValue {
        match self {
            Val::I32(value) => FrameValue::I32(value),
            Val::I64(value) => FrameValue::I64(value),
            Val::F32(bits) => FrameValue::F32(bits),
            Val::F64(bits) => FrameValue::F64(bits),
            Val::V128(V128(bits)) => FrameValue::V128(bits),
            Val::FuncRef(func) => FrameValue::FuncRef(func.map(|func| func.0)),
            Val::ExternRef(object) => FrameValue::ExternRef(object.map(|object| object.0)),
            Val::ExnRef(exception) => FrameValue::ExnRef(exception.map(|exception| exception.0)),
        }
    }

    /// The store it belongs to; numbers and null belong to none.
    pub(crate) fn store(&self) -> Option<StoreId> {
        match self {
            Val::FuncRef(Some(func)) => Some(func.0.store()),
            Val::ExternRef(Some(object)) => Some(object.0.store()),
            Val::ExnRef(Some(exception)) => Some(exception.0.store()),
            _ => None,
        }
    }
}

impl Ref {
    /// The type: one of the reference types.
    pub const fn ty(&self) -> ValType {
        match self {
            Ref::Func(_) => ValType::FuncRef,
            Ref::Extern(_) => ValType::ExternRef,
            Ref::Exn(_) => ValType::ExnRef,
        }
    }

    /// Null of this type.
    ///
    /// # Panics
    ///
    /// If it is no reference type.
    pub const fn null(ty: ValType) -> Ref {
        match ty {
            ValType::FuncRef => Ref::Func(None),
            ValType::ExternRef => Ref::Extern(None),
            ValType::ExnRef => Ref::Exn(None),
            _ => panic!("not a reference type"),
        }
    }

    /// Whether it is null.
    pub const fn is_null(&self) -> bool {
        matches!(self, Ref::Func(None) | Ref::Extern(None) | Ref::Exn(None))
    }

    /// The function, or null, if it is of that type.
    pub const fn as_func(&self) -> Option<Option<Func>> {
        match *self {
            Ref::Func(func) => Some(func),
            Ref::Extern(_) | Ref::Exn(_) => None,
        }
    }

    /// The object of the host, or null, if it is of that type.
    pub const fn as_extern(&self) -> Option<Option<ExternRef>> {
        match *self {
            Ref::Extern(object) => Some(object),
            Ref::Func(_) | Ref::Exn(_) => None,
        }
    }
}

impl From<Ref> for Val {
    fn from(reference: Ref) -> Val {
        match reference {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(object) => Val::ExternRef(object),
            Ref::Exn(exception) => Val::ExnRef(exception),
        }
    }
}

impl V128 {
    /// The bits; lane 0 is the lowest.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl std::fmt::Debug for V128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "V128({:#034x})", self.0)
    }
}

macro_rules! from {
    ($($from:ty => $to:ident, $value:ident => $convert:expr;)*) => {$(
        impl From<$from> for $to {
            fn from($value: $from) -> $to {
                $convert
            }
        }
    )*};
}

from! {
    u128 => V128, value => V128(value);
    i32 => Val, value => Val::I32(value);
    i64 => Val, value => Val::I64(value);
    f32 => Val, value => Val::F32(value.to_bits());
    f64 => Val, value => Val::F64(value.to_bits());
    V128 => Val, value => Val::V128(value);
    u128 => Val, value => Val::V128(V128(value));
    Func => Val, value => Val::FuncRef(Some(value));
    Option<Func> => Val, value => Val::FuncRef(value);
    ExternRef => Val, value => Val::ExternRef(Some(value));
    Option<ExternRef> => Val, value => Val::ExternRef(value);
    Option<ExnRef> => Val, value => Val::ExnRef(value);
    Func => Ref, value => Ref::Func(Some(value));
    Option<Func> => Ref, value => Ref::Func(value);
    ExternRef => Ref, value => Ref::Extern(Some(value));
    Option<ExternRef> => Ref, value => Ref::Extern(value);
}

impl From<V128> for u128 {
    fn from(value: V128) -> u128 {
        value.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_type_and_convert_to_that_alone() {
        let types = [
            ValType::I32,
            ValType::I64,
            ValType::F32,
            ValType::F64,
            ValType::V128,
            ValType::FuncRef,
            ValType::ExternRef,
            ValType::ExnRef,
        ];
        for ty in types {
            assert_eq!(Val::default_for_ty(ty).ty(), ty);
            if ty.is_ref() {
                assert_eq!(Ref::null(ty).ty(), ty);
            }
        }
        assert_eq!(Val::from(-7).i32(), Some(-7));
        assert_eq!(Val::from(-7).i64(), None);
        assert_eq!(Val::from(1.5_f64).unwrap_f64(), 1.5);
        assert_eq!(Val::from(1_u128 << 100).unwrap_v128().as_u128(), 1 << 100);
    }

    #[test]
    fn a_nan_keeps_its_bits() {
        let bits = 0x7fa0_0001;
        assert_eq!(Val::F32(bits).unwrap_f32().to_bits(), bits);
        assert!(matches!(Val::from(f32::from_bits(bits)), Val::F32(b) if b == bits));
    }

    #[test]
    #[should_panic(expected = "expected i64, found f32")]
    fn unwrapping_another_type_names_both() {
        Val::from(1.0_f32).unwrap_i64();
    }
}
