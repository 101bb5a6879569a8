//! Rust types and `Val` to raw cells and back.

use crate::func::Func;
use crate::val::{ExnRef, ExternRef, Ref, V128, Val};
use anyhow::{Error, Result, anyhow, bail};
use std::fmt::Display;
use stillframe_abi::types::{FuncType, ValType};
use stillframe_runtime::{RawValue, StoreCore, StoreId};

/// A Rust type that stands for a WebAssembly type. Not nameable from outside of the crate, so
/// nobody else implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not stand for a WebAssembly type",
    note = "see `WasmTy` for the types that do"
)]
pub trait Cell: Copy + Send + 'static {
    /// The type it stands for.
    const TYPE: ValType;

    /// The store it belongs to; numbers and null belong to none.
    #[inline]
    fn store(self) -> Option<StoreId> {
        None
    }

    /// The value as a cell. Panics if it is of another store.
    fn into_cell(self, core: &StoreCore) -> RawValue;

    /// The value in a cell.
    ///
    /// # Safety
    ///
    /// The cell came out of this store, with a value of type [`Cell::TYPE`].
    unsafe fn from_cell(core: &StoreCore, cell: RawValue) -> Self;
}

macro_rules! numbers {
    ($($rust:ty: $ty:ident, $value:ident => $into:expr, $cell:ident => $from:expr;)*) => {$(
        impl Cell for $rust {
            const TYPE: ValType = ValType::$ty;

            #[inline]
            fn into_cell(self, _: &StoreCore) -> RawValue {
                let $value = self;
                $into
            }

            #[inline]
            unsafe fn from_cell(_: &StoreCore, $cell: RawValue) -> $rust {
                $from
            }
        }
    )*};
}

numbers! {
    i32: I32, value => RawValue::i32(value), cell => cell.as_i32();
    u32: I32, value => RawValue::i32(value as i32), cell => cell.as_i32() as u32;
    i64: I64, value => RawValue::i64(value), cell => cell.as_i64();
    u64: I64, value => RawValue::i64(value as i64), cell => cell.as_i64() as u64;
    f32: F32, value => RawValue::f32(value.to_bits()), cell => f32::from_bits(cell.as_f32());
    f64: F64, value => RawValue::f64(value.to_bits()), cell => f64::from_bits(cell.as_f64());
    V128: V128, value => RawValue::v128(value.as_u128()), cell => cell.as_v128().into();
    u128: V128, value => RawValue::v128(value), cell => cell.as_v128();
}

impl Cell for Option<Func> {
    const TYPE: ValType = ValType::FuncRef;

    #[inline]
    fn store(self) -> Option<StoreId> {
        self.map(|func| func.0.store())
    }

    #[inline]
    fn into_cell(self, core: &StoreCore) -> RawValue {
        core.func_to_raw(self.map(|func| func.0))
    }

    #[inline]
    unsafe fn from_cell(core: &StoreCore, cell: RawValue) -> Option<Func> {
        // SAFETY: the caller's: the cell is a `funcref` of this store.
        unsafe { core.func_from_raw(cell) }.map(Func)
    }
}

impl Cell for Option<ExternRef> {
    const TYPE: ValType = ValType::ExternRef;

    #[inline]
    fn store(self) -> Option<StoreId> {
        self.map(|object| object.0.store())
    }

    #[inline]
    fn into_cell(self, core: &StoreCore) -> RawValue {
        core.extern_to_raw(self.map(|object| object.0))
    }

    #[inline]
    unsafe fn from_cell(core: &StoreCore, cell: RawValue) -> Option<ExternRef> {
        core.extern_from_raw(cell).map(ExternRef)
    }
}

impl Cell for Option<ExnRef> {
    const TYPE: ValType = ValType::ExnRef;

    #[inline]
    fn store(self) -> Option<StoreId> {
        self.map(|exception| exception.0.store())
    }

    #[inline]
    fn into_cell(self, core: &StoreCore) -> RawValue {
        core.exn_to_raw(self.map(|exception| exception.0))
    }

    #[inline]
    unsafe fn from_cell(core: &StoreCore, cell: RawValue) -> Option<ExnRef> {
        core.exn_from_raw(cell).map(ExnRef)
    }
}

/// A row of values: one [`Cell`], or a tuple of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type that stands for a WebAssembly type, nor a tuple of up to 16",
    note = "see `WasmTy` for the types"
)]
pub trait Cells: Sized {
    /// Their types.
    const TYPES: &'static [ValType];

    /// An error if one of them belongs to another store; `what` they are is for its text. Nothing
    /// at all for numbers.
    fn check(&self, core: &StoreCore, what: &str) -> Result<()>;

    /// Puts the values into cells, of which there must be enough. They have been
    /// [checked](Cells::check).
    fn store_to(self, core: &StoreCore, cells: &mut [RawValue]);

    /// Takes the values out of cells, of which there must be enough.
    ///
    /// # Safety
    ///
    /// The cells came out of this store, with values of the types [`Cells::TYPES`].
    unsafe fn load(core: &StoreCore, cells: &[RawValue]) -> Self;
}

#[cold]
fn foreign(what: &str, position: usize) -> Error {
    anyhow!("{what} {position}: the reference is of another store")
}

const TOO_FEW: &str = "as many cells as values";

