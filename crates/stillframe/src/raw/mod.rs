//! All `unsafe` code of this crate, and nothing that need not be near it.
//!
//! The runtime takes and gives raw cells: 16 bytes without a type. What must hold for them is that
//! a cell contains a value of the type that its place has (parameter, result, global, table
//! element), and that references are of the store. This module turns cells into typed values and
//! back, and everything that it exports is safe: types and stores are checked here, or follow from
//! Rust's types.
//!
//! ```text
//!   cells     Rust types and `Val` <-> cells
//!   call      calling wasm; host functions that wasm calls
//!   resume    calling it resumably, and letting it go on
//!   future    calling it asynchronously; asynchronous host functions
//!   frames    copied frames under the names of this crate
//!   objects   globals and tables
//!   publish   machine code from our compiler, trampolines too, or from a file that the embedder trusts
//! ```

#![allow(unsafe_code)]

mod call;
mod cells;
mod frames;
mod future;
mod objects;
mod publish;
mod resume;

pub(crate) use call::{HostFunc, TypedHandle, call};
pub(crate) use cells::{Cell, Cells};
pub(crate) use frames::{frozen_frames, frozen_trace};
pub(crate) use future::{call_async, start_async};
pub(crate) use objects::{
    fill_table, get_global, get_table, grow_table, new_global, new_table, set_global, set_table,
};
pub(crate) use publish::{Provider, compile};
pub(crate) use resume::{Suspended, call_resumable};

use crate::context::{StoreContext, StoreContextMut};
use crate::store::{Store, StoreData};
use std::any::Any;

/// The data of a core whose contexts have type `T`.
///
/// A core's data is a `StoreData<T>`, put there by `Store::<T>::new`, which alone makes cores, and
/// taken out only by `Store::into_data`, which drops the store. `T` of a context is that of its
/// store: contexts are made of a `Store<T>`; of a core in host functions, which are a `HostFunc<T>`
/// and added through a context of `T` only; and of a core in the epoch callback and the limiter,
/// which are set through a context of `T` too. All of these are invariant in `T`:
///
/// ```compile_fail
/// use stillframe::Store;
/// fn retype(store: Store<for<'a> fn(&'a str)>) -> Store<fn(&'static str)> {
///     store
/// }
/// ```
///
/// Asking `Any` each time would cost half of what calling a host function costs.
#[inline]
pub(crate) fn data_of<T: 'static>(data: &dyn Any) -> &StoreData<T> {
    debug_assert!(data.is::<StoreData<T>>());
    // SAFETY: store's data: as above.
    unsafe { &*std::ptr::from_ref(data).cast() }
}

/// The data of a core whose contexts have type `T`; see [`data_of`].
#[inline]
pub(crate) fn data_of_mut<T: 'static>(data: &mut dyn Any) -> &mut StoreData<T> {
    debug_assert!(data.is::<StoreData<T>>());
    // SAFETY: store's data: as for `data_of`.
    unsafe { &mut *std::ptr::from_mut(data).cast() }
}

// What of a `StoreCore` is not `Send` by itself: raw pointers between objects that the store owns
// (contexts, definitions, host functions), which move with it; `Box<dyn Any>`, which is the
// `StoreData<T>` and `Send` if `T` is; the payload of a panic or an error on its way, which are
// `Send`. While a call runs, the store is mutably borrowed by it; what the runtime keeps in
// thread-locals for the call belongs to the stack frame of that call, not to the store.

// SAFETY: threads: as above.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: threads: through a shared reference the store's `Cell`s (`VMRuntimeLimits`, memory and
// table definitions) are read only: whoever writes them has the store mutably, wasm included. `T`
// is shared as `&T`.
unsafe impl<T: Sync> Sync for Store<T> {}
// SAFETY: threads: it is `&Store<T>`, whose pointee is `Sync`.
unsafe impl<T: Sync> Send for StoreContext<'_, T> {}
// SAFETY: threads: as above.
unsafe impl<T: Sync> Sync for StoreContext<'_, T> {}
// SAFETY: threads: it is `&mut Store<T>`. Inside of a host function it can go to another thread,
// and wasm can be called there: such a call saves and restores the limits, and everything else that
// belongs to a thread is looked up anew in each call.
unsafe impl<T: Send> Send for StoreContextMut<'_, T> {}
// SAFETY: threads: a shared reference to it gives what `&Store<T>` gives.
unsafe impl<T: Sync> Sync for StoreContextMut<'_, T> {}
