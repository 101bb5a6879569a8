//! The Rust side of the builtins: what the stubs in `arch` call on the host's stack.
//!
//! Each gets the arguments that `abi::builtins` lists and answers whether wasm goes on (that of a host
//! call is in `host.rs`: there is one for each type of closure). Host code
//! can run here (host functions, limiters, epoch callbacks), so each catches panics: they must not
//! unwind over the stub, they go on in whoever entered wasm.

use crate::activation::{Pending, Stop};
use crate::arch::{Answer, Status};
use crate::host::HostFunction;
use crate::instance::Instance;
use crate::store::StoreCore;
use crate::value::RawValue;
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use stillframe_abi::vmctx::{VMCONTEXT_MAGIC, VMContextHeader};

/// Runs a builtin's body and turns its outcome into an answer.
///
/// # Safety
///
/// `store` points to the store that generated code has just left; nothing else uses it until this
/// returns.
#[inline(always)]
pub(crate) unsafe fn answer<E: Into<Stop>>(
    store: NonNull<StoreCore>,
    body: impl FnOnce() -> Result<u64, E>,
) -> Answer {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    // SAFETY: lent store: the caller's; the body's borrow has ended.
    let store = unsafe { &mut *store.as_ptr() };
    store.pending = Some(match outcome {
        Ok(Ok(value)) => return Answer { value, status: Status::GO_ON },
        Ok(Err(stop)) => match stop.into() {
            Stop::End(error) => Pending::Error(error),
            Stop::Suspend => return Answer { value: 0, status: Status::SUSPEND },
        },
        Err(panic) => Pending::Panic(panic),
    });
    Answer { value: 0, status: Status::LEAVE }
}

/// The instance whose context is at `vmctx`.
///
/// # Safety
///
/// `vmctx` is the context of an instance of a store that lives.
#[inline]
pub(crate) unsafe fn instance_of<'a>(vmctx: *mut VMContextHeader) -> &'a Instance {
    // SAFETY: store's contexts: the caller's; the field is set when the context is made.
    unsafe {
        debug_assert_eq!((*vmctx).magic, VMCONTEXT_MAGIC);
        &*(*vmctx).instance.cast::<Instance>()
    }
}

/// A builtin that works on the caller's instance.
///
/// # Safety
///
/// Called by the stubs only: `vmctx` is the calling instance's context.
unsafe fn with_instance(
    vmctx: *mut VMContextHeader,
    body: impl FnOnce(&mut StoreCore, usize) -> Result<u64>,
) -> Answer {
    // SAFETY: generated code: it passes its own context, of an instance of a store that
    // is entered.
    let (store, index) = unsafe {
        let instance = instance_of(vmctx);
        (instance.store, instance.index)
    };
    // SAFETY: lent store: generated code was left just now, and the call that entered it does not
    // use the store until it returns.
    unsafe { answer(store, || body(&mut *store.as_ptr(), index)) }
}

macro_rules! instance_builtins {
    ($($name:ident($($arg:ident),*) => |$store:ident, $index:ident| $body:expr;)*) => {$(
        /// See `abi::builtins`.
        ///
        /// # Safety
        ///
        /// Called by its stub only.
        pub(crate) unsafe extern "C" fn $name(
            vmctx: *mut VMContextHeader,
            $($arg: u64),*
        ) -> Answer {
            let body = |$store: &mut StoreCore, $index: usize| -> Result<u64> { $body };
            // SAFETY: generated code: the stub's caller is generated code, which passes its
            // context.
            unsafe { with_instance(vmctx, body) }
        }
    )*};
}

instance_builtins! {
    memory_grow(memory, delta) => |store, index| {
        let memory = store.instances[index].memory(memory as u32);
        Ok(store.grow_memory(memory, delta)?.unwrap_or(u64::MAX))
    };
    memory_copy(dst_memory, src_memory, dst, src, len) => |store, index| {
        let instance = &store.instances[index];
        let (to, from) = (instance.memory(dst_memory as u32), instance.memory(src_memory as u32));
        store.copy_memory(to, from, dst, src, len).map(|()| 0)
    };
    memory_fill(memory, dst, value, len) => |store, index| {
        let memory = store.instances[index].memory(memory as u32);
        store.fill_memory(memory, dst, value as u8, len).map(|()| 0)
    };
    memory_init(memory, segment, dst, src, len) => |store, index| {
        store.init_memory(index, memory as u32, segment as u32, dst, src, len).map(|()| 0)
    };
    data_drop(segment) => |store, index| {
        store.instances[index].drop_data(segment as u32);
        Ok(0)
    };
    table_grow(table, init, delta) => |store, index| {
        let table = store.instances[index].table(table as u32);
        Ok(store.grow_table_raw(table, delta, init)?.unwrap_or(u64::MAX))
    };
    table_copy(dst_table, src_table, dst, src, len) => |store, index| {
        let instance = &store.instances[index];
        let (to, from) = (instance.table(dst_table as u32), instance.table(src_table as u32));
        store.copy_table(to, from, dst, src, len).map(|()| 0)
    };
    table_fill(table, dst, value, len) => |store, index| {
        let table = store.instances[index].table(table as u32);
        store.fill_table_raw(table, dst, value, len).map(|()| 0)
    };
    table_init(table, segment, dst, src, len) => |store, index| {
        store.init_table(index, table as u32, segment as u32, dst, src, len).map(|()| 0)
    };
    elem_drop(segment) => |store, index| {
        store.instances[index].drop_elem(segment as u32);
        Ok(0)
    };
    exn_new(tag, values) => |store, index| {
        // SAFETY: generated code: it passes an array with a cell for each of the tag's
        // values.
        unsafe { store.new_exception(index, tag as u32, values as *const RawValue) }
    };
    exn_match(exception, tag) => |store, index| {
        let tag = store.instances[index].tag(tag as u32);
        Ok(u64::from(store.exceptions.tag(exception) == tag))
    };
    exn_load(exception, values) => |store, _index| {
        // SAFETY: generated code: it has matched the tag and passes an array with a
        // cell for each value.
        unsafe { store.exceptions.load(exception, values as *mut RawValue) };
        Ok(0)
    };
}

/// See `abi::builtins`.
///
/// # Safety
///
/// Called by its stub only: `vmctx` is the calling instance's context.
pub(crate) unsafe extern "C" fn throw(vmctx: *mut VMContextHeader, exception: u64) -> Answer {
    // SAFETY: generated code: it passes its own context, of an instance of a store that
    // is entered.
    let store = unsafe { instance_of(vmctx).store };
    // SAFETY: lent store: as in `with_instance`; the frames from the exit up are those of the wasm
    // that threw.
    let answer = unsafe { answer(store, || (*store.as_ptr()).throw(exception)) };
    match answer.status {
        Status::GO_ON => Answer { status: Status::CATCH, ..answer },
        _ => answer,
    }
}

/// See `abi::builtins`.
///
/// # Safety
///
/// Called by its stub only: `vmctx` is the context of an instance or, from a wasm-to-host
/// trampoline, of a host function.
pub(crate) unsafe extern "C" fn checkpoint(vmctx: *mut VMContextHeader, need: i64) -> Answer {
    // SAFETY: generated code: both kinds of context start with a magic word, which tells them
    // apart.
    let store = unsafe {
        match (*vmctx).magic == VMCONTEXT_MAGIC {
            true => instance_of(vmctx).store,
            false => HostFunction::from_context(vmctx.cast()).store,
        }
    };
    // SAFETY: lent store: as in `with_instance`.
    unsafe { answer(store, || (*store.as_ptr()).checkpoint(need).map(|()| 0)) }
}
