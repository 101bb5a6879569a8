//! Calling functions: entering wasm, and all the ways it ends.
//!
//! An activation is one entry from the host: into wasm on a wasm stack of its own, or into a host
//! function that the host calls straight. They nest (wasm → host → wasm): each saves the limits it
//! finds and puts them back, so that the outer one finds its own.

use crate::arch::{self, Status};
use crate::frames::Trace;
use crate::host::{self, HostFunction};
use crate::stack::WasmStack;
use crate::store::{FuncHandle, StoreCore};
use crate::traps::{self, CallState};
use crate::value::RawValue;
use anyhow::Error;
use std::any::Any;
use std::cell::Cell;
use std::panic::resume_unwind;
use stillframe_abi::limits::ENTRY_SP_HOST_DIRECT;
use stillframe_abi::vmctx::{VMFuncRef, VMHOSTCONTEXT_MAGIC};
use stillframe_abi::{Trap, VMRuntimeLimits};

/// One entry from the host.
pub(crate) struct Activation {
    /// The wasm stack; `None` for a host function that the host called straight.
    pub(crate) stack: Option<Box<WasmStack>>,
    /// The limits as the activation before left them.
    pub(crate) outer: SavedLimits,
}

/// The fields of [`VMRuntimeLimits`] that belong to an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavedLimits {
    stack_limit: usize,
    pub(crate) exit_fp: usize,
    pub(crate) exit_pc: usize,
    exit_sp: usize,
    entry_sp: usize,
}

impl SavedLimits {
    /// The limits of a store in which nothing runs.
    const IDLE: SavedLimits =
        SavedLimits { stack_limit: 0, exit_fp: 0, exit_pc: 0, exit_sp: 0, entry_sp: 0 };

    pub(crate) fn of(limits: &VMRuntimeLimits) -> SavedLimits {
        SavedLimits {
            stack_limit: limits.stack_limit.get(),
            exit_fp: limits.last_wasm_exit_fp.get(),
            exit_pc: limits.last_wasm_exit_pc.get(),
            exit_sp: limits.last_wasm_exit_sp.get(),
            entry_sp: limits.last_wasm_entry_sp.get(),
        }
    }

    fn restore(self, limits: &VMRuntimeLimits) {
        limits.stack_limit.set(self.stack_limit);
        limits.last_wasm_exit_fp.set(self.exit_fp);
        limits.last_wasm_exit_pc.set(self.exit_pc);
        limits.last_wasm_exit_sp.set(self.exit_sp);
        limits.last_wasm_entry_sp.set(self.entry_sp);
    }
}

/// Why a builtin's implementation answered "leave".
pub(crate) enum Pending {
    /// A trap, or an error of a host function, a limiter or an epoch callback.
    Error(Error),
    /// A panic of host code.
    Panic(Box<dyn Any + Send>),
}

/// A call that did not finish.
#[derive(Debug)]
pub struct CallError {
    /// A [`Trap`], or the error that a host function returned.
    pub error: Error,
    /// Where wasm stood, if it was entered.
    pub trace: Option<Trace>,
}

impl From<Trap> for CallError {
    fn from(trap: Trap) -> CallError {
        CallError { error: trap.into(), trace: None }
    }
}

impl StoreCore {
    /// Calls a function. `values` holds the parameters and receives the results: at least as many
    /// cells as the larger of the two, of the function's types.
    ///
    /// # Errors
    ///
    /// If the function traps, a host function fails, or there is no room for another stack.
    ///
    /// # Panics
    ///
    /// If the function is of another store, if there are too few cells, or if a host function
    /// panics: then with its panic.
    ///
    /// # Safety
    ///
    /// The parameters are of the function's types, and references are of this store.
    pub unsafe fn call(
        &mut self,
        func: FuncHandle,
        values: &mut [RawValue],
    ) -> Result<(), CallError> {
        let func_ref = self.func_ref(func);
        let ty = self.func_type(func);
        assert!(values.len() >= ty.params().len().max(ty.results().len()), "too few cells");
        // SAFETY: the handle was made for a function of this store with this type; there are
        // enough cells, and they are as the caller promises.
        unsafe { self.call_ref(func_ref, values) }
    }

    /// As [`StoreCore::call`], without looking up the type.
    ///
    /// # Errors
    ///
    /// As for [`StoreCore::call`].
    ///
    /// # Panics
    ///
    /// As for [`StoreCore::call`], but for the number of cells.
    ///
    /// # Safety
    ///
    /// As for [`StoreCore::call`], and `values` has cells for all parameters and results.
    #[inline]
    pub unsafe fn call_unchecked(
        &mut self,
        func: FuncHandle,
        values: &mut [RawValue],
    ) -> Result<(), CallError> {
        let func_ref = self.func_ref(func);
        // SAFETY: the caller's; the handle was checked.
        unsafe { self.call_ref(func_ref, values) }
    }

