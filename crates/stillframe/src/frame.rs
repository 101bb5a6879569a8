//! Frames of frozen wasm: `FrameHandle`, and the iterator that finds them.

use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::instance::Instance;
use crate::module::Module;
use crate::val::Val;
use std::fmt;
use stillframe_abi::types::ValType;
use stillframe_debug::{FrameSymbol, local_names_of, symbols_of};
use stillframe_runtime::{ActivationId, FrameError, FrameHandle as Handle, Frames as RawFrames};

/// Names a wasm frame that is frozen: that has called the host, directly or through other frames,
/// or stands where its call was suspended.
///
/// Frames are found with [`Caller::frames`](crate::Caller::frames) in a host function, with
/// [`Store::frames`](crate::Store::frames), and with
/// [`ResumableCall::frames`](crate::ResumableCall::frames) in a suspended call.
///
/// A handle borrows nothing: it can be kept, compared, hashed and sent to other threads. Whatever is
/// asked of it takes the store, and is checked. Once the frame has gone on, by whatever way, or is
/// gone, the answer is [`FrameError::Stale`]; while it is frozen the handle stays good, also when
/// the host runs other wasm meanwhile. `docs/frames.md` tells the life of a handle.
///
/// What can be read of locals and operands depends on
/// [`Config::frame_state`](crate::Config::frame_state).
///
/// ```
/// use stillframe::{Caller, Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module
///         (import "host" "stop" (func $stop))
///         (func $inner (call $stop))
///         (func (export "outer") (call $inner)))
/// "#)?;
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "stop", |mut caller: Caller<'_, Vec<stillframe::FrameHandle>>| {
///     let frames: Vec<_> = caller.frames().collect();
///     assert_eq!(frames[0].func_name(&caller)?, Some("inner"));
///     assert_eq!(frames[0].parent(&caller)?.as_ref(), Some(&frames[1]));
///     assert_eq!(frames[1].parent(&caller)?, None);
///     *caller.data_mut() = frames;
///     stillframe::Result::Ok(())
/// })?;
/// let mut store = Store::new(&engine, Vec::new());
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "outer")?.call(&mut store, ())?;
/// let frames = std::mem::take(store.data_mut());
/// assert!(!frames[0].is_valid(&store));
/// assert_eq!(frames[0].func_name(&store), Err(stillframe::FrameError::Stale));
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FrameHandle(Handle);

/// A local of a frame.
#[derive(Clone, Debug)]
pub struct FrameLocal {
    /// Its index; parameters come first.
    pub index: usize,
    /// Its name, from the module's name section or the guest's DWARF.
    pub name: Option<String>,
    /// Its type.
    pub ty: ValType,
    /// Its value, or why that cannot be had.
    pub value: Result<Val, FrameError>,
}

/// An operand of a frame: what the operators so far have left on the operand stack, but for what
/// the operator at which the frame stands has taken already.
#[derive(Clone, Debug)]
pub struct FrameOperand {
    /// Its index; 0 is the bottom of the operand stack.
    pub index: usize,
    /// Its type, if that is known.
    pub ty: Option<ValType>,
    /// Its value, or why that cannot be had.
    pub value: Result<Val, FrameError>,
}

impl FrameHandle {
    /// Whether the frame is still frozen as it was when the handle was made, in this store.
    #[inline]
    pub fn is_valid(&self, store: impl AsContext) -> bool {
        self.0.is_valid(store.as_context().core)
    }

