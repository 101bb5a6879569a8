//! Handles: names of frames that are frozen.
//!
//! A handle says which store, which frozen period, and which frame of it. It borrows nothing, and
//! every use takes the store and asks first whether the period is still there
//! (`versions.rs`); if it is, the frame is where it was, stands where it stood, and its row is the
//! one that the handle has.

use super::access::FrozenStack;
use super::row::{FrameRow, LocalPlace};
use super::value::{FrameError, FrameValue};
use super::versions::Version;
use crate::store::{InstanceHandle, StoreCore, StoreId};
use crate::value::RawValue;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use stillframe_abi::types::ValType;

/// Names a frame of a frozen period.
#[derive(Clone)]
pub struct FrameHandle {
    store: StoreId,
    version: Version,
    fp: usize,
    /// Of the place where the frame stands as long as the period lasts.
    row: Arc<FrameRow>,
}

/// Names a frozen period of an activation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ActivationId(Version);

impl PartialEq for FrameHandle {
    fn eq(&self, other: &FrameHandle) -> bool {
        (self.version, self.fp) == (other.version, other.fp)
    }
}

impl Eq for FrameHandle {}

impl Hash for FrameHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.version, self.fp).hash(state);
    }
}

impl FrameHandle {
    #[inline]
    pub(super) fn new(
        store: StoreId,
        version: Version,
        fp: usize,
        row: Arc<FrameRow>,
    ) -> FrameHandle {
        FrameHandle { store, version, fp, row }
    }

    /// The row, for other frames at the same place.
    #[inline]
    pub(super) fn shared_row(&self) -> &Arc<FrameRow> {
        &self.row
    }

    /// Whether the frame is still frozen as it was when the handle was made.
    #[inline]
    pub fn is_valid(&self, store: &StoreCore) -> bool {
        self.look(store, |_| ()).is_ok()
    }

    /// The frame that called this one; if the host did, the innermost of the activation around.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store.
    pub fn parent(&self, store: &StoreCore) -> Result<Option<FrameHandle>, FrameError> {
        self.check_store(store)?;
        store.parent_of(self.version, self.fp)
    }

    /// The frozen period.
    #[inline]
    pub fn activation(&self) -> ActivationId {
        ActivationId(self.version)
    }

    /// Where the frame stands.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store.
    #[inline]
    pub fn row(&self, store: &StoreCore) -> Result<&FrameRow, FrameError> {
        self.look(store, |_| ())?;
        Ok(&self.row)
    }

    /// The instance whose function it is.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store; [`FrameError::NotLive`] if that is not known.
    pub fn instance(&self, store: &StoreCore) -> Result<InstanceHandle, FrameError> {
        let context = self.look(store, |stack| self.row.context(stack, self.fp))?;
        let instance = context.and_then(|context| store.instance_of(&self.row, context));
        instance.ok_or(FrameError::NotLive)
    }

    /// Number of locals, parameters included.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store.
    pub fn num_locals(&self, store: &StoreCore) -> Result<usize, FrameError> {
        Ok(self.row(store)?.locals().len())
    }

    /// Number of operands; those that a call has taken are not among them.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store.
    pub fn num_operands(&self, store: &StoreCore) -> Result<usize, FrameError> {
        Ok(self.row(store)?.state.operands().len())
    }

    /// The type of a local; parameters come first.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store, or there is no such local.
    pub fn local_type(&self, store: &StoreCore, index: usize) -> Result<ValType, FrameError> {
        Ok(self.row(store)?.local(index)?.ty)
    }

    /// The type of an operand, if that is known; 0 is the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store, or there is no such operand.
    pub fn operand_type(
        &self,
        store: &StoreCore,
        index: usize,
    ) -> Result<Option<ValType>, FrameError> {
        self.row(store)?.operand(index)
    }

    /// The value of a local.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store, or there is no such local, or it is not kept.
    #[inline]
    pub fn local(&self, store: &StoreCore, index: usize) -> Result<FrameValue, FrameError> {
        let (ty, raw) = self.look(store, |stack| self.row.read_local(stack, self.fp, index))??;
        // SAFETY: frame rows: the row says that the cell of a frame of this store holds a value of
        // this type.
        Ok(unsafe { store.frame_value(ty, raw) })
    }

    /// The value of an operand.
    ///
    /// # Errors
    ///
    /// If the handle is stale or of another store, or there is no such operand, or it is not kept.
    pub fn operand(&self, store: &StoreCore, index: usize) -> Result<FrameValue, FrameError> {
        let (ty, raw) =
            self.look(store, |stack| self.row.read_operand(stack, self.fp, index))??;
        // SAFETY: frame rows: as for `local`.
        Ok(unsafe { store.frame_value(ty, raw) })
    }

