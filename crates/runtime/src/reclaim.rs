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
//!                                                └─ if that cannot help: they keep it
//! ```
//!
//! A guest can ask for any size, again and again, and must not empty the pools of others by asking for
//! what it does not get all the same. So what is lacking is found out first, by asking the system for
//! it:
//!
//! - mappings: pages of a range that is held ready for this are made mappings of their own;
//! - address space: as much is reserved as was wanted; if that is refused, as much less what is kept;
//! - memory: as much is made writable, untouched, and then as much less what is kept. It is of the kind
//!   that pools hold (`MAP_NORESERVE`), so that it is refused where theirs counts: where the system
//!   counts all that can be written to (`vm.overcommit_memory` 2), or `RLIMIT_DATA` does. If it is
//!   granted, pools hold nothing of what was lacking, and keep it. So it is with tables, which come
//!   from the allocator: usually Linux judges such a request by itself, by the size of the machine, and
//!   what others have changes nothing.
//!
//! One thread does so at a time. Who was refused before another had made room just tries again.

use crate::mapping::{Mapping, Probe};
use std::iter::Sum;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of what something takes of the system, or keeps of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Of address space.
    pub(crate) addresses: usize,
    /// Of pages that can be written to, or once could: the system may count them before they are.
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

/// For whoever makes room. `None` if it could not be had when the last pool was made.
static PROBE: Mutex<Option<Probe>> = Mutex::new(None);

/// How often pools have given up what they kept.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

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
    drop(pools);
    let mut probe = PROBE.lock().unwrap_or_else(PoisonError::into_inner);
    if probe.is_none() {
        *probe = Probe::new(MAPPINGS_MAX).ok();
    }
}

/// What `make` makes, which takes so much room. If the system refuses, the pools of all engines give
/// up what they keep if that can be of help, and it is tried again: twice at most, for the first time
/// may only show that another thread was making room.
pub(crate) fn retrying<T, E>(room: Room, mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..2 {
        let given_up = GIVEN_UP.load(SeqCst);
        let made = make();
        if made.is_ok() {
            return made;
        }
        match make_room(room, given_up) {
            Made::Nothing => return made,
            Made::Room => break,
            Made::ByAnother => {}
        }
    }
    make()
}

/// What making room came to.
enum Made {
    /// There is none to be had.
    Nothing,
    /// There may be room now.
    Room,
    /// Another thread has made some since the system refused; that is all that is known.
    ByAnother,
}

/// Lets all pools give up what they keep, if that could make so much room. `given_up` is what
/// [`GIVEN_UP`] was before the system refused.
#[cold]
fn make_room(room: Room, given_up: usize) -> Made {
    // Until all of it is given up: what is on its way to the system is not lacking.
    let mut probe = PROBE.lock().unwrap_or_else(PoisonError::into_inner);
    if GIVEN_UP.load(SeqCst) != given_up {
        return Made::ByAnother;
    }
    // Not under the lock: the last to hold a pool drops it, and that unmaps.
    let pools: Vec<Arc<dyn Pool>> = {
        let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    };
    let kept: Room = pools.iter().map(|pool| pool.kept()).sum();
    if kept.addresses == 0 {
        return Made::Nothing;
    }
    if probe.as_mut().is_none_or(Probe::succeeds) {
        if !has_addresses(room.addresses) {
            if !has_addresses(room.addresses.saturating_sub(kept.addresses)) {
                return Made::Nothing;
            }
        } else if has_memory(room.memory) {
            // Or another thread has let go of something else.
            return Made::Room;
        } else if !has_memory(room.memory.saturating_sub(kept.memory)) {
            return Made::Nothing;
        }
    }
    pools.iter().for_each(|pool| pool.give_up());
    GIVEN_UP.fetch_add(1, SeqCst);
    Made::Room
}

/// Whether there is so much address space.
fn has_addresses(bytes: usize) -> bool {
    bytes == 0 || Mapping::reserve(bytes).is_ok()
}