    /// The frame that called this one. If the host did, the innermost frame of the
    /// [activation](FrameHandle::activation) around; `None` if there is none. A suspended call has
    /// none around.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn parent(&self, store: impl AsContext) -> Result<Option<FrameHandle>, FrameError> {
        Ok(self.0.parent(store.as_context().core)?.map(FrameHandle))
    }

    /// The frozen activation that the frame belongs to: equal for frames of one call from the host
    /// into wasm, as long as that stays frozen. Between frames with different ones host functions
    /// were running.
    #[inline]
    pub fn activation(&self) -> ActivationId {
        self.0.activation()
    }

    /// The instance whose function it is.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`]; [`FrameError::NotLive`] if that is not
    /// known.
    pub fn instance(&self, store: impl AsContext) -> Result<Instance, FrameError> {
        self.0.instance(store.as_context().core).map(Instance)
    }

    /// The module of its function.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn module(&self, store: impl AsContext) -> Result<Module, FrameError> {
        let module = self.0.row(store.as_context().core)?.module();
        Ok(Module::from_compiled(&Engine::of(module.engine()), module.clone()))
    }

    /// The function's index in its module.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn func_index(&self, store: impl AsContext) -> Result<u32, FrameError> {
        Ok(self.0.row(store.as_context().core)?.func_index())
    }

    /// The function's name, from the module's name section, as it stands there: it can be mangled
    /// ([`demangle`](crate::demangle) makes it readable).
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn func_name(&self, store: impl AsContext) -> Result<Option<&str>, FrameError> {
        let row = self.0.row(store.as_context().core)?;
        Ok(row.module().info().func_name(row.func_index()))
    }

    /// Where the frame stands: the offset in the wasm file, in bytes, of a call, or of the operator
    /// at which the call was suspended.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn wasm_pc(&self, store: impl AsContext) -> Result<u32, FrameError> {
        Ok(self.0.row(store.as_context().core)?.wasm_pc().0)
    }

    /// What the guest's DWARF says of the place: functions that the guest's compiler had inlined
    /// there, innermost first, and last the function itself. Empty if nothing is known, or
    /// [`Config::debug_info`](crate::Config::debug_info) is off.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn source(&self, store: impl AsContext) -> Result<Vec<FrameSymbol>, FrameError> {
        Ok(symbols_of(self.0.row(store.as_context().core)?))
    }

    /// Number of locals, parameters included.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn num_locals(&self, store: impl AsContext) -> Result<usize, FrameError> {
        self.0.num_locals(store.as_context().core)
    }

    /// Number of operands on the operand stack; those that the operator at which the frame stands
    /// has taken already are not among them. 0 with [`FrameState::Off`](crate::FrameState::Off).
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn num_operands(&self, store: impl AsContext) -> Result<usize, FrameError> {
        self.0.num_operands(store.as_context().core)
    }

    /// The type of a local; parameters come first.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], [`FrameError::Stale`] and [`FrameError::OutOfRange`].
    pub fn local_type(&self, store: impl AsContext, index: usize) -> Result<ValType, FrameError> {
        self.0.local_type(store.as_context().core, index)
    }

    /// The type of an operand, if it is known; 0 is the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], [`FrameError::Stale`] and [`FrameError::OutOfRange`].
    pub fn operand_type(
        &self,
        store: impl AsContext,
        index: usize,
    ) -> Result<Option<ValType>, FrameError> {
        self.0.operand_type(store.as_context().core, index)
    }

    /// The name of a local, from the module's name section or the guest's DWARF.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], [`FrameError::Stale`] and [`FrameError::OutOfRange`].
    pub fn local_name(
        &self,
        store: impl AsContext,
        index: usize,
    ) -> Result<Option<String>, FrameError> {
        let core = store.as_context().core;
        self.0.local_type(core, index)?;
        Ok(local_names_of(self.0.row(core)?).get(index))
    }

    /// The value of a local; parameters come first.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], [`FrameError::Stale`], [`FrameError::OutOfRange`], and
    /// [`FrameError::NotLive`] if it is not kept at this place.
    // Always, so that the value need not pass through memory.
    #[inline(always)]
    pub fn local(&self, store: impl AsContext, index: usize) -> Result<Val, FrameError> {
        self.0.local(store.as_context().core, index).map(Val::of_frame)
    }

    /// The value of an operand; 0 is the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], [`FrameError::Stale`], [`FrameError::OutOfRange`], and
    /// [`FrameError::NotLive`] if it is not kept at this place.
    pub fn operand(&self, store: impl AsContext, index: usize) -> Result<Val, FrameError> {
        self.0.operand(store.as_context().core, index).map(Val::of_frame)
    }

    /// All locals, with their names and values.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn locals(&self, store: impl AsContext) -> Result<Vec<FrameLocal>, FrameError> {
        let core = store.as_context().core;
        let names = local_names_of(self.0.row(core)?);
        let local = |index| {
            let (name, ty) = (names.get(index), self.0.local_type(core, index)?);
            let value = self.0.local(core, index).map(Val::of_frame);
            Ok(FrameLocal { index, name, ty, value })
        };
        (0..self.0.num_locals(core)?).map(local).collect()
    }

    /// All operands, from the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`] and [`FrameError::Stale`].
    pub fn operands(&self, store: impl AsContext) -> Result<Vec<FrameOperand>, FrameError> {
        let core = store.as_context().core;
        let operand = |index| {
            let ty = self.0.operand_type(core, index)?;
            let value = self.0.operand(core, index).map(Val::of_frame);
            Ok(FrameOperand { index, ty, value })
        };
        (0..self.0.num_operands(core)?).map(operand).collect()
    }

    /// Changes a local: the program sees the new value when it goes on. Needs
    /// [`Config::frame_writes`](crate::Config::frame_writes).
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], also if the value is of another store; [`FrameError::Stale`],
    /// [`FrameError::ReadOnly`], [`FrameError::OutOfRange`], [`FrameError::TypeMismatch`], and
    /// [`FrameError::NotLive`] if it is not kept at this place. Nothing has changed then. A local that
    /// is kept although the program does not read it any more is changed to no effect.
    pub fn set_local(
        &self,
        mut store: impl AsContextMut,
        index: usize,
        value: Val,
    ) -> Result<(), FrameError> {
        self.0.set_local(store.as_context_mut().core, index, value.for_frame())
    }

    /// Changes an operand: the program sees the new value when it goes on. Needs
    /// [`Config::frame_writes`](crate::Config::frame_writes).
    ///
    /// # Errors
    ///
    /// As [`FrameHandle::set_local`].
    pub fn set_operand(
        &self,
        mut store: impl AsContextMut,
        index: usize,
        value: Val,
    ) -> Result<(), FrameError> {
        self.0.set_operand(store.as_context_mut().core, index, value.for_frame())
    }
}

impl fmt::Debug for FrameHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Iterator over frozen frames, innermost first; see [`FrameHandle`].
pub struct Frames<'a>(Option<RawFrames<'a>>);

impl<'a> Frames<'a> {
    pub(crate) fn new(frames: RawFrames<'a>) -> Frames<'a> {
        Frames(Some(frames))
    }

    /// Of a call that has none.
    pub(crate) fn none() -> Frames<'a> {
        Frames(None)
    }
}

impl Iterator for Frames<'_> {
    type Item = FrameHandle;

    #[inline]
    fn next(&mut self) -> Option<FrameHandle> {
        self.0.as_mut()?.next().map(FrameHandle)
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<FrameHandle>();
    assert!(size_of::<FrameHandle>() <= 48);
};