    /// Changes a local; the program sees it when it goes on.
    ///
    /// # Errors
    ///
    /// As for [`FrameHandle::local`]; if the module was compiled without `frame_writes`; if the
    /// value is of another type or another store. Nothing has changed then.
    pub fn set_local(
        &self,
        store: &mut StoreCore,
        index: usize,
        value: FrameValue,
    ) -> Result<(), FrameError> {
        let local = *self.writable(store)?.local(index)?;
        let raw = store.raw_frame_value(local.ty, value)?;
        let below = self.row.below_of_local(&local)?;
        // SAFETY: frame rows: the cell holds a local of this type, and the module was compiled so
        // that such cells can be written.
        unsafe { self.write(store, below, local.ty, raw) }
    }

    /// Changes an operand; the program sees it when it goes on.
    ///
    /// # Errors
    ///
    /// As for [`FrameHandle::set_local`].
    pub fn set_operand(
        &self,
        store: &mut StoreCore,
        index: usize,
        value: FrameValue,
    ) -> Result<(), FrameError> {
        let ty = self.writable(store)?.operand(index)?.ok_or(FrameError::NotLive)?;
        let raw = store.raw_frame_value(ty, value)?;
        let below = self.row.below_of_operand(index, ty).ok_or(FrameError::NotLive)?;
        // SAFETY: frame rows: as in `set_local`.
        unsafe { self.write(store, below, ty, raw) }
    }

    #[inline]
    fn check_store(&self, store: &StoreCore) -> Result<(), FrameError> {
        if self.store == store.id() { Ok(()) } else { Err(FrameError::WrongStore) }
    }

    /// Lets `look` see the stack that the frame is on.
    #[inline]
    fn look<R>(
        &self,
        store: &StoreCore,
        look: impl FnOnce(&FrozenStack<'_>) -> R,
    ) -> Result<R, FrameError> {
        self.check_store(store)?;
        store.look_at(self.version, look).ok_or(FrameError::Stale)
    }

    /// The row, if frames of its module can be written.
    fn writable(&self, store: &StoreCore) -> Result<&FrameRow, FrameError> {
        let row = self.row(store)?;
        match row.module().frame_writes() {
            true => Ok(row),
            false => Err(FrameError::ReadOnly),
        }
    }

    /// Writes a value so many bytes below the frame pointer.
    ///
    /// # Safety
    ///
    /// The frame has a cell there that holds a value of type `ty` and can be written; `raw` is a
    /// value of this type and of this store.
    unsafe fn write(
        &self,
        store: &mut StoreCore,
        below: u32,
        ty: ValType,
        raw: RawValue,
    ) -> Result<(), FrameError> {
        let bytes = raw.as_v128().to_le_bytes();
        let written = self.look(store, |stack| {
            let address = self.fp.checked_sub(below as usize)?;
            // SAFETY: frozen stack: the store is borrowed mutably, so nobody looks at its frames
            // but us, and the frame is frozen; the rest is the caller's.
            unsafe {
                match ty {
                    ValType::V128 => stack.write(address, bytes),
                    ValType::I32 | ValType::F32 => stack.write::<4>(address, *bytes.first_chunk()?),
                    _ => stack.write::<8>(address, *bytes.first_chunk()?),
                }
            }
        })?;
        written.ok_or(FrameError::NotLive)
    }
}

impl FrameRow {
    #[inline]
    pub(super) fn local(&self, index: usize) -> Result<&LocalPlace, FrameError> {
        let locals = self.locals();
        locals.get(index).ok_or(FrameError::OutOfRange { index, len: locals.len() })
    }

    fn operand(&self, index: usize) -> Result<Option<ValType>, FrameError> {
        let operands = self.state.operands();
        let ty = operands.get(index).copied();
        ty.ok_or(FrameError::OutOfRange { index, len: operands.len() })
    }

    /// Bytes from the frame pointer down to the cell of a local, if it holds the local.
    #[inline]
    fn below_of_local(&self, local: &LocalPlace) -> Result<u32, FrameError> {
        match self.state.holds(local.cell) {
            true => Ok(local.below),
            false => Err(FrameError::NotLive),
        }
    }

