//! Activations: what is running in a store.
//!
//! An activation is one entry from the host: into wasm on a wasm stack of its own, or into a host
//! function that the host calls straight. They nest (wasm → host → wasm): each saves the limits it
//! finds and puts them back, so that the outer one finds its own.
//!
//! `call.rs` begins and ends them. `resumable.rs` takes one off the list and lets it go on later.

use crate::frames::Trace;
use crate::resumable::{CallRecord, Cause};
use crate::stack::{Standing, WasmStack};
use crate::store::StoreCore;
use crate::traps;
use anyhow::Error;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use stillframe_abi::limits::ENTRY_SP_HOST_DIRECT;
use stillframe_abi::{Trap, VMRuntimeLimits};

/// One entry from the host.
pub(crate) struct Activation {
    /// The wasm stack; `None` for a host function that the host called straight.
    pub(crate) stack: Option<Arc<WasmStack>>,
    pub(crate) mode: Mode,
}

/// The activations of a store, outermost first.
#[derive(Default)]
pub(crate) struct Activations {
    list: Vec<Activation>,
    /// The limits as each activation but the innermost has left them, outermost first.
    left: Vec<SavedLimits>,
}

impl Activations {
    /// The innermost one.
    #[inline]
    pub(crate) fn innermost(&self) -> Option<&Activation> {
        self.list.last()
    }

    /// Number of activations.
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.list.len()
    }

    /// The activation that has `depth` inside of it, and where it left wasm; `limits` are the
    /// store's.
    #[inline]
    pub(crate) fn get<'a>(
        &'a self,
        depth: usize,
        limits: &'a VMRuntimeLimits,
    ) -> Option<(&'a Activation, Exit<'a>)> {
        let activation = &self.list[self.list.len().checked_sub(depth)?.checked_sub(1)?];
        let exit = match depth {
            0 => Exit::of(limits),
            _ => self.left[self.left.len() - depth].exit(),
        };
        Some((activation, exit))
    }

    /// How many activations are inside of the innermost one of which this is true.
    pub(crate) fn position(
        &self,
        limits: &VMRuntimeLimits,
        is_it: impl FnMut(Exit<'_>) -> bool,
    ) -> Option<usize> {
        let innermost = (!self.list.is_empty()).then(|| Exit::of(limits));
        let outer = self.left.iter().rev().map(SavedLimits::exit);
        innermost.into_iter().chain(outer).position(is_it)
    }

    /// Begins one inside of the innermost.
    #[inline(always)]
    fn push(&mut self, activation: Activation, limits: &VMRuntimeLimits) {
        if !self.list.is_empty() {
            self.left.push(SavedLimits::of(limits));
        }
        self.list.push(activation);
    }

    /// Ends the innermost one; the limits are those of the one around it.
    #[inline]
    fn pop(&mut self, limits: &VMRuntimeLimits) -> Activation {
        match self.left.pop() {
            Some(outer) => outer.restore(limits),
            None => {
                limits.last_wasm_exit_fp.set(0);
                limits.last_wasm_exit_pc.set(0);
                limits.last_wasm_entry_sp.set(0);
                limits.execution_version.store(0, Relaxed);
            }
        }
        self.list.pop().expect("an activation is being left")
    }
}

/// What may become of a call that cannot go on now.
///
/// A word, so that an [`Activation`] has no padding: whole words are copied, and for one that was
/// written in parts just before the processor would wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Mode {
    /// It ends in an error.
    Plain,
    /// It is suspended when fuel or the epoch runs out, or a host function fails.
    Resumable,
    /// It is suspended when it should yield, or waits for an asynchronous host function.
    Async,
}

/// Where an activation left wasm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit<'a> {
    pub(crate) fp: usize,
    /// 0 if it has not.
    pub(crate) pc: usize,
    /// The version of its frozen period, in its place.
    pub(crate) version: &'a AtomicU64,
}

impl Exit<'_> {
    #[inline]
    fn of(limits: &VMRuntimeLimits) -> Exit<'_> {
        Exit {
            fp: limits.last_wasm_exit_fp.get(),
            pc: limits.last_wasm_exit_pc.get(),
            version: &limits.execution_version,
        }
    }
}

/// The fields of [`VMRuntimeLimits`] that belong to an activation.
#[derive(Debug)]
struct SavedLimits {
    stack_limit: usize,
    exit_fp: usize,
    exit_pc: usize,
    exit_sp: usize,
    entry_sp: usize,
    version: AtomicU64,
}

impl SavedLimits {
    fn of(limits: &VMRuntimeLimits) -> SavedLimits {
        SavedLimits {
            stack_limit: limits.stack_limit.get(),
            exit_fp: limits.last_wasm_exit_fp.get(),
            exit_pc: limits.last_wasm_exit_pc.get(),
            exit_sp: limits.last_wasm_exit_sp.get(),
            entry_sp: limits.last_wasm_entry_sp.get(),
            version: AtomicU64::new(limits.execution_version.load(Relaxed)),
        }
    }

