//! Calling functions: entering wasm, and all the ways it ends.

use crate::activation::{CallError, Mode, Pending};
use crate::arch::{self, Status};
use crate::frames::Copy;
use crate::host;
use crate::resumable::{CallRecord, Outcome, SuspendedCall};
use crate::stack::WasmStack;
use crate::store::{FuncHandle, StoreCore};
use crate::traps::{self, CallState};
use crate::value::RawValue;
use anyhow::Result;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use stillframe_abi::vmctx::{VMFuncRef, VMHOSTCONTEXT_MAGIC};
use stillframe_abi::{Trap, VMRuntimeLimits};

/// How wasm was left, if not for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// It returned.
    Finished,
    /// It is to be suspended; its record says why.
    Suspended,
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
        unsafe { self.call_ref(&func_ref, values) }
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
        self.check(func.store(), "function");
        // SAFETY: the caller's; the handle was checked, and what it points to stays as it is for as
        // long as the store lives.
        unsafe { self.call_ref(func.func_ref.as_ref(), values) }
    }

    /// Calls the function of a reference.
    ///
    /// # Safety
    ///
    /// `func_ref` is of this store and `values` has cells for its parameters and results.
    pub(crate) unsafe fn call_ref(
        &mut self,
        func_ref: &VMFuncRef,
        values: &mut [RawValue],
    ) -> Result<(), CallError> {
        if !self.has_room() {
            return Err(Trap::StackOverflow.into());
        }
        // SAFETY: the reference is of this store.
        if unsafe { is_host(func_ref) } {
            // SAFETY: the context is a host function's of this store; the cells are the caller's.
            return Ok(unsafe { host::call_direct(self, *func_ref, values) }?);
        }
        let entry = self.trampolines(func_ref.type_id)?.entry;
        let stack = self.take_stack()?;
        let top = stack.top();
        self.begin(stack, Mode::Plain);
        let cells = values.as_mut_ptr().cast();
        // SAFETY: the activation was begun on this stack, which nobody else uses; the trampoline
        // is of the function's type; the cells are the caller's.
        let left = unsafe {
            self.run(|limits| {
                arch::enter(limits, top, entry, func_ref.vmctx, func_ref.wasm_call, cells)
            })
        }?;
        debug_assert_eq!(left, Left::Finished, "plain calls are not suspended");
        self.end();
        Ok(())
    }

    /// Calls a function so that the call is suspended when fuel or the epoch runs out and when a
    /// host function fails. `params` stores the parameters in so many cells, as many as the larger
    /// of the function's parameters and results; `results` gets its results there.
    ///
    /// # Errors
    ///
    /// As for [`StoreCore::call`], but for what suspends it.
    ///
    /// # Panics
    ///
    /// As for [`StoreCore::call_unchecked`].
    ///
    /// # Safety
    ///
    /// `params` stores values of the function's types and of this store; `cells` is as said above.
    #[inline]
    pub unsafe fn call_resumable<R>(
        &mut self,
        func: FuncHandle,
        cells: usize,
        params: impl FnOnce(&StoreCore, &mut [RawValue]),
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
    ) -> Result<Outcome<R>, CallError> {
        // SAFETY: the caller's.
        unsafe { self.call_suspendable(func, cells, params, results, Mode::Resumable) }
    }

    /// As [`StoreCore::call_resumable`], but the call is suspended when it should yield, and when
    /// it waits for an asynchronous host function.
    ///
    /// # Errors
    ///
    /// As for [`StoreCore::call`].
    ///
    /// # Panics
    ///
    /// As for [`StoreCore::call_unchecked`].
    ///
    /// # Safety
    ///
    /// As for [`StoreCore::call_resumable`].
    pub unsafe fn call_async<R>(
        &mut self,
        func: FuncHandle,
        cells: usize,
        params: impl FnOnce(&StoreCore, &mut [RawValue]),
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
    ) -> Result<Outcome<R>, CallError> {
        // SAFETY: the caller's.
        unsafe { self.call_suspendable(func, cells, params, results, Mode::Async) }
    }

    /// Calls a function in a mode in which it can be suspended. The cells are at the top of the
    /// wasm stack, because a suspended call outlives the caller's frame.
    ///
    /// # Safety
    ///
    /// As for [`StoreCore::call_resumable`].
    #[inline]
    pub(crate) unsafe fn call_suspendable<R>(
        &mut self,
        func: FuncHandle,
        cells: usize,
        params: impl FnOnce(&StoreCore, &mut [RawValue]),
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
        mode: Mode,
    ) -> Result<Outcome<R>, CallError> {
        let func_ref = self.func_ref(func);
        if !self.has_room() {
            return Err(Trap::StackOverflow.into());
        }
        let stack = self.take_stack()?;
        let values = stack.cells(cells).as_ptr();
        // SAFETY: the cells lie on a stack that nobody else uses, and have been written to.
        unsafe {
            values.cast::<RawValue>().write_bytes(0, cells);
            params(self, &mut *values);
            let cells = cells as u32;
            *stack.record() = Some(CallRecord { func, cells, mode, direct: false, cause: None });
        }
        // SAFETY: the reference is of this store.
        if unsafe { is_host(&func_ref) } {
            // SAFETY: the context is a host function's of this store; the cells are at the top of
            // the stack.
            let outcome =
                unsafe { host::call_direct_suspendable(self, func_ref, stack, cells, mode) }?;
            return Ok(match outcome {
                Outcome::Suspended(call) => Outcome::Suspended(call),
                Outcome::Finished(stack) => {
                    // SAFETY: the cells lie on a stack that nobody else uses.
                    let values = results(self, unsafe { stack.cells(cells).as_ref() });
                    self.keep_stack(stack);
                    Outcome::Finished(values)
                }
            });
        }
        let entry = match self.trampolines(func_ref.type_id) {
            Ok(trampolines) => trampolines.entry,
            Err(error) => {
                self.keep_stack(stack);
                return Err(error.into());
            }
        };
        self.begin(stack, mode);
        let top: *mut u8 = values.cast();
        // SAFETY: as in `call_ref`; below the cells the stack is free.
        let left = unsafe {
            self.run(|limits| {
                let top_address = top as usize;
                arch::enter(limits, top_address, entry, func_ref.vmctx, func_ref.wasm_call, top)
            })
        }?;
        Ok(self.finish_or_suspend(left, cells as u32, results))
    }

    /// Runs wasm in the innermost activation, until it returns or is to be suspended; otherwise the
    /// activation ends here.
    ///
    /// # Safety
    ///
    /// `go` enters wasm with the limits it gets, on the stack of the innermost activation. Host
    /// code called from wasm reaches the store through the pointer that contexts hold, while `self`
    /// is not used.
    #[inline]
    pub(crate) unsafe fn run(
        &mut self,
        go: impl FnOnce(*const VMRuntimeLimits) -> Status,
    ) -> Result<Left, CallError> {
        self.before_wasm();
        self.limit_overdraft();
        let limits: *const VMRuntimeLimits = &*self.limits;
        let mut state = CallState {
            limits,
            metered: self.engine().config().fuel,
            fault: Cell::new(None),
            previous: std::ptr::null(),
        };
        state.previous = traps::set_current(&state);
        let status = go(limits);
        traps::set_current(state.previous);
        match status {
            Status::GO_ON => Ok(Left::Finished),
            Status::SUSPEND => Ok(Left::Suspended),
            _ => Err(self.unwound(status, &state)),
        }
    }

    /// Ends a suspendable call that has finished, with what `results` makes of its results; or takes
    /// it off the list. `cells` is the number of cells at the top of its stack.
    #[inline]
    pub(crate) fn finish_or_suspend<R>(
        &mut self,
        left: Left,
        cells: u32,
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
    ) -> Outcome<R> {
        if left == Left::Finished {
            let activation = self.activations.innermost().expect("the call that has finished");
            let stack = activation.stack.as_ref().expect("wasm runs on a wasm stack");
            // SAFETY: the cells lie on a stack that wasm has left.
            let values = results(self, unsafe { stack.cells(cells as usize).as_ref() });
            self.end();
            return Outcome::Finished(values);
        }
        let stack = self.suspend().expect("wasm runs on a wasm stack");
        Outcome::Suspended(SuspendedCall::new(stack))
    }

    /// A stack for a new activation.
    #[inline]
    fn take_stack(&mut self) -> Result<Arc<WasmStack>> {
        let stack = match self.spare_stack.take() {
            Some(stack) => stack,
            None => self.engine().stacks().take()?,
        };
        debug_assert_eq!(stack.version(), 0, "no frozen frames are on a free stack");
        Ok(stack)
    }

    /// The ways in which wasm ends otherwise than by returning.
    #[cold]
    fn unwound(&mut self, status: Status, state: &CallState) -> CallError {
        let pending = match status {
            Status::LEAVE => self.pending.take().expect("who leaves says why"),
            Status::FAULT => {
                let fault = state.fault.take().expect("the handler has noted the fault");
                Pending::Error(self.settle_fault(fault).into())
            }
            other => unreachable!("status {other:?} of enter"),
        };
        match pending {
            Pending::Error(error) => {
                let trace = Some(Box::new(self.trace_activations(Copy::Values)));
                self.faulted = None;
                self.end();
                CallError { error, trace }
            }
            Pending::Panic(payload) => {
                self.end();
                resume_unwind(payload)
            }
        }
    }
}

/// Whether a function is one of the host's.
///
/// # Safety
///
/// The reference is of a store that lives.
unsafe fn is_host(func_ref: &VMFuncRef) -> bool {
    // SAFETY: the caller's; every context starts with its magic word.
    unsafe { *func_ref.vmctx.cast::<u64>() == VMHOSTCONTEXT_MAGIC }
}
