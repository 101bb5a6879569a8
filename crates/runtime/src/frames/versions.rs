//! Execution versions: which frozen period is which.
//!
//! A period's version is handed out when somebody first asks for its frames, from a counter of the
//! process: no version comes twice. It stands with what is frozen, and is gone when that goes on or
//! ends:
//!
//! ```text
//!   limits.execution_version      the innermost activation; every way into wasm zeroes it
//!     │          ▲
//!     │ nested   │ that ends
//!     ▼          │
//!   SavedLimits::version          the activations around it
//!
//!   limits.execution_version
//!     │          ▲
//!     │ suspend  │ begin_again: before it goes on; while its host function is polled
//!     ▼          │
//!   WasmStack::version            a suspended call; zeroed when it is given up
//! ```
//!
//! The versions of suspended calls are listed in the store besides, so that they are found.

use super::access::FrozenStack;
use super::walk::Link;
use crate::resumable::SuspendedCall;
use crate::stack::WasmStack;
use crate::store::StoreCore;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};

/// The number of a frozen period.
pub(super) type Version = NonZeroU64;

/// The version in its place, handed out if it has not been.
pub(super) fn version_at(place: &AtomicU64) -> Version {
    if let Some(version) = NonZeroU64::new(place.load(Relaxed)) {
        return version;
    }
    let fresh = next();
    // Another thread can have looked at the same time; then the first one's stands.
    match place.compare_exchange(0, fresh.get(), Relaxed, Relaxed) {
        Ok(_) => fresh,
        Err(first) => NonZeroU64::new(first).unwrap_or(fresh),
    }
}

fn next() -> Version {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NonZeroU64::new(NEXT.fetch_add(1, Relaxed)).expect("a process does not count to 2^64")
}

/// Which suspended calls have which versions. Those of calls that were given up stay until there
/// are twice as many entries.
#[derive(Default)]
pub(super) struct SuspendedVersions {
    stacks: HashMap<Version, Weak<WasmStack>>,
    /// As many entries as must be there for the next clearing.
    clear_at: usize,
}

impl SuspendedVersions {
    fn insert(&mut self, version: Version, stack: &Arc<WasmStack>) {
        if self.stacks.len() >= self.clear_at {
            let is_there = |stack: &Weak<WasmStack>, version: &Version| {
                stack.upgrade().is_some_and(|stack| stack.version() == version.get())
            };
            self.stacks.retain(|version, stack| is_there(stack, version));
            self.clear_at = (self.stacks.len() * 2).max(16);
        }
        self.stacks.insert(version, Arc::downgrade(stack));
    }
}

/// An activation of a store that is frozen.
pub(crate) struct FrozenActivation<'a> {
    pub(crate) stack: FrozenStack<'a>,
    /// Its innermost frame.
    pub(crate) start: Link,
    /// Where its version is.
    version: &'a AtomicU64,
}

impl FrozenActivation<'_> {
    /// Its version, handed out if it has not been.
    pub(super) fn version(&self) -> Version {
        version_at(self.version)
    }
}

impl StoreCore {
    /// The activation that has so many inside of it; `Some(None)` for one without wasm frames, and
    /// `None` if there are not so many.
    pub(crate) fn frozen_activation(&self, depth: usize) -> Option<Option<FrozenActivation<'_>>> {
        let (activation, exit) = self.activations.get(depth, &self.limits)?;
        let stack = activation.stack.as_ref().filter(|_| exit.pc != 0);
        Some(stack.map(|stack| FrozenActivation {
            // SAFETY: frozen stack: it has left wasm, and the store is borrowed, so that it does
            // not go back.
            stack: unsafe { FrozenStack::new(stack) },
            start: Link { pc: exit.pc, fp: exit.fp },
            version: exit.version,
        }))
    }

    /// How many activations are inside of the one with this version.
    pub(super) fn depth_of(&self, version: Version) -> Option<usize> {
        self.activations.position(&self.limits, |exit| exit.version.load(Relaxed) == version.get())
    }

    /// Lets `look` see the stack with the frames of this version, if it is still there.
    #[inline]
    pub(super) fn look_at<R>(
        &self,
        version: Version,
        look: impl FnOnce(&FrozenStack<'_>) -> R,
    ) -> Option<R> {
        if self.limits.execution_version.load(Relaxed) != version.get() {
            return self.look_further(version, look);
        }
        debug_assert_ne!(self.limits.last_wasm_exit_pc.get(), 0, "what runs has no version");
        let stack = self.activations.innermost()?.stack.as_ref()?;
        // SAFETY: frozen stack: it has left wasm, else there was no version, and the store is
        // borrowed, so that it does not go back.
        Some(look(&unsafe { FrozenStack::new(stack) }))
    }

    /// The same for frames that are not of the innermost activation.
    #[cold]
    fn look_further<R>(
        &self,
        version: Version,
        look: impl FnOnce(&FrozenStack<'_>) -> R,
    ) -> Option<R> {
        if let Some(depth) = self.depth_of(version) {
            let activation = self.frozen_activation(depth)??;
            return Some(look(&activation.stack));
        }
        let stack = self.frames.suspended().stacks.get(&version)?.upgrade()?;
        let look_if_same = |stack: &WasmStack, _| {
            // SAFETY: frozen stack: the call that is suspended on it is neither resumed nor given
            // up while it is being looked at.
            let frozen = unsafe { FrozenStack::new(stack) };
            (stack.version() == version.get()).then(|| look(&frozen))
        };
        stack.look(self.id(), look_if_same)?
    }

    /// The version of a suspended call of this store, handed out if it has not been.
    pub(super) fn version_of_suspended(&self, call: &SuspendedCall) -> Version {
        // Who finds a version on the stack must find it in the list too.
        let mut listed = self.frames.suspended();
        let stack = call.stack();
        let is_new = stack.version() == 0;
        let version = version_at(stack.version_cell());
        if is_new {
            listed.insert(version, stack);
        }
        version
    }

    /// Notes that the frames of a version, 0 for none, are those of a suspended call from now on.
    #[inline]
    pub(crate) fn move_version_to(&mut self, stack: &Arc<WasmStack>, version: u64) {
        stack.version_cell().store(version, Relaxed);
        if let Some(version) = NonZeroU64::new(version) {
            self.suspended_versions().insert(version, stack);
        }
    }

    /// Takes the version, or 0, of a suspended call that is put back on the list of activations.
    #[inline]
    pub(crate) fn take_version_of(&mut self, stack: &WasmStack) -> u64 {
        let version = stack.version();
        if let Some(version) = NonZeroU64::new(version) {
            stack.version_cell().store(0, Relaxed);
            self.suspended_versions().stacks.remove(&version);
        }
        version
    }

    fn suspended_versions(&mut self) -> &mut SuspendedVersions {
        self.frames.suspended.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
