//! Room: what engines keep for later is given back when the system refuses something.
//!
//! A process has only so much address space (128 TiB, of which each 32-bit memory takes 8 GiB) and so
//! many kernel mappings (65,530, if nobody has set another limit). The pools of an engine hold some
//! of both, and an engine does not know of another's. So pools are known here, weakly, and whoever
//! is refused a mapping asks all of them to give up what they keep, and tries once more:
//!
//! ```text
//!   memory, stack, code, table ── retrying ── refused ── every pool of the process: give_up ── again
//! ```

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Something that keeps mappings for later use.
pub(crate) trait Pool: Send + Sync {
    /// Bytes of address space that are kept.
    fn kept(&self) -> usize;

    /// Gives all of it back to the system.
    fn give_up(&self);
}

static POOLS: Mutex<Vec<Weak<dyn Pool>>> = Mutex::new(Vec::new());

/// Who asks for more than this is not helped at the others' cost, unless they keep as much: a guest
/// can ask for any size, again and again.
const LARGE: usize = 1 << 40;

/// Makes a pool known for as long as it lives.
pub(crate) fn register(pool: Weak<dyn Pool>) {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if pools.len() == pools.capacity() {
        pools.retain(|pool| pool.strong_count() > 0);
        let more = pools.len().max(15) + 1;
        pools.reserve(more);
    }
    pools.push(pool);
}

/// What `make` makes of `size` bytes of address space. If the system refuses, the pools of all
/// engines give up what they keep, and it is tried again.
pub(crate) fn retrying<T, E>(size: usize, mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    match make() {
        Err(_) if give_up(size) => make(),
        made => made,
    }
}

/// Lets all pools give up what they keep, if that could make room for `size` bytes. Returns whether
/// they did.
#[cold]
fn give_up(size: usize) -> bool {
    // Not under the lock: the last to hold a pool drops it, and that unmaps.
    let pools: Vec<Arc<dyn Pool>> = {
        let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    };
    let kept: usize = pools.iter().map(|pool| pool.kept()).sum();
    if kept == 0 || (size > LARGE && size > kept) {
        return false;
    }
    pools.iter().for_each(|pool| pool.give_up());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::testing::alone;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    struct Keeps(AtomicUsize);

    impl Pool for Keeps {
        fn kept(&self) -> usize {
            self.0.load(Relaxed)
        }

        fn give_up(&self) {
            self.0.store(0, Relaxed);
        }
    }

    fn keeps(bytes: usize) -> Arc<Keeps> {
        let pool = Arc::new(Keeps(bytes.into()));
        let weak: Weak<Keeps> = Arc::downgrade(&pool);
        register(weak);
        pool
    }

    /// How often something is tried that the system refuses the first `refusals` times.
    fn tries(size: usize, refusals: usize) -> (usize, bool) {
        let tried = Cell::new(0);
        let made = retrying(size, || {
            tried.set(tried.get() + 1);
            if tried.get() > refusals { Ok(()) } else { Err(()) }
        });
        (tried.get(), made.is_ok())
    }

    #[test]
    fn all_pools_give_up_what_they_keep_and_it_is_tried_once_more() {
        if !alone("reclaim::tests::all_pools_give_up_what_they_keep_and_it_is_tried_once_more") {
            return;
        }
        let pools = [keeps(5), keeps(0), keeps(7)];
        let kept = || pools.each_ref().map(|pool| pool.kept());
        assert_eq!(tries(1, 0), (1, true));
        assert_eq!(kept(), [5, 0, 7], "nothing was refused");
        assert_eq!(tries(100, 1), (2, true));
        assert_eq!(kept(), [0; 3]);
        assert_eq!(tries(100, 1), (1, false), "there is nothing to be had");
        pools[1].0.store(1, Relaxed);
        assert_eq!(tries(100, 2), (2, false));
    }

    #[test]
    fn a_giant_costs_the_others_nothing_if_that_would_not_help() {
        if !alone("reclaim::tests::a_giant_costs_the_others_nothing_if_that_would_not_help") {
            return;
        }
        let pool = keeps(LARGE + 10);
        assert_eq!(tries(LARGE + 11, 1), (1, false));
        assert_eq!(pool.kept(), LARGE + 10);
        assert_eq!(tries(LARGE + 10, 1), (2, true));
        assert_eq!(pool.kept(), 0);
    }

    #[test]
    fn pools_that_are_gone_are_forgotten() {
        if !alone("reclaim::tests::pools_that_are_gone_are_forgotten") {
            return;
        }
        let kept = keeps(1);
        (0..1000).for_each(|_| drop(keeps(1)));
        assert!(POOLS.lock().unwrap().len() < 40);
        assert_eq!(tries(1, 1), (2, true));
        assert_eq!(kept.kept(), 0, "the one that lives is still known");
    }
}