    /// Calls the function of a reference.
    ///
    /// # Safety
    ///
    /// `func_ref` is of this store and `values` has cells for its parameters and results.
    pub(crate) unsafe fn call_ref(
        &mut self,
        func_ref: VMFuncRef,
        values: &mut [RawValue],
    ) -> Result<(), CallError> {
        let left = traps::host_stack_left();
        if left.is_some_and(|left| left < self.engine().config().host_stack_reserve)
            || self.activations.len() >= self.engine().config().max_nested_calls
        {
            return Err(Trap::StackOverflow.into());
        }
        // SAFETY: every context starts with its magic word.
        if unsafe { *func_ref.vmctx.cast::<u64>() } == VMHOSTCONTEXT_MAGIC {
            // SAFETY: the context is a host function's of this store; the cells are the caller's.
            return unsafe { self.call_host(func_ref, values) };
        }
        let trampolines =
            self.trampolines(func_ref.type_id).map_err(|error| CallError { error, trace: None })?;
        traps::prepare_thread();
        let stack = match self.spare_stack.take() {
            Some(stack) => stack,
            None => {
                let taken = self.engine().stacks().take();
                taken.map_err(|error| CallError { error, trace: None })?
            }
        };

        let outer = self.outer_limits();
        self.limits.stack_limit.set(stack.limit());
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        let top = stack.top();
        self.activations.push(Activation { stack: Some(stack), outer });
        let limits: *const VMRuntimeLimits = &*self.limits;
        let mut state = CallState {
            limits,
            metered: self.engine().config().fuel,
            fault: Cell::new(None),
            previous: std::ptr::null(),
        };
        state.previous = traps::set_current(&state);
        // SAFETY: the limits are this store's and were set for this stack, which nobody else uses;
        // the trampoline is of the function's type; the cells are the caller's. Host code called
        // from wasm reaches the store through the pointer that contexts hold, while `self` is not
        // used.
        let status = unsafe {
            arch::enter(
                limits,
                top,
                trampolines.entry,
                func_ref.vmctx,
                func_ref.wasm_call,
                values.as_mut_ptr().cast(),
            )
        };
        traps::set_current(state.previous);

        if status == Status::GO_ON {
            self.leave_activation();
            return Ok(());
        }
        self.unwound(status, &state)
    }

    /// The slow ways in which wasm ends.
    #[cold]
    fn unwound(&mut self, status: Status, state: &CallState) -> Result<(), CallError> {
        let pending = match status {
            Status::LEAVE => self.pending.take().expect("who leaves says why"),
            Status::FAULT => {
                let fault = state.fault.take().expect("the handler has noted the fault");
                Pending::Error(self.settle_fault(fault).into())
            }
            other => unreachable!("status {other:?} of enter"),
        };
        let trace = match pending {
            Pending::Panic(_) => None,
            _ => Some(self.trace()),
        };
        self.faulted = None;
        self.leave_activation();
        match pending {
            Pending::Error(error) => Err(CallError { error, trace }),
            Pending::Panic(payload) => resume_unwind(payload),
        }
    }

    /// Calls a host function straight from the host.
    ///
    /// # Safety
    ///
    /// As for [`StoreCore::call_ref`], and the context is a host function's.
    unsafe fn call_host(
        &mut self,
        func_ref: VMFuncRef,
        values: &mut [RawValue],
    ) -> Result<(), CallError> {
        /// Ends the activation also when the host function panics.
        struct Guard(*mut StoreCore);
        impl Drop for Guard {
            fn drop(&mut self) {
                // SAFETY: made from the `&mut` below, which is not used while the guard lives.
                unsafe { (*self.0).leave_activation() }
            }
        }

        let outer = self.outer_limits();
        self.activations.push(Activation { stack: None, outer });
        self.limits.last_wasm_entry_sp.set(ENTRY_SP_HOST_DIRECT);
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        let _guard = Guard(self);
        // SAFETY: the caller's; `self` is not used until the call returns.
        let result = unsafe {
            let function = HostFunction::from_context(func_ref.vmctx);
            host::call(function, None, values.as_mut_ptr())
        };
        result.map_err(|error| CallError { error, trace: None })
    }

    /// The limits that a new activation puts back when it ends. For the outermost one they are
    /// known, and not read: the stubs of the call before may have written them just now, in words,
    /// and the compiler reads them in pairs, which the processor would wait for.
    #[inline]
    fn outer_limits(&self) -> SavedLimits {
        match self.activations.is_empty() {
            true => SavedLimits::IDLE,
            false => SavedLimits::of(&self.limits),
        }
    }

    /// Ends the innermost activation: its stack goes back, the limits are those of the one before.
    fn leave_activation(&mut self) {
        let activation = self.activations.pop().expect("an activation is being left");
        activation.outer.restore(&self.limits);
        if let Some(stack) = activation.stack
            && let Some(other) = self.spare_stack.replace(stack)
        {
            self.engine().stacks().put(other);
        }
    }
}