impl<A: Cell> Cells for A {
    const TYPES: &'static [ValType] = &[A::TYPE];

    #[inline]
    fn check(&self, core: &StoreCore, what: &str) -> Result<()> {
        <(A,)>::check(&(*self,), core, what)
    }

    #[inline]
    fn store_to(self, core: &StoreCore, cells: &mut [RawValue]) {
        (self,).store_to(core, cells);
    }

    #[inline]
    unsafe fn load(core: &StoreCore, cells: &[RawValue]) -> A {
        // SAFETY: the caller's.
        let (value,) = unsafe { <(A,)>::load(core, cells) };
        value
    }
}

macro_rules! tuple {
    ($count:literal $($name:ident)*) => {
        #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, clippy::unused_unit)]
        impl<$($name: Cell),*> Cells for ($($name,)*) {
            const TYPES: &'static [ValType] = &[$($name::TYPE),*];

            #[inline]
            fn check(&self, core: &StoreCore, what: &str) -> Result<()> {
                let ($($name,)*) = *self;
                let mut position = 0;
                $(
                    if $name.store().is_some_and(|store| store != core.id()) {
                        return Err(foreign(what, position));
                    }
                    position += 1;
                )*
                Ok(())
            }

            #[inline]
            fn store_to(self, core: &StoreCore, cells: &mut [RawValue]) {
                let cells: &mut [RawValue; $count] = cells.first_chunk_mut().expect(TOO_FEW);
                let mut cells = cells.iter_mut();
                let ($($name,)*) = self;
                $(*cells.next().expect(TOO_FEW) = $name.into_cell(core);)*
            }

            #[inline]
            unsafe fn load(core: &StoreCore, cells: &[RawValue]) -> ($($name,)*) {
                let cells: &[RawValue; $count] = cells.first_chunk().expect(TOO_FEW);
                let mut cells = cells.iter();
                // SAFETY: the caller's.
                $(let $name = unsafe {
                    <$name as Cell>::from_cell(core, *cells.next().expect(TOO_FEW))
                };)*
                ($($name,)*)
            }
        }
    };
}
crate::into_func::for_each_arity!(tuple);

/// A value as a cell for a place of type `ty`; an error if it does not fit there. `place` says
/// which place that is.
pub(super) fn cell_of<P: Display>(
    core: &StoreCore,
    ty: ValType,
    value: &Val,
    place: impl FnOnce() -> P,
) -> Result<RawValue> {
    if value.ty() != ty {
        bail!("{}: expected `{ty}`, found `{}`", place(), value.ty());
    }
    if value.store().is_some_and(|store| store != core.id()) {
        bail!("{}: the reference is of another store", place());
    }
    Ok(match *value {
        Val::I32(value) => RawValue::i32(value),
        Val::I64(value) => RawValue::i64(value),
        Val::F32(bits) => RawValue::f32(bits),
        Val::F64(bits) => RawValue::f64(bits),
        Val::V128(value) => RawValue::v128(value.as_u128()),
        Val::FuncRef(func) => func.into_cell(core),
        Val::ExternRef(object) => object.into_cell(core),
        Val::ExnRef(exception) => exception.into_cell(core),
    })
}

/// The value in a cell.
///
/// # Safety
///
/// The cell came out of this store, with a value of type `ty`.
pub(super) unsafe fn val_of(core: &StoreCore, ty: ValType, cell: RawValue) -> Val {
    match ty {
        ValType::I32 => Val::I32(cell.as_i32()),
        ValType::I64 => Val::I64(cell.as_i64()),
        ValType::F32 => Val::F32(cell.as_f32()),
        ValType::F64 => Val::F64(cell.as_f64()),
        ValType::V128 => Val::V128(cell.as_v128().into()),
        // SAFETY: the caller's.
        ValType::FuncRef => Val::FuncRef(unsafe { Cell::from_cell(core, cell) }),
        // SAFETY: the caller's.
        ValType::ExternRef => Val::ExternRef(unsafe { Cell::from_cell(core, cell) }),
        // SAFETY: the caller's.
        ValType::ExnRef => Val::ExnRef(unsafe { Cell::from_cell(core, cell) }),
    }
}

/// The results of a function of type `ty`, into as many values.
///
/// # Safety
///
/// The cells came out of this store, with results of that type.
pub(super) unsafe fn load_results(
    core: &StoreCore,
    ty: &FuncType,
    cells: &[RawValue],
    to: &mut [Val],
) {
    for ((result, ty), cell) in to.iter_mut().zip(ty.results()).zip(cells) {
        // SAFETY: the caller's.
        *result = unsafe { val_of(core, *ty, *cell) };
    }
}

/// As [`val_of`], for a table's element. An element of another type cannot be.
///
/// # Safety
///
/// As for [`val_of`].
pub(super) unsafe fn ref_of(core: &StoreCore, ty: ValType, cell: RawValue) -> Ref {
    // SAFETY: the caller's.
    match unsafe { val_of(core, ty, cell) } {
        Val::FuncRef(func) => Ref::Func(func),
        Val::ExternRef(object) => Ref::Extern(object),
        Val::ExnRef(exception) => Ref::Exn(exception),
        other => unreachable!("a table of `{}`", other.ty()),
    }
}
