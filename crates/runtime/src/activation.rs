//! Activations: what is running in a store.
//!
//! An activation is one entry from the host: into wasm on a wasm stack of its own, or into a host
//! function that the host calls straight. They nest (wasm → host → wasm): each saves the limits it
//! finds and puts them back, so that the outer one finds its own.
//!
//! `call.rs` begins and ends them. `resumable.rs` takes one off the list and lets it go on later.

use crate::frames::Trace;
use crate::resumable::Cause;
use crate::stack::{Standing, WasmStack};
use crate::store::StoreCore;
use crate::traps;
use anyhow::Error;
use std::any::Any;
use std::sync::Arc;
use stillframe_abi::limits::ENTRY_SP_HOST_DIRECT;
use stillframe_abi::{Trap, VMRuntimeLimits};

/// One entry from the host.
pub(crate) struct Activation {
    /// The wasm stack; `None` for a host function that the host called straight.
    pub(crate) stack: Option<Arc<WasmStack>>,
    /// The limits as the activation before left them.
    pub(crate) outer: SavedLimits,
    pub(crate) mode: Mode,
}

/// What may become of a call that cannot go on now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// It ends in an error.
    Plain,
    /// It is suspended when fuel or the epoch runs out, or a host function fails.
    Resumable,
    /// It is suspended when it should yield, or waits for an asynchronous host function.
    Async,
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

/// Why a builtin's implementation answered that wasm is left.
pub(crate) enum Pending {
    /// A trap, or an error of a host function, a limiter or an epoch callback.
    Error(Error),
    /// A panic of host code.
    Panic(Box<dyn Any + Send>),
    /// The call is suspended.
    Suspend(Cause),
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

impl From<Error> for CallError {
    fn from(error: Error) -> CallError {
        CallError { error, trace: None }
    }
}

impl StoreCore {
    /// Whether there is room for one more activation: on the host's stack, and under the limit of
    /// nested calls.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let config = self.engine().config();
        traps::host_stack_left().is_none_or(|left| left >= config.host_stack_reserve)
            && self.activations.len() < config.max_nested_calls
    }

    /// Begins an activation on a stack that nobody uses; wasm has not been entered yet.
    #[inline]
    pub(crate) fn begin(&mut self, stack: Arc<WasmStack>, mode: Mode) {
        let outer = self.outer_limits();
        self.limits.stack_limit.set(stack.limit());
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        self.activations.push(Activation { stack: Some(stack), outer, mode });
    }

    /// Begins the activation of a host function that the host calls straight.
    pub(crate) fn begin_direct(&mut self, mode: Mode) {
        let outer = self.outer_limits();
        self.limits.last_wasm_entry_sp.set(ENTRY_SP_HOST_DIRECT);
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        self.activations.push(Activation { stack: None, outer, mode });
    }

    /// Begins the activation of a suspended call anew; it is frozen where it stood.
    #[inline]
    pub(crate) fn begin_again(&mut self, stack: Arc<WasmStack>, mode: Mode) {
        let outer = self.outer_limits();
        let at = stack.standing();
        self.limits.stack_limit.set(stack.limit());
        self.limits.last_wasm_exit_fp.set(at.fp);
        self.limits.last_wasm_exit_pc.set(at.pc);
        self.limits.last_wasm_exit_sp.set(at.sp);
        // What entered it has returned long since.
        self.limits.last_wasm_entry_sp.set(0);
        stack.resume();
        self.activations.push(Activation { stack: Some(stack), outer, mode });
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
    #[inline]
    pub(crate) fn end(&mut self) {
        let activation = self.activations.pop().expect("an activation is being left");
        activation.outer.restore(&self.limits);
        if let Some(stack) = activation.stack {
            self.keep_stack(stack);
        }
    }

    /// Keeps a stack at hand that nobody uses any more.
    #[inline]
    pub(crate) fn keep_stack(&mut self, stack: Arc<WasmStack>) {
        if let Some(other) = self.spare_stack.replace(stack) {
            self.engine().stacks().put(other);
        }
    }

    /// Takes the innermost activation off the list; it is frozen, and its stack stays as it is.
    /// Returns the stack and the mode.
    #[inline]
    pub(crate) fn suspend(&mut self) -> (Option<Arc<WasmStack>>, Mode) {
        let Activation { stack, outer, mode } =
            self.activations.pop().expect("an activation is being suspended");
        if let Some(stack) = &stack {
            let limits = &self.limits;
            let at = Standing {
                fp: limits.last_wasm_exit_fp.get(),
                pc: limits.last_wasm_exit_pc.get(),
                sp: limits.last_wasm_exit_sp.get(),
            };
            if stack.suspend(self.id(), at) {
                self.list_suspended(stack);
            }
        }
        outer.restore(&self.limits);
        (stack, mode)
    }

    /// Puts a stack into the list of those with suspended calls. Drops those from the list that are
    /// of no interest any more, when it has doubled since the last time.
    #[cold]
    fn list_suspended(&mut self, stack: &Arc<WasmStack>) {
        if self.suspended.len() == self.suspended.capacity() {
            let id = self.id();
            let mut seen = std::collections::HashSet::new();
            self.suspended.retain(|stack| {
                let listed = stack.upgrade().is_some_and(|stack| stack.is_listed_in(id));
                listed && seen.insert(stack.as_ptr())
            });
            self.suspended.reserve(self.suspended.len().max(15) + 1);
        }
        self.suspended.push(Arc::downgrade(stack));
    }
}