    fn exit(&self) -> Exit<'_> {
        Exit { fp: self.exit_fp, pc: self.exit_pc, version: &self.version }
    }

    fn restore(self, limits: &VMRuntimeLimits) {
        limits.stack_limit.set(self.stack_limit);
        limits.last_wasm_exit_fp.set(self.exit_fp);
        limits.last_wasm_exit_pc.set(self.exit_pc);
        limits.last_wasm_exit_sp.set(self.exit_sp);
        limits.last_wasm_entry_sp.set(self.entry_sp);
        limits.execution_version.store(self.version.into_inner(), Relaxed);
    }
}

/// Why a builtin's implementation does not go back into wasm now.
pub(crate) enum Stop {
    /// The call ends: a trap, or an error of host code.
    End(Error),
    /// The call is suspended; its record says why.
    Suspend,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::End(error)
    }
}

/// Why a builtin's implementation answered that wasm is left.
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
    pub trace: Option<Box<Trace>>,
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
    /// nested calls. Prepares the thread.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let config = self.engine().config();
        traps::prepare_thread().is_none_or(|left| left >= config.host_stack_reserve)
            && self.activations.depth() < config.max_nested_calls
    }

    /// Begins an activation on a stack that nobody uses; wasm has not been entered yet.
    #[inline(always)]
    pub(crate) fn begin(&mut self, stack: Arc<WasmStack>, mode: Mode) {
        let limit = stack.limit();
        self.activations.push(Activation { stack: Some(stack), mode }, &self.limits);
        self.limits.stack_limit.set(limit);
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        self.limits.execution_version.store(0, Relaxed);
    }

    /// Begins the activation of a host function that the host calls straight.
    pub(crate) fn begin_direct(&mut self, mode: Mode) {
        self.activations.push(Activation { stack: None, mode }, &self.limits);
        self.limits.last_wasm_entry_sp.set(ENTRY_SP_HOST_DIRECT);
        self.limits.last_wasm_exit_fp.set(0);
        self.limits.last_wasm_exit_pc.set(0);
        self.limits.execution_version.store(0, Relaxed);
    }

    /// Begins the activation of a suspended call anew; it is frozen where it stood.
    #[inline]
    pub(crate) fn begin_again(&mut self, stack: Arc<WasmStack>, mode: Mode) {
        let (at, limit) = (stack.standing(), stack.limit());
        stack.mark_running();
        let version = self.take_version_of(&stack);
        self.activations.push(Activation { stack: Some(stack), mode }, &self.limits);
        self.limits.stack_limit.set(limit);
        self.limits.last_wasm_exit_fp.set(at.fp);
        self.limits.last_wasm_exit_pc.set(at.pc);
        self.limits.last_wasm_exit_sp.set(at.sp);
        self.limits.execution_version.store(version, Relaxed);
        // What entered it has returned long since.
        self.limits.last_wasm_entry_sp.set(0);
    }

    /// Ends the innermost activation: its stack goes back, the limits are those of the one around
    /// it.
    #[inline]
    pub(crate) fn end(&mut self) {
        if let Some(stack) = self.activations.pop(&self.limits).stack {
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
    /// Returns the stack.
    #[inline]
    pub(crate) fn suspend(&mut self) -> Option<Arc<WasmStack>> {
        let limits = &self.limits;
        let at = Standing {
            fp: limits.last_wasm_exit_fp.get(),
            pc: limits.last_wasm_exit_pc.get(),
            sp: limits.last_wasm_exit_sp.get(),
        };
        let version = limits.execution_version.load(Relaxed);
        let stack = self.activations.pop(&self.limits).stack;
        if let Some(stack) = &stack {
            if stack.mark_suspended(self.id(), at) {
                self.list_suspended(stack);
            }
            self.move_version_to(stack, version);
        }
        stack
    }

    /// Notes why the innermost activation is to be suspended.
    #[inline(always)]
    pub(crate) fn stop(&mut self, cause: Cause) -> Stop {
        let activation = self.activations.innermost().expect("an activation is being suspended");
        let stack = activation.stack.as_ref().expect("wasm runs on a wasm stack");
        // SAFETY: own stack: the activation owns the stack.
        let record: Option<&mut CallRecord> = unsafe { (*stack.record()).as_mut() };
        let record = record.expect("a call that can be suspended has a record");
        debug_assert!(record.cause.is_none(), "it runs");
        // SAFETY: own stack: a valid place. Nothing is there that would have to be dropped, which
        // the compiler does not know.
        unsafe { std::ptr::write(&mut record.cause, Some(cause)) };
        Stop::Suspend
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