    /// Type and value of a local in the frame at `fp`.
    #[inline]
    pub(super) fn read_local(
        &self,
        stack: &FrozenStack<'_>,
        fp: usize,
        index: usize,
    ) -> Result<(ValType, RawValue), FrameError> {
        let local = self.local(index)?;
        let below = self.below_of_local(local)?;
        let value = read(stack, fp, below, local.ty).ok_or(FrameError::NotLive)?;
        Ok((local.ty, value))
    }

    /// Type and value of an operand in the frame at `fp`.
    pub(super) fn read_operand(
        &self,
        stack: &FrozenStack<'_>,
        fp: usize,
        index: usize,
    ) -> Result<(ValType, RawValue), FrameError> {
        let ty = self.operand(index)?.ok_or(FrameError::NotLive)?;
        let below = self.below_of_operand(index, ty).ok_or(FrameError::NotLive)?;
        Ok((ty, read(stack, fp, below, ty).ok_or(FrameError::NotLive)?))
    }

    /// The address of the instance's context in the frame at `fp`, if it is kept.
    pub(super) fn context(&self, stack: &FrozenStack<'_>, fp: usize) -> Option<usize> {
        let place = self.context_place()?;
        let holds = self.state.holds(place.cell);
        holds.then(|| stack.word(fp.checked_sub(place.below as usize)?))?
    }
}

/// Reads a value so many bytes below a frame pointer; what its cell has beyond its size is not
/// read.
#[inline]
fn read(stack: &FrozenStack<'_>, fp: usize, below: u32, ty: ValType) -> Option<RawValue> {
    let address = fp.checked_sub(below as usize)?;
    Some(match ty {
        ValType::V128 => RawValue::v128(u128::from_le_bytes(stack.read(address)?)),
        ValType::I32 | ValType::F32 => RawValue::f32(u32::from_le_bytes(stack.read(address)?)),
        _ => RawValue::f64(u64::from_le_bytes(stack.read(address)?)),
    })
}

impl StoreCore {
    /// A cell's value as one that can be handed out.
    ///
    /// # Safety
    ///
    /// The cell is of a frame of this store and holds a value of type `ty`.
    #[inline]
    pub(super) unsafe fn frame_value(&self, ty: ValType, raw: RawValue) -> FrameValue {
        match ty {
            ValType::I32 => FrameValue::I32(raw.as_i32()),
            ValType::I64 => FrameValue::I64(raw.as_i64()),
            ValType::F32 => FrameValue::F32(raw.as_f32()),
            ValType::F64 => FrameValue::F64(raw.as_f64()),
            ValType::V128 => FrameValue::V128(raw.as_v128()),
            // SAFETY: the caller's: it is a `funcref` of this store.
            ValType::FuncRef => FrameValue::FuncRef(unsafe { self.func_from_raw(raw) }),
            ValType::ExternRef => FrameValue::ExternRef(self.extern_from_raw(raw)),
            ValType::ExnRef => FrameValue::ExnRef(self.exn_from_raw(raw)),
        }
    }

    /// A value as a cell of type `ty` holds it.
    fn raw_frame_value(&self, ty: ValType, value: FrameValue) -> Result<RawValue, FrameError> {
        if value.ty() != ty {
            return Err(FrameError::TypeMismatch { expected: ty, found: value.ty() });
        }
        if value.store().is_some_and(|store| store != self.id()) {
            return Err(FrameError::WrongStore);
        }
        Ok(match value {
            FrameValue::I32(value) => RawValue::i32(value),
            FrameValue::I64(value) => RawValue::i64(value),
            FrameValue::F32(bits) => RawValue::f32(bits),
            FrameValue::F64(bits) => RawValue::f64(bits),
            FrameValue::V128(bits) => RawValue::v128(bits),
            FrameValue::FuncRef(func) => self.func_to_raw(func),
            FrameValue::ExternRef(object) => self.extern_to_raw(object),
            FrameValue::ExnRef(exception) => self.exn_to_raw(exception),
        })
    }

    /// The instance with this context, if it is one of the row's module.
    pub(super) fn instance_of(&self, row: &FrameRow, context: usize) -> Option<InstanceHandle> {
        let instance = self.instance_at(context)?;
        let module = &self.instances.get(instance.index as usize)?.module;
        Arc::ptr_eq(module, row.module()).then_some(instance)
    }
}

impl std::fmt::Debug for FrameHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameHandle")
            .field("store", &self.store)
            .field("activation", &self.version)
            .field("func_index", &self.row.func_index())
            .field("wasm_pc", &self.row.wasm_pc())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<FrameHandle>();
    assert!(size_of::<FrameHandle>() <= 48);
};
