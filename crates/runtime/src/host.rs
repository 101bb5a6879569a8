//! Host functions: closures that wasm can call, and what happens when one fails or waits.

use crate::activation::{CallError, Mode, Pending, Stop};
use crate::arch::{Answer, Status};
use crate::builtins::{answer, instance_of};
use crate::engine::builtin_table;
use crate::resumable::{Cause, HostFuture, HostSite, Outcome, SuspendedCall};
use crate::stack::WasmStack;
use crate::store::{FuncHandle, InstanceHandle, StoreCore, StoreId};
use crate::value::RawValue;
use anyhow::{Error, Result, ensure};
use std::any::Any;
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use stillframe_abi::types::FuncType;
use stillframe_abi::vmctx::{VMContextHeader, VMFuncRef, VMHOSTCONTEXT_MAGIC, VMHostContextHeader};

/// What a host function gets.
pub struct HostCall<'a> {
    /// The store it was called in.
    pub store: &'a mut StoreCore,
    /// Who called it.
    pub caller: HostCaller,
    /// Parameters in, results out: as many cells as the larger of the two.
    pub values: &'a mut [RawValue],
}

/// Who called a host function: an instance of its store, or the host. One word, because it is
/// passed on in each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostCaller(usize);

impl HostCaller {
    const HOST: HostCaller = HostCaller(usize::MAX);

    /// The instance, in the store that the host function was called in.
    pub fn instance(self, store: &StoreCore) -> Option<InstanceHandle> {
        (self != HostCaller::HOST)
            .then(|| InstanceHandle { store: store.id(), index: self.0 as u32 })
    }
}

/// Parameters that a function can have, and results, as in wasm.
const MAX_VALUES: usize = 1000;

/// A host function's code.
#[derive(Clone)]
pub struct HostCode {
    closure: Closure,
    entry: HostEntry,
}

