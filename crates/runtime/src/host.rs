//! Host functions: closures that wasm can call.

use crate::engine::builtin_table;
use crate::store::{FuncHandle, InstanceHandle, StoreCore, StoreId};
use crate::value::RawValue;
use anyhow::Result;
use std::ptr::NonNull;
use std::sync::Arc;
use stillframe_abi::types::FuncType;
use stillframe_abi::vmctx::{VMFuncRef, VMHOSTCONTEXT_MAGIC, VMHostContextHeader};

/// What a host function gets.
pub struct HostCall<'a> {
    /// The store it was called in.
    pub store: &'a mut StoreCore,
    /// The instance that called it; `None` if the host did.
    pub caller: Option<InstanceHandle>,
    /// Parameters in, results out: as many cells as the larger of the two.
    pub values: &'a mut [RawValue],
}

/// A host function's code.
pub type HostClosure = Arc<dyn Fn(HostCall<'_>) -> Result<()> + Send + Sync>;

/// A host function in a store: the context that generated code passes around, and what it stands
/// for. Boxed, at an address that does not change.
#[repr(C)]
pub(crate) struct HostFunction {
    header: VMHostContextHeader,
    /// The store that the function lives in, which owns it.
    pub(crate) store: NonNull<StoreCore>,
    pub(crate) closure: HostClosure,
    /// Cells of the argument array.
    pub(crate) cells: usize,
    func_ref: VMFuncRef,
}

// Generated code finds the header at the context's address.
const _: () = assert!(std::mem::offset_of!(HostFunction, header) == 0);

impl HostFunction {
    /// The host function whose context is at `context`.
    ///
    /// # Safety
    ///
    /// `context` is the address of a `HostFunction` of a store that lives.
    pub(crate) unsafe fn from_context<'a>(context: *mut ()) -> &'a HostFunction {
        // SAFETY: the caller's.
        let function = unsafe { &*context.cast::<HostFunction>() };
        debug_assert_eq!(function.header.magic, VMHOSTCONTEXT_MAGIC);
        function
    }
}

impl StoreCore {
    /// Adds a host function of type `ty`. `closure` may rely on `ty` for the parameters it gets.
    ///
    /// # Errors
    ///
    /// If the trampolines of the type cannot be compiled.
    ///
    /// # Safety
    ///
    /// When the closure returns `Ok`, it has stored results of the types of `ty`, and references
    /// are of the store it was called with.
    pub unsafe fn add_host_function(
        &mut self,
        ty: &FuncType,
        closure: HostClosure,
    ) -> Result<FuncHandle> {
        let type_id = self.engine().types().intern(ty);
        let trampolines = self.trampolines(type_id)?;
        let engine = self.engine().clone();
        let store = NonNull::from(&mut *self);
        let mut function = Box::new(HostFunction {
            header: VMHostContextHeader {
                magic: VMHOSTCONTEXT_MAGIC,
                limits: &*self.limits,
                builtins: builtin_table(),
                epoch: engine.epoch_cell(),
            },
            store,
            closure,
            cells: ty.params().len().max(ty.results().len()),
            func_ref: VMFuncRef {
                wasm_call: trampolines.host,
                vmctx: std::ptr::null_mut(),
                type_id,
            },
        });
        let context: *mut HostFunction = &mut *function;
        function.func_ref.vmctx = context.cast();
        let func_ref = NonNull::from(&mut function.func_ref);
        self.host_functions.push(function);
        Ok(FuncHandle { store: self.id(), func_ref })
    }
}

/// Calls a host function on behalf of generated code or of the host itself.
///
/// # Safety
///
/// `function`'s store lives and is not borrowed but by the call that has led here; `values` points
/// to `function.cells` cells that nobody else uses.
pub(crate) unsafe fn call(
    function: &HostFunction,
    caller: Option<InstanceHandle>,
    values: *mut RawValue,
) -> Result<()> {
    // SAFETY: the caller's: the one live reference to the store is the one in `Func::call` or
    // `Instance::new`, which is not used until this returns.
    let store = unsafe { &mut *function.store.as_ptr() };
    // SAFETY: the caller's.
    let values = unsafe { std::slice::from_raw_parts_mut(values, function.cells) };
    (function.closure)(HostCall { store, caller, values })
}

impl HostCall<'_> {
    /// The id of the store.
    pub fn store_id(&self) -> StoreId {
        self.store.id()
    }
}
