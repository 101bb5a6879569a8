//! The frames of frozen wasm: finding them, naming them, reading them.
//!
//! ```text
//!   walk      the chain of frame pointers: code addresses and frame pointers of an activation
//!   row       what the frame table says of a place, and of a function's cells
//!   state     what can be read at a place
//!   cache     rows that were looked up before, by code address
//!   versions  the number of each frozen period, and which activation has which
//!   access    a frozen stack: the only place that reads and writes frames
//!   handle    names of frames, checked at every use
//!   list      the frames of a store or of a suspended call, as handles
//!   trace     copies of frames, for backtraces and errors
//!   fault     which trap a hardware fault is
//! ```
//!
//! A stack is read only while nothing runs on it: in an activation of a store that is borrowed, or
//! in a suspended call that cannot be given up meanwhile. Every address is checked against the
//! stack's bounds. A handle names a frozen period besides its frame; it is of use as long as the
//! period is found somewhere, and no period comes twice.

mod access;
mod cache;
mod fault;
mod handle;
mod list;
mod row;
mod state;
mod trace;
mod value;
mod versions;
mod walk;

pub(crate) use access::FrozenStack;
pub use cache::FrameCacheStats;
pub(crate) use fault::Faulted;
pub use handle::{ActivationId, FrameHandle};
pub use list::Frames;
pub use row::FrameRow;
pub(crate) use row::{FunctionLayout, local_types};
pub(crate) use trace::Copy;
pub use trace::{Trace, TraceFrame};
pub use value::{FrameError, FrameValue};
pub(crate) use walk::{Link, links};

use crate::store::{InstanceHandle, StoreCore};
use cache::FrameCache;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use versions::SuspendedVersions;

/// What a store keeps for looking at its frames. Behind locks, because shared references to a
/// store can be on several threads; no two of them are held at once.
pub(crate) struct FrameStore {
    cache: Mutex<FrameCache>,
    suspended: Mutex<SuspendedVersions>,
    contexts: Mutex<HashMap<usize, u32>>,
}

impl FrameStore {
    /// With a cache of at most `rows` rows.
    pub(crate) fn new(rows: usize) -> FrameStore {
        FrameStore {
            cache: Mutex::new(FrameCache::new(rows)),
            suspended: Mutex::default(),
            contexts: Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, FrameCache> {
        lock(&self.cache)
    }

    /// The cache, for who has the store mutably: without waiting for anybody.
    pub(crate) fn cache_mut(&mut self) -> &mut FrameCache {
        self.cache.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspended(&self) -> MutexGuard<'_, SuspendedVersions> {
        lock(&self.suspended)
    }
}

/// Locks a mutex whose value is whole after a panic too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoreCore {
    /// What the cache of frame table rows has done so far.
    pub fn frame_cache_stats(&self) -> FrameCacheStats {
        self.frames.cache().stats()
    }

    /// The instance whose context is at an address, if there is one. The address is not followed.
    pub(crate) fn instance_at(&self, context: usize) -> Option<InstanceHandle> {
        let mut contexts = lock(&self.frames.contexts);
        // Instances are only ever added.
        for (index, instance) in (0..).zip(&self.instances).skip(contexts.len()) {
            contexts.insert(instance.context_address(), index);
        }
        let &index = contexts.get(&context)?;
        Some(self.instances.get(index as usize)?.handle)
    }
}