/// Whether so many bytes more can be writable, of the kind that pools keep.
fn has_memory(bytes: usize) -> bool {
    let open = |mut mapping: Mapping| mapping.open(0..mapping.len());
    bytes == 0 || Mapping::reserve(bytes).and_then(open).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::page_size;
    use crate::mapping::testing::{NoMappings, address_space, alone};
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

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

    /// No more pages that can be written to than there are, and so many bytes.
    fn limit_memory(bytes: usize) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
        let used: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        let limit = ((used << 10) + bytes) as libc::rlim_t;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a valid limit, of a process that this test has for itself.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
    }

    #[test]
    fn pools_give_up_memory_if_with_it_there_is_enough() {
        if !alone("reclaim::tests::pools_give_up_memory_if_with_it_there_is_enough") {
            return;
        }
        let kept = Room { addresses: 8 << 30, memory: 1 << 30 };
        let pool = keeps(kept);
        limit_memory(64 << 20);
        for addresses in [0, 4 << 30] {
            for memory in [(1 << 30) + (128 << 20), 2 << 30, 3 << 30] {
                assert_eq!(tries(Room { addresses, memory }, 1), (1, false), "{memory}");
                assert_eq!(pool.kept(), kept);
            }
            for memory in [(1 << 30) + (32 << 20), 1 << 30, 128 << 20] {
                assert_eq!(tries(Room { addresses, memory }, 1), (2, true), "{memory}");
                assert_eq!(pool.kept(), Room::default());
                *pool.0.lock().unwrap() = kept;
            }
        }
    }

    #[test]
    fn pools_keep_memory_if_it_is_not_what_was_lacking() {
        if !alone("reclaim::tests::pools_keep_memory_if_it_is_not_what_was_lacking") {
            return;
        }
        let kept = Room { addresses: 64 << 30, memory: 64 << 30 };
        let pool = keeps(kept);
        for addresses in [0, 64 << 30] {
            for memory in [1, 1 << 20, 64 << 30] {
                // By now it may be there, for another thread has made room.
                assert_eq!(tries(Room { addresses, memory }, 1), (2, true), "{memory}");
                assert_eq!(pool.kept(), kept);
            }
        }
    }

    #[test]
    fn what_lacks_address_space_is_not_taken_for_what_lacks_mappings() {
        const NAME: &str = "what_lacks_address_space_is_not_taken_for_what_lacks_mappings";
        if !alone(&format!("reclaim::tests::{NAME}")) {
            return;
        }
        let kept = Room { addresses: 1 << 20, memory: 0 };
        let pool = keeps(kept);
        // Three pages, and none.
        for more in [3, 0] {
            let limit = (address_space().1 + more * page_size()) as libc::rlim_t;
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a valid limit, of a process that this test has for itself.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
            let tried = [tries(Room::new(1 << 40), 1), tries(Room::new(8 << 20), 1)];
            let still = pool.kept();
            let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, ..limit };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
            assert_eq!((tried, still), ([(1, false); 2], kept), "{more}");
        }
    }

    #[test]
    fn who_is_refused_while_another_makes_room_tries_again() {
        if !alone("reclaim::tests::who_is_refused_while_another_makes_room_tries_again") {
            return;
        }
        /// Gives up what it keeps when another thread has been refused.
        struct Slow(AtomicUsize, Barrier);

        impl Pool for Slow {
            fn kept(&self) -> Room {
                Room::new(self.0.load(SeqCst))
            }

            fn give_up(&self) {
                self.0.store(0, SeqCst);
                self.1.wait();
                self.1.wait();
                std::thread::sleep(Duration::from_millis(50));
                ROOM.store(true, SeqCst);
            }
        }

        static ROOM: AtomicBool = AtomicBool::new(false);
        let make = || if ROOM.load(SeqCst) { Ok(()) } else { Err(()) };
        // More than there is.
        let all = 1 << 60;
        let pool = Arc::new(Slow(all.into(), Barrier::new(2)));
        let weak: Weak<Slow> = Arc::downgrade(&pool);
        register(weak);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| retrying(Room::new(all), make));
            pool.1.wait();
            let mut refused = false;
            let second = retrying(Room::new(all), || {
                let made = make();
                if !std::mem::replace(&mut refused, true) {
                    pool.1.wait();
                }
                made
            });
            assert_eq!((second, first.join().unwrap()), (Ok(()), Ok(())));
        });
    }

    #[test]
    fn pools_that_are_gone_are_forgotten() {
        if !alone("reclaim::tests::pools_that_are_gone_are_forgotten") {
            return;
        }
        // More than there is.
        let all = Room { addresses: 1 << 60, memory: 0 };
        let kept = keeps(all);
        (0..1000).for_each(|_| drop(keeps(Room::new(1))));
        assert!(POOLS.lock().unwrap().len() < 40);
        assert_eq!(tries(all, 1), (2, true));
        assert_eq!(kept.kept(), Room::default(), "the one that lives is still known");
    }
}
