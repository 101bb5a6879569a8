//! Wasm stacks: memory for wasm frames alone, pooled by the engine.
//!
//! ```text
//!   ┌───────────────┐ top, 16-aligned
//!   │ wasm frames   │ max_wasm_stack bytes; prologues test stack_limit
//!   ├───────────────┤ stack_limit
//!   │ reserve       │ frames that are not tested, the stubs' save area, and the frames of signal
//!   │               │ handlers that run without an alternate stack; virtual until touched
//!   ├───────────────┤
//!   │ guard page    │ inaccessible: second line of defence
//!   └───────────────┘ base
//! ```
//!
//! A stack has one owner at a time: the pool, a store that keeps it at hand, an activation, or a
//! suspended call. Stores remember weakly the stacks of their suspended calls, to look at them. A
//! suspended call can be dropped by one thread while another, which has the store, looks: so
//! looking ([`WasmStack::look`]) and giving a suspended call's stack back ([`WasmStack::release`])
//! take the stack's lock. Everything else is done by who has the store mutably, while nobody
//! looks.

use crate::arch;
use crate::mapping::{page_size, unmap};
use crate::reclaim::{self, Room};
use crate::resumable::CallRecord;
use crate::store::StoreId;
use crate::value::RawValue;
use anyhow::{Context, Result};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The largest frame of a function whose prologue does not test `stack_limit`; the translator
/// verifies it (`LEAF_FRAME_MAX` there).
const UNTESTED_FRAME_MAX: usize = 4096 + 64;

/// The least that wasm frames may take. The entry trampoline does not test the limit; its frame is
/// at most 48 KiB (the translator refuses larger ones), and above it are at most 1000 cells: this
/// and the reserve exceed both.
const USABLE_MIN: usize = 32 << 10;

/// Of a free stack, so many of the topmost bytes stay in memory.
const KEPT_MAX: usize = 64 << 10;

/// A mapped wasm stack.
#[derive(Debug)]
pub(crate) struct WasmStack {
    base: NonNull<u8>,
    /// Bytes mapped, guard included.
    size: usize,
    guard: usize,
    reserve: usize,
    pool: Weak<StackPool>,
    /// What is known of the call on the stack, if it is one that can be suspended. For the stack's
    /// owner alone.
    record: UnsafeCell<Option<CallRecord>>,
    /// The store whose suspended call stands on the stack; 0 if none does.
    suspended_in: AtomicU64,
    /// Where it stands: meaningful while one does.
    standing: [AtomicUsize; 3],
    /// The store that has the stack in its list already.
    listed_in: AtomicU64,
    /// The execution version of the call that is suspended on the stack, if it has one: see
    /// `frames/versions.rs`. 0 while none is suspended.
    version: AtomicU64,
    /// Held while somebody looks at a suspended call's frames, and while it is given up.
    looking: Mutex<()>,
    /// Counts the stacks that are held by the store which holds this one. For the stack's owner
    /// alone.
    holder: UnsafeCell<Option<Arc<AtomicUsize>>>,
}

/// Where a suspended call stands: the exit fields of `VMRuntimeLimits` as it left them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) fp: usize,
    pub(crate) pc: usize,
    pub(crate) sp: usize,
}

// SAFETY: own stack: the stack is plain memory, owned by this value alone; nothing in it is tied to
// a thread. A call's record is `Send`.
unsafe impl Send for WasmStack {}
// SAFETY: own stack: a shared reference gives addresses, atomics and a lock; the record is for the
// stack's owner alone.
unsafe impl Sync for WasmStack {}

