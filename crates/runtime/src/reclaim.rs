//! Room: what engines keep for later is given back when the system refuses something.
//!
//! A process has only so much address space (128 TiB, of which each 32-bit memory takes 8 GiB) and so
//! many kernel mappings (65,530, if nobody has set another limit). The pools of an engine hold some
//! of both, and an engine does not know of another's. So pools are known here, weakly, and whoever
//! is refused a mapping asks all of them to give up what they keep, and tries once more:
//!
//! ```text
//!   memory, stack, code, table ── retrying ── refused ── every pool of the process: give_up ── again
//!                                                │
//!                                                └─ if they keep too little for it: they keep it
//! ```

use crate::mapping::{Mapping, has_mappings};
use std::iter::Sum;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of what something takes of the system, or keeps of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Of address space.
    pub(crate) addresses: usize,
    /// Of pages that can be written to: the system may count them before they are.
    pub(crate) memory: usize,
}

impl Room {
    /// Of so many bytes that can be written to.
    pub(crate) fn new(bytes: usize) -> Room {
        Room { addresses: bytes, memory: bytes }
    }
}

impl Sum for Room {
    fn sum<I: Iterator<Item = Room>>(rooms: I) -> Room {
        rooms.fold(Room::default(), |sum, room| Room {
            addresses: sum.addresses + room.addresses,
            memory: sum.memory + room.memory,
        })
    }
}

/// Something that keeps mappings for later use.
pub(crate) trait Pool: Send + Sync {
    /// What is kept.
    fn kept(&self) -> Room;

    /// Gives all of it back to the system.
    fn give_up(&self);
}

static POOLS: Mutex<Vec<Weak<dyn Pool>>> = Mutex::new(Vec::new());

/// The most mappings that one thing needs: a memory with an image in its middle takes four; the
/// rest is to spare.
const MAPPINGS_MAX: usize = 8;

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

/// What `make` makes, which takes so much room. If the system refuses, the pools of all engines give
/// up what they keep if that can be of help, and it is tried again.
pub(crate) fn retrying<T, E>(room: Room, mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    match make() {
        Err(_) if make_room(room) => make(),
        made => made,
    }
}

