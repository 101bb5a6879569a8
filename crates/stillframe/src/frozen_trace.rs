//! `FrozenTrace`: what could be read of the frames of a call that has failed.

use crate::engine::Engine;
use crate::frame::{FrameLocal, FrameOperand};
use crate::instance::Instance;
use crate::module::Module;
use crate::raw;
use crate::val::Val;
use anyhow::Error;
use std::fmt;
use stillframe_abi::types::ValType;
use stillframe_debug::{FrameInfo, FrameSymbol, WasmBacktrace, local_names_of};
use stillframe_runtime::{FrameError, TraceFrame};

/// A copy of the frames of a call that has failed, with their locals and operands as they were.
///
/// The frames themselves are gone by then, and handles of them are stale. The error of the call owns
/// the copy; like its [`WasmBacktrace`] it spans all calls that were nested, and of more than 80
/// frames it has the innermost 64 and the outermost 16.
///
/// References in it are of the call's store, and are checked when they are used.
///
/// ```
/// use stillframe::{Engine, FrozenTrace, Instance, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module (func $f (export "f") (param $x i32) (unreachable)))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
/// let error = f.call(&mut store, 7).unwrap_err();
/// let trace = FrozenTrace::of(&error).unwrap();
/// assert_eq!(trace.frames()[0].func_name(), Some("f"));
/// assert_eq!(trace.frames()[0].num_locals(), 1);
/// # stillframe::Result::<()>::Ok(())
/// ```
#[repr(transparent)]
pub struct FrozenTrace(pub(crate) WasmBacktrace);

/// A frame of a [`FrozenTrace`].
#[repr(transparent)]
pub struct FrozenFrame(pub(crate) FrameInfo);

impl FrozenTrace {
    /// What the error of a call owns; `None` if wasm was not entered.
    pub fn of(error: &Error) -> Option<&FrozenTrace> {
        let trace = error.downcast_ref::<WasmBacktrace>()?;
        trace.has_values().then(|| raw::frozen_trace(trace))
    }

    /// The frames, innermost first. If some were [omitted](FrozenTrace::omitted), they are missing
    /// between the first 64 and the rest.
    pub fn frames(&self) -> &[FrozenFrame] {
        raw::frozen_frames(self.0.frames())
    }

    /// How many frames in the middle were left out.
    pub fn omitted(&self) -> usize {
        self.0.omitted()
    }
}

impl FrozenFrame {
    fn frame(&self) -> &TraceFrame {
        self.0.frame()
    }

    /// Which call from the host into wasm the frame belonged to: 0 is the innermost. Between frames
    /// with different numbers host functions were running.
    pub fn activation(&self) -> usize {
        self.0.activation()
    }

    /// The module of its function.
    pub fn module(&self) -> Module {
        let module = self.frame().row().module();
        Module::from_compiled(&Engine::of(module.engine()), module.clone())
    }

    /// The instance whose function it was, if that is known.
    pub fn instance(&self) -> Option<Instance> {
        self.frame().instance().map(Instance)
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.0.func_index()
    }

    /// The function's name, from the module's name section, as it stands there: it can be mangled
    /// ([`demangle`](crate::demangle) makes it readable).
    pub fn func_name(&self) -> Option<&str> {
        self.0.func_name()
    }

    /// Where the frame stood: the offset in the wasm file, in bytes, of the operator that trapped or
    /// that called.
    pub fn wasm_pc(&self) -> u32 {
        self.frame().row().wasm_pc().0
    }

    /// What the guest's DWARF says of the place; see
    /// [`FrameHandle::source`](crate::FrameHandle::source).
    pub fn source(&self) -> &[FrameSymbol] {
        self.0.symbols()
    }

    /// Number of locals, parameters included.
    pub fn num_locals(&self) -> usize {
        self.frame().num_locals()
    }

    /// Number of operands; those that the operator had taken already are not among them.
    pub fn num_operands(&self) -> usize {
        self.frame().num_operands()
    }

    /// The type of a local; parameters come first.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfRange`].
    pub fn local_type(&self, index: usize) -> Result<ValType, FrameError> {
        self.frame().local_type(index)
    }

    /// The value of a local; parameters come first.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfRange`], and [`FrameError::NotLive`] if it was not kept at this place.
    pub fn local(&self, index: usize) -> Result<Val, FrameError> {
        self.frame().local(index).map(Val::of_frame)
    }

    /// The value of an operand; 0 is the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfRange`], and [`FrameError::NotLive`] if it was not kept at this place.
    pub fn operand(&self, index: usize) -> Result<Val, FrameError> {
        self.frame().operand(index).map(Val::of_frame)
    }

    /// The name of a local, from the module's name section or the guest's DWARF.
    pub fn local_name(&self, index: usize) -> Option<String> {
        local_names_of(self.frame().row()).get(index)
    }

    /// All locals, with their names and values.
    pub fn locals(&self) -> Vec<FrameLocal> {
        let names = local_names_of(self.frame().row());
        let local = |index| {
            let ty = self.frame().local_type(index).ok()?;
            Some(FrameLocal { index, name: names.get(index), ty, value: self.local(index) })
        };
        (0..self.num_locals()).filter_map(local).collect()
    }

    /// All operands, from the bottom of the operand stack.
    pub fn operands(&self) -> Vec<FrameOperand> {
        let operand = |index| {
            let ty = self.frame().operand_type(index);
            FrameOperand { index, ty, value: self.operand(index) }
        };
        (0..self.num_operands()).map(operand).collect()
    }
}

/// As the frame of a backtrace is printed.
impl fmt::Display for FrozenFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FrozenFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenFrame")
            .field("activation", &self.activation())
            .field("func_index", &self.func_index())
            .field("wasm_pc", &self.wasm_pc())
            .field("locals", &self.locals())
            .field("operands", &self.operands())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FrozenTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenTrace")
            .field("frames", &self.frames())
            .field("omitted", &self.omitted())
            .finish()
    }
}