#[derive(Clone)]
enum Closure {
    /// It returns when it is done.
    Sync(Arc<dyn Fn(HostCall<'_>) -> Result<()> + Send + Sync>),
    /// It returns what is to be polled.
    Async(AsyncClosure),
}

type AsyncClosure = Arc<dyn Fn(HostCall<'_>) -> Box<dyn HostFuture> + Send + Sync>;

/// What the stub of host calls calls: the host function, the context of the calling instance, the
/// cells.
type HostEntry = unsafe extern "C" fn(&HostFunction, *mut VMContextHeader, *mut RawValue) -> Answer;

impl HostCode {
    /// The code of a host function that returns when it is done.
    pub fn sync<F>(closure: F) -> HostCode
    where
        F: Fn(HostCall<'_>) -> Result<()> + Send + Sync + 'static,
    {
        HostCode { closure: Closure::Sync(Arc::new(closure)), entry: enter_sync::<F> }
    }

    /// The code of an asynchronous host function: what it returns is polled until it is done.
    pub fn asynchronous(
        closure: impl Fn(HostCall<'_>) -> Box<dyn HostFuture> + Send + Sync + 'static,
    ) -> HostCode {
        HostCode { closure: Closure::Async(Arc::new(closure)), entry: enter_async }
    }
}

/// A host function in a store: the context that generated code passes around, and what it stands
/// for. Boxed, at an address that does not change.
#[repr(C)]
pub(crate) struct HostFunction {
    header: VMHostContextHeader,
    /// What the stub calls; that of `code`.
    entry: HostEntry,
    /// The closure of `code`, whose type `entry` knows.
    closure: *const (),
    /// The store that the function lives in, which owns it.
    pub(crate) store: NonNull<StoreCore>,
    code: Closure,
    /// Cells of the argument array.
    pub(crate) cells: usize,
    func_ref: VMFuncRef,
    /// It is a context; see `StoreCore`.
    _reached_through_contexts: PhantomPinned,
}

// Generated code finds the header at the context's address.
const _: () = assert!(std::mem::offset_of!(HostFunction, header) == 0);

impl HostFunction {
    /// Where the stub finds what it calls.
    pub(crate) const ENTRY: usize = std::mem::offset_of!(HostFunction, entry);

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
    /// Adds a host function of type `ty`. `code` may rely on `ty` for the parameters it gets.
    ///
    /// # Errors
    ///
    /// If the type has more than 1000 parameters or results, or its trampolines cannot be compiled.
    ///
    /// # Safety
    ///
    /// When the closure returns `Ok`, or the future is ready with `Ok`, results of the types of `ty`
    /// have been stored, and references are of the store it was called with. A future may refer to
    /// that store, although its type does not say so.
    pub unsafe fn add_host_function(
        &mut self,
        ty: &FuncType,
        code: HostCode,
    ) -> Result<FuncHandle> {
        ensure!(
            ty.params().len().max(ty.results().len()) <= MAX_VALUES,
            "a function type of {} parameters and {} results; there can be {MAX_VALUES} of each",
            ty.params().len(),
            ty.results().len()
        );
        let engine = self.engine().clone();
        let type_id = engine.types().intern(ty);
        let trampolines = self.trampolines(type_id);
        // The store uses it now, as long as it has the function.
        engine.types().release([type_id]);
        let trampolines = trampolines?;
        let store = NonNull::from(&mut *self);
        let HostCode { closure: code, entry } = code;
        let closure = match &code {
            Closure::Sync(closure) => Arc::as_ptr(closure).cast(),
            Closure::Async(closure) => Arc::as_ptr(closure).cast(),
        };
        let mut function = Box::new(HostFunction {
            header: VMHostContextHeader {
                magic: VMHOSTCONTEXT_MAGIC,
                limits: &*self.limits,
                builtins: builtin_table(),
                epoch: engine.epoch_cell(),
            },
            entry,
            closure,
            store,
            code,
            cells: ty.params().len().max(ty.results().len()),
            func_ref: VMFuncRef {
                wasm_call: trampolines.host,
                vmctx: std::ptr::null_mut(),
                type_id,
            },
            _reached_through_contexts: PhantomPinned,
        });
        let context: *mut HostFunction = &mut *function;
        function.func_ref.vmctx = context.cast();
        let func_ref = NonNull::from(&mut function.func_ref);
        self.host_functions.push(function);
        Ok(FuncHandle { store: self.id(), func_ref })
    }
}

/// How the call of a host function came out.
enum Called {
    Returned(Result<()>),
    Waits(Box<dyn HostFuture>),
}

/// Calls a host function whose closure is known only at run time.
///
/// # Safety
///
/// `function`'s store lives and is not borrowed but by the call that has led here; `values` points
/// to `function.cells` cells that nobody else uses.
unsafe fn call(function: &HostFunction, caller: HostCaller, values: *mut RawValue) -> Called {
    // SAFETY: lent store: the caller's: the one live reference to the store is that of whoever has
    // entered or resumed wasm, which is not used until this returns.
    let store = unsafe { &mut *function.store.as_ptr() };
    // SAFETY: the caller's.
    let values = unsafe { std::slice::from_raw_parts_mut(values, function.cells) };
    match &function.code {
        Closure::Sync(closure) => Called::Returned(closure(HostCall { store, caller, values })),
        Closure::Async(closure) => call_async(closure, HostCall { store, caller, values }),
    }
}

#[cold]
fn call_async(closure: &AsyncClosure, call: HostCall<'_>) -> Called {
    match call.store.activations.innermost().map(|activation| activation.mode) {
        Some(Mode::Async) => Called::Waits(closure(call)),
        Some(Mode::Plain | Mode::Resumable) | None => Called::Returned(Err(not_async())),
    }
}

#[cold]
fn not_async() -> Error {
    anyhow::anyhow!(
        "an asynchronous host function was called by a call that cannot wait for it; use \
         `call_async`"
    )
}

/// The [`HostEntry`] of closures of type `F`, which is so part of it: a host call is one call of
/// Rust code, and what the closure does not use is not made.
///
/// # Safety
///
/// Called by its stub only, on behalf of a wasm-to-host trampoline: `function` is of a store that
/// generated code of the instance at `caller` has just left and that nothing else uses until this
/// returns; its closure is an `F`; `values` points to `function.cells` cells.
unsafe extern "C" fn enter_sync<F: Fn(HostCall<'_>) -> Result<()>>(
    function: &HostFunction,
    caller: *mut VMContextHeader,
    values: *mut RawValue,
) -> Answer {
    debug_assert_eq!(function.header.magic, VMHOSTCONTEXT_MAGIC);
    let called = || {
        // SAFETY: generated code: the caller's; the function owns the closure. A host function is
        // never called by the entry trampoline (`call_ref` calls it straight), so there always is a
        // caller. The one live reference to the store is that of whoever has entered or resumed
        // wasm, which is not used until this returns.
        unsafe {
            let closure = &*function.closure.cast::<F>();
            let caller = HostCaller(instance_of(caller).index);
            let store = &mut *function.store.as_ptr();
            let values = std::slice::from_raw_parts_mut(values, function.cells);
            closure(HostCall { store, caller, values })
        }
    };
    match catch_unwind(AssertUnwindSafe(called)) {
        Ok(Ok(())) => {
            // SAFETY: lent store: the caller's; the closure has returned.
            unsafe { (*function.store.as_ptr()).before_wasm() };
            Answer { value: 0, status: Status::GO_ON }
        }
        // SAFETY: lent store: the caller's; the closure has returned.
        Ok(Err(error)) => unsafe { not_returned(function, values, Called::Returned(Err(error))) },
        // SAFETY: lent store: as above.
        Err(panic) => unsafe { panicked(function, panic) },
    }
}

/// The [`HostEntry`] of asynchronous host functions.
///
/// # Safety
///
/// As for [`enter_sync`].
unsafe extern "C" fn enter_async(
    function: &HostFunction,
    caller: *mut VMContextHeader,
    values: *mut RawValue,
) -> Answer {
    // SAFETY: generated code: the caller's, as in `enter_sync`.
    let called = || unsafe { call(function, HostCaller(instance_of(caller).index), values) };
    match catch_unwind(AssertUnwindSafe(called)) {
        // SAFETY: lent store: the caller's; the closure has returned.
        Ok(called) => unsafe { not_returned(function, values, called) },
        // SAFETY: lent store: as above.
        Err(panic) => unsafe { panicked(function, panic) },
    }
}

/// The answer when a host function that wasm called has not returned results.
///
/// # Safety
///
/// Nothing else uses the function's store; `values` are the cells that it was called with.
#[cold]
unsafe fn not_returned(function: &HostFunction, values: *mut RawValue, called: Called) -> Answer {
    let stop = || {
        let site = HostSite {
            func: NonNull::from(&function.func_ref),
            values: NonNull::new(values).expect("cells lie on a wasm stack"),
            cells: function.cells as u32,
        };
        // SAFETY: the caller's.
        Err(stopped(unsafe { &mut *function.store.as_ptr() }, site, called))
    };
    // SAFETY: the caller's.
    unsafe { answer::<Stop>(function.store, stop) }
}

/// The answer when a host function that wasm called has panicked.
///
/// # Safety
///
/// Nothing else uses the function's store.
#[cold]
unsafe fn panicked(function: &HostFunction, panic: Box<dyn Any + Send>) -> Answer {
    // SAFETY: the caller's.
    unsafe { (*function.store.as_ptr()).pending = Some(Pending::Panic(panic)) };
    Answer { value: 0, status: Status::LEAVE }
}

/// What becomes of the call when a host function has not returned results.
#[cold]
fn stopped(store: &mut StoreCore, site: HostSite, called: Called) -> Stop {
    match called {
        Called::Returned(Ok(())) => unreachable!("wasm goes on"),
        Called::Returned(Err(error)) => {
            match store.activations.innermost().map(|activation| activation.mode) {
                Some(Mode::Resumable) => store.stop(Cause::HostTrap { error, site }),
                Some(Mode::Plain | Mode::Async) | None => Stop::End(error),
            }
        }
        Called::Waits(future) => store.stop(Cause::HostFuture { future, site }),
    }
}

/// Calls a host function straight from the host, in an activation of its own.
///
/// # Safety
///
/// `func_ref` is of a host function of `store`; `values` has cells for its parameters and results.
unsafe fn call_in_activation(
    store: &mut StoreCore,
    func_ref: VMFuncRef,
    values: &mut [RawValue],
    mode: Mode,
) -> Called {
    /// Ends the activation also when the host function panics.
    struct Guard(*mut StoreCore);
    impl Drop for Guard {
        fn drop(&mut self) {
            // SAFETY: lent store: made from the `&mut` below, which is not used while the guard
            // lives.
            unsafe { (*self.0).end() }
        }
    }

    store.begin_direct(mode);
    let _guard = Guard(store);
    // SAFETY: lent store: the caller's; `store` is not used until the call returns.
    unsafe {
        let function = HostFunction::from_context(func_ref.vmctx);
        call(function, HostCaller::HOST, values.as_mut_ptr())
    }
}

/// Calls a host function straight from the host.
///
/// # Safety
///
/// `func_ref` is of a host function of `store`; `values` has cells for its parameters and results.
pub(crate) unsafe fn call_direct(
    store: &mut StoreCore,
    func_ref: VMFuncRef,
    values: &mut [RawValue],
) -> Result<()> {
    // SAFETY: the caller's.
    match unsafe { call_in_activation(store, func_ref, values, Mode::Plain) } {
        Called::Returned(result) => result,
        Called::Waits(_) => unreachable!("not in a plain call"),
    }
}

/// As [`call_direct`], in a mode in which the call can be suspended. The cells are the topmost of
/// `stack`, on which nothing runs. Gives the stack back when the host function has returned.
///
/// # Safety
///
/// As for [`call_direct`].
pub(crate) unsafe fn call_direct_suspendable(
    store: &mut StoreCore,
    func_ref: VMFuncRef,
    stack: Arc<WasmStack>,
    cells: usize,
    mode: Mode,
) -> Result<Outcome<Arc<WasmStack>>, CallError> {
    let mut values = stack.cells(cells);
    let first = values.cast();
    // SAFETY: own stack: the caller's; nobody else uses the stack.
    let called = unsafe { call_in_activation(store, func_ref, values.as_mut(), mode) };
    // SAFETY: own stack: the stack is ours; the call has a record on it.
    let record = unsafe { (*stack.record()).as_mut() }.expect("the call has a record");
    let site = HostSite { func: record.func.func_ref, values: first, cells: cells as u32 };
    let cause = match called {
        Called::Returned(Ok(())) => return Ok(Outcome::Finished(stack)),
        Called::Returned(Err(error)) if mode == Mode::Resumable => Cause::HostTrap { error, site },
        Called::Returned(Err(error)) => {
            store.keep_stack(stack);
            return Err(error.into());
        }
        Called::Waits(future) => Cause::HostFuture { future, site },
    };
    (record.cause, record.direct) = (Some(cause), true);
    Ok(Outcome::Suspended(SuspendedCall::new(stack)))
}

impl HostCall<'_> {
    /// The id of the store.
    pub fn store_id(&self) -> StoreId {
        self.store.id()
    }
}