/// Lets all pools give up what they keep, if that could make so much room. Returns whether it is worth
/// another try.
///
/// A guest can ask for any size, again and again. It must not empty the pools of others by
/// asking for what it does not get all the same. So what is lacking is found out first.
#[cold]
fn make_room(room: Room) -> bool {
    // Not under the lock: the last to hold a pool drops it, and that unmaps.
    let pools: Vec<Arc<dyn Pool>> = {
        let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    };
    let kept: Room = pools.iter().map(|pool| pool.kept()).sum();
    if kept.addresses == 0 {
        return false;
    }
    let free = |addresses: usize| addresses == 0 || Mapping::reserve(addresses).is_ok();
    if has_mappings(MAPPINGS_MAX) {
        if free(room.addresses) {
            // Then it was memory, or another thread has just made room.
            if room.memory > kept.memory {
                return true;
            }
        } else if !free(room.addresses.saturating_sub(kept.addresses)) {
            return false;
        }
    }
    pools.iter().for_each(|pool| pool.give_up());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::testing::{NoMappings, address_space, alone};
    use std::cell::Cell;

    struct Keeps(Mutex<Room>);

    impl Pool for Keeps {
        fn kept(&self) -> Room {
            *self.0.lock().unwrap()
        }

        fn give_up(&self) {
            *self.0.lock().unwrap() = Room::default();
        }
    }

    fn keeps(room: Room) -> Arc<Keeps> {
        let pool = Arc::new(Keeps(room.into()));
        let weak: Weak<Keeps> = Arc::downgrade(&pool);
        register(weak);
        pool
    }

    /// How often something is tried that the system refuses the first `refusals` times.
    fn tries(room: Room, refusals: usize) -> (usize, bool) {
        let tried = Cell::new(0);
        let made = retrying(room, || {
            tried.set(tried.get() + 1);
            if tried.get() > refusals { Ok(()) } else { Err(()) }
        });
        (tried.get(), made.is_ok())
    }

    #[test]
    fn without_mappings_all_pools_give_up_what_they_keep_and_it_is_tried_once_more() {
        const NAME: &str =
            "without_mappings_all_pools_give_up_what_they_keep_and_it_is_tried_once_more";
        if !alone(&format!("reclaim::tests::{NAME}")) {
            return;
        }
        let pools = [5, 0, 7].map(|bytes| keeps(Room::new(bytes)));
        let kept = || pools.each_ref().map(|pool| pool.kept().memory);
        assert_eq!(tries(Room::new(1), 0), (1, true));
        assert_eq!(kept(), [5, 0, 7], "nothing was refused");
        let large = Room::new(100 << 20);
        let mut all = NoMappings::take();
        assert_eq!(tries(large, 1), (2, true));
        assert_eq!(kept(), [0; 3]);
        assert_eq!(tries(large, 1), (1, false), "there is nothing to be had");
        *pools[1].0.lock().unwrap() = Room::new(1);
        assert_eq!(tries(large, 2), (2, false));
        // Nearly as few as none; and enough.
        *pools[1].0.lock().unwrap() = Room::new(1);
        all.give_back();
        assert_eq!((tries(large, 1), kept()), ((2, true), [0; 3]));
        *pools[1].0.lock().unwrap() = Room::new(1);
        (0..20).for_each(|_| all.give_back());
        assert_eq!((tries(large, 1), kept()), ((2, true), [0, 1, 0]));
    }

    #[test]
    fn pools_give_up_address_space_if_with_it_there_is_enough() {
        if !alone("reclaim::tests::pools_give_up_address_space_if_with_it_there_is_enough") {
            return;
        }
        let kept = Room { addresses: 8 << 30, memory: 0 };
        let pool = keeps(kept);
        let limit = (address_space().1 + (64 << 20)) as libc::rlim_t;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a valid limit, of a process that this test has for itself.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        for bytes in [(8 << 30) + (128 << 20), 1 << 40, usize::MAX] {
            assert_eq!(tries(Room::new(bytes), 1), (1, false), "{bytes}");
            assert_eq!(pool.kept(), kept);
        }
        for bytes in [(8 << 30) + (32 << 20), 8 << 30, 128 << 20] {
            assert_eq!(tries(Room::new(bytes), 1), (2, true), "{bytes}");
            assert_eq!(pool.kept(), Room::default());
            *pool.0.lock().unwrap() = kept;
        }
    }

    #[test]
    fn pools_give_up_memory_if_they_keep_enough_of_it() {
        if !alone("reclaim::tests::pools_give_up_memory_if_they_keep_enough_of_it") {
            return;
        }
        let kept = Room { addresses: 8 << 30, memory: 1 << 20 };
        let pool = keeps(kept);
        for addresses in [0, 1 << 30] {
            // Address space there is; perhaps by now also what was lacking.
            assert_eq!(tries(Room { addresses, memory: (1 << 20) + 1 }, 1), (2, true));
            assert_eq!(pool.kept(), kept);
            assert_eq!(tries(Room { addresses, memory: 1 << 20 }, 1), (2, true));
            assert_eq!(pool.kept(), Room::default());
            *pool.0.lock().unwrap() = kept;
        }
    }

    #[test]
    fn pools_that_are_gone_are_forgotten() {
        if !alone("reclaim::tests::pools_that_are_gone_are_forgotten") {
            return;
        }
        let kept = keeps(Room::new(1));
        (0..1000).for_each(|_| drop(keeps(Room::new(1))));
        assert!(POOLS.lock().unwrap().len() < 40);
        assert_eq!(tries(Room::new(1), 1), (2, true));
        assert_eq!(kept.kept(), Room::default(), "the one that lives is still known");
    }
}