impl WasmStack {
    /// Maps a stack on which wasm frames may take `usable` bytes, to be given back to `pool`.
    fn new(usable: usize, pool: Weak<StackPool>) -> Result<WasmStack> {
        let page = page_size();
        let reserve = reserve();
        let guard = page;
        let size = usable
            .max(USABLE_MIN)
            .checked_add(reserve)
            .and_then(|size| size.checked_next_multiple_of(page)?.checked_add(guard))
            .with_context(|| format!("a wasm stack of {usable} bytes"))?;
        // SAFETY: own mapping: a fresh private mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(error).with_context(|| format!("mapping a wasm stack of {size} bytes"));
        }
        let base = NonNull::new(base.cast::<u8>()).expect("mmap does not return null");
        let stack = WasmStack {
            base,
            size,
            guard,
            reserve,
            pool,
            record: UnsafeCell::new(None),
            suspended_in: AtomicU64::new(0),
            standing: Default::default(),
            listed_in: AtomicU64::new(0),
            version: AtomicU64::new(0),
            looking: Mutex::new(()),
            holder: UnsafeCell::new(None),
        };
        // SAFETY: own mapping: the first pages of the mapping that was just made.
        if unsafe { libc::mprotect(base.as_ptr().cast(), guard, libc::PROT_NONE) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(error).context("protecting the guard page of a wasm stack");
        }
        Ok(stack)
    }

    /// The address above the highest byte.
    #[inline]
    pub(crate) fn top(&self) -> usize {
        self.base.as_ptr() as usize + self.size
    }

    /// The lowest address wasm frames may use.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.base.as_ptr() as usize + self.guard + self.reserve
    }

    /// The readable addresses.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.base.as_ptr() as usize + self.guard..self.top()
    }

    /// The topmost `count` cells. Resumable calls have their parameters and results there, so that
    /// they do not lie in a frame of the host's.
    #[inline]
    pub(crate) fn cells(&self, count: usize) -> NonNull<[RawValue]> {
        let size = count * size_of::<RawValue>();
        debug_assert!(size <= USABLE_MIN / 2);
        // SAFETY: own mapping: inside of the mapping, whose usable part is larger.
        let first = unsafe { self.base.add(self.size - size) };
        NonNull::slice_from_raw_parts(first.cast(), count)
    }

    /// The record of the call on the stack, for its owner.
    #[inline]
    pub(crate) fn record(&self) -> *mut Option<CallRecord> {
        self.record.get()
    }

    /// Counts the stack among those that a store holds, until it goes back to the pool.
    pub(crate) fn hold(&self, count: &Arc<AtomicUsize>) {
        count.fetch_add(1, Relaxed);
        // SAFETY: own stack: it is the caller's, so nobody else uses this.
        let before = unsafe { (*self.holder.get()).replace(count.clone()) };
        debug_assert!(before.is_none(), "a free stack is held by no store");
    }

    /// Ends what [`hold`](WasmStack::hold) began.
    fn let_go(&self) {
        // SAFETY: own stack: it is the caller's, so nobody else uses this.
        if let Some(count) = unsafe { (*self.holder.get()).take() } {
            count.fetch_sub(1, Relaxed);
        }
    }

    /// Notes that a call of `store` is suspended on the stack. Returns whether the store must put
    /// the stack into its list.
    #[inline]
    pub(crate) fn mark_suspended(&self, store: StoreId, at: Standing) -> bool {
        for (cell, word) in self.standing.iter().zip([at.fp, at.pc, at.sp]) {
            cell.store(word, Relaxed);
        }
        self.suspended_in.store(store.number(), Relaxed);
        let listed = self.listed_in.load(Relaxed) == store.number();
        self.listed_in.store(store.number(), Relaxed);
        !listed
    }

    /// Notes that the suspended call goes on.
    #[inline]
    pub(crate) fn mark_running(&self) {
        self.suspended_in.store(0, Relaxed);
    }

    /// Where the suspended call stands.
    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        let [fp, pc, sp] = &self.standing;
        Standing { fp: fp.load(Relaxed), pc: pc.load(Relaxed), sp: sp.load(Relaxed) }
    }

    /// The execution version of the suspended call, or 0.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// The place of that version: to be written to by who has the store.
    #[inline]
    pub(crate) fn version_cell(&self) -> &AtomicU64 {
        &self.version
    }

    /// Whether `store` has the stack in its list.
    pub(crate) fn is_listed_in(&self, store: StoreId) -> bool {
        self.listed_in.load(Relaxed) == store.number()
    }

    /// Lets `look` see the stack if a call of `store` is suspended on it; until it returns, the
    /// call is not given up. It cannot be resumed either: the caller has the store.
    pub(crate) fn look<R>(
        &self,
        store: StoreId,
        look: impl FnOnce(&WasmStack, Standing) -> R,
    ) -> Option<R> {
        let _looking = self.lock();
        (self.suspended_in.load(Relaxed) == store.number()).then(|| look(self, self.standing()))
    }

    /// Gives up the call that is suspended on the stack: waits until nobody looks at it, and gives
    /// the stack back to its pool. Needs no store.
    pub(crate) fn release(self: Arc<WasmStack>) {
        let looking = self.lock();
        self.suspended_in.store(0, Relaxed);
        self.version.store(0, Relaxed);
        drop(looking);
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self);
        }
    }

    /// Gives the memory that deep calls have touched back to the system: all below the topmost
    /// [`KEPT_MAX`] bytes. Nobody uses the stack.
    ///
    /// What tells a deep call is the page just below those bytes. On a stack that has had none it
    /// is zeros; frames that reach beyond it have written return addresses and frame pointers there,
    /// but for one that is larger than the page and happens to leave all of it alone: then that
    /// memory stays until the next deep call.
    fn give_back_deep_pages(&self) {
        let page = page_size();
        let range = self.range();
        let deep = range.start..self.top() - KEPT_MAX.min(range.len());
        if deep.len() < page {
            return;
        }
        // SAFETY: own stack: the page lies in the mapping, above the guard; its owner lets nobody
        // else use it.
        let told = unsafe { std::slice::from_raw_parts((deep.end - page) as *const u8, page) };
        if !arch::is_zero(told) {
            // SAFETY: own stack: whole pages of the mapping, which nobody uses: `top` is a multiple
            // of pages, and so is what is subtracted. If the system refuses, they stay.
            unsafe {
                libc::madvise(deep.start as *mut libc::c_void, deep.len(), libc::MADV_DONTNEED)
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WasmStack {
    fn drop(&mut self) {
        self.let_go();
        // SAFETY: own mapping: the one made in `new`, owned by `self`.
        unsafe { unmap(self.base.as_ptr(), self.size) };
    }
}

/// Bytes below `stack_limit`.
fn reserve() -> usize {
    // SAFETY: system calls: reads the auxiliary vector.
    let minsigstksz = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let signals = (2 * minsigstksz + (16 << 10)).max(32 << 10);
    (signals + UNTESTED_FRAME_MAX + arch::STUB_FRAME_MAX).next_multiple_of(page_size())
}

/// The engine's pool of wasm stacks, all of the same size.
#[derive(Debug)]
pub(crate) struct StackPool {
    usable: usize,
    /// Stacks kept for reuse, at most.
    keep: usize,
    free: Mutex<Vec<Arc<WasmStack>>>,
    /// The pool itself, for its stacks.
    this: Weak<StackPool>,
}

impl StackPool {
    /// A pool of stacks with `usable` bytes for wasm frames, that keeps at most `keep` free ones.
    pub(crate) fn new(usable: usize, keep: usize) -> Arc<StackPool> {
        let pool = Arc::new_cyclic(|this| {
            let (free, this) = (Mutex::default(), this.clone());
            StackPool { usable, keep, free, this }
        });
        let weak: Weak<StackPool> = pool.this.clone();
        reclaim::register(weak);
        pool
    }

    /// A free stack, or a new one.
    pub(crate) fn take(&self) -> Result<Arc<WasmStack>> {
        if let Some(free) = self.lock().pop() {
            return Ok(free);
        }
        let make = || WasmStack::new(self.usable, self.this.clone());
        reclaim::retrying(Room::new(self.usable), make).map(Arc::new)
    }

    /// Gives a stack back. No call runs or is suspended on it.
    pub(crate) fn put(&self, stack: Arc<WasmStack>) {
        stack.let_go();
        stack.give_back_deep_pages();
        let mut free = self.lock();
        if free.len() < self.keep {
            free.push(stack);
        }
    }

    /// Number of free stacks in the pool.
    pub(crate) fn free(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<WasmStack>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl reclaim::Pool for StackPool {
    fn kept(&self) -> Room {
        self.lock().iter().map(|stack| Room::new(stack.size)).sum()
    }

    fn give_up(&self) {
        let free = std::mem::take(&mut *self.lock());
        // Unmapped without the lock.
        drop(free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pagemap::{PAGES_MAX, Pages};

    #[test]
    fn a_stack_has_its_usable_bytes_above_the_limit_and_a_reserve_below() {
        let stack = WasmStack::new(100_000, Weak::new()).unwrap();
        assert!(stack.top() - stack.limit() >= 100_000);
        assert_eq!(stack.top() % 16, 0);
        assert!(stack.limit() - stack.range().start >= (32 << 10) + UNTESTED_FRAME_MAX);
        let low = stack.range().start as *mut u8;
        // SAFETY: the lowest readable byte of a stack that nobody uses.
        unsafe {
            low.write_volatile(7);
            assert_eq!(low.read_volatile(), 7);
        }
    }

    #[test]
    fn a_stack_larger_than_the_address_space_is_an_error() {
        for usable in [usize::MAX, usize::MAX - 4096, usize::MAX - (64 << 10), 1 << 62, 1 << 47] {
            WasmStack::new(usable, Weak::new()).unwrap_err();
        }
    }

    #[test]
    fn a_free_stack_keeps_no_more_than_its_topmost_pages() {
        let pool = StackPool::new(1 << 20, 1);
        let page = page_size();
        let resident = |stack: &WasmStack| {
            Pages::of(stack.range(), &mut [0; PAGES_MAX]).expect("Linux has a pagemap").own()
        };
        // The page that is looked at counts: it is mapped when it is read.
        for depth in [page, KEPT_MAX, KEPT_MAX + page, 1 << 20, KEPT_MAX, 200_000] {
            let stack = pool.take().unwrap();
            let top = stack.top();
            for at in (8..=depth).step_by(page) {
                // SAFETY: bytes of a stack that nobody uses.
                unsafe { ((top - at) as *mut u64).write_volatile(1) };
            }
            assert!(resident(&stack) >= depth / page);
            pool.put(stack);
            let stack = pool.take().unwrap();
            assert_eq!(stack.top(), top, "the same again");
            let kept = resident(&stack);
            assert!(kept <= KEPT_MAX / page + 1, "{kept} pages are kept after {depth} bytes");
            // SAFETY: as above.
            assert_eq!(unsafe { ((top - 8) as *const u64).read_volatile() }, 1, "the top stays");
            pool.put(stack);
        }
        // Smaller than what may be kept.
        let small = StackPool::new(1 << 10, 1);
        small.put(small.take().unwrap());
        assert_eq!(small.free(), 1);
    }

    #[test]
    fn the_pool_reuses_stacks_and_keeps_no_more_than_it_should() {
        let pool = StackPool::new(1 << 16, 1);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        let top = a.top();
        pool.put(a);
        pool.put(b);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.take().unwrap().top(), top);
    }

    #[test]
    fn a_store_holds_a_stack_until_that_is_back_in_the_pool_or_unmapped() {
        let pool = StackPool::new(1 << 16, 1);
        let count = Arc::new(AtomicUsize::new(0));
        let stacks = [(); 3].map(|()| {
            let stack = pool.take().unwrap();
            stack.hold(&count);
            stack
        });
        let [first, second, third] = stacks;
        assert_eq!(count.load(Relaxed), 3);
        first.release();
        assert_eq!(count.load(Relaxed), 2);
        pool.put(second);
        assert_eq!((count.load(Relaxed), pool.free()), (1, 1));
        drop(pool);
        third.release();
        assert_eq!(count.load(Relaxed), 0);
    }
}
