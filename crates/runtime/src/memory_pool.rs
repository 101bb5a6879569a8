//! Memories that can be used again: what an engine keeps of dropped stores, so that making the next
//! instance asks nothing of the system.
//!
//! ```text
//!   store dropped ── put: contents taken away ──► free, oldest first ── make: same size, same image ──► store
//!                                                     │
//!                                                     └─ too many, or their module is gone: unmapped
//! ```
//!
//! What is kept is the mapping as it stands: so many bytes accessible, with an image over some of
//! them or none. It serves memories of the same size and image only; changing it would cost as many
//! system calls as a new one. Its contents are taken away when it is given back, not when it is
//! taken: nothing of a guest stays behind its store.
//!
//! The bound is the number of free memories: their address space, up to four kernel mappings each,
//! and pages that were touched, up to [`KEPT_MAX`](crate::memory::KEPT_MAX) each. What has grown
//! by much is not kept. When the system refuses something to any engine of the process for want of what
//! the pools of all keep enough of, all of them are given up (`reclaim.rs`).

use crate::image::MemoryImage;
use crate::memory::{Blank, LinearMemory};
use crate::reclaim::{self, Room};
use anyhow::Result;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use stillframe_abi::types::MemoryType;

/// The engine's free memories.
#[derive(Debug)]
pub(crate) struct MemoryPool {
    /// Memories kept for reuse, at most.
    keep: usize,
    /// In the order in which they were given back.
    free: Mutex<VecDeque<Blank>>,
}

impl MemoryPool {
    /// A pool that keeps at most `keep` free memories.
    pub(crate) fn new(keep: usize) -> Arc<MemoryPool> {
        let pool = Arc::new(MemoryPool { keep, free: Mutex::default() });
        let weak: Weak<MemoryPool> = Arc::downgrade(&pool);
        reclaim::register(weak);
        pool
    }

    /// A memory as [`LinearMemory::new`] makes it: a free one, or a new one.
    pub(crate) fn make(
        &self,
        ty: &MemoryType,
        image: Option<&Arc<MemoryImage>>,
    ) -> Result<LinearMemory> {
        if let Some(blank) = self.take(ty, image) {
            return Ok(LinearMemory::of_blank(ty, blank));
        }
        LinearMemory::new(ty, image)
    }

    fn take(&self, ty: &MemoryType, image: Option<&Arc<MemoryImage>>) -> Option<Blank> {
        let mut free = self.lock();
        // The latest is the one that the processor's caches may still have.
        let found = free.iter().rposition(|blank| blank.is_for(ty, image))?;
        free.remove(found)
    }

    /// Gives a memory back that nobody uses any more.
    pub(crate) fn put(&self, memory: LinearMemory) {
        if self.keep == 0 {
            return;
        }
        let Some(blank) = memory.into_blank() else { return };
        let mut free = self.lock();
        free.push_back(blank);
        let oldest = if free.len() > self.keep { free.pop_front() } else { None };
        drop(free);
        // Unmapped without the lock.
        drop(oldest);
    }

    /// Drops the free memories with this image.
    pub(crate) fn forget(&self, image: &Arc<MemoryImage>) {
        let forgotten: Vec<Blank> = {
            let mut free = self.lock();
            let (gone, rest) = free.drain(..).partition(|blank| blank.is_of(Some(image)));
            *free = rest;
            Vec::from(gone)
        };
        drop(forgotten);
    }

    /// Number of free memories.
    pub(crate) fn free(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Blank>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl reclaim::Pool for MemoryPool {
    fn kept(&self) -> Room {
        self.lock().iter().map(Blank::room).sum()
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
    use crate::image::tests::image_of;
    use crate::mapping::page_size;
    use crate::mapping::testing::{address_space, alone, protections};
    use crate::memory::KEPT_MAX;
    use crate::pagemap::{PAGES_MAX, Pages};

    const PAGE: usize = 65536;

    fn bytes(memory: &mut LinearMemory) -> &mut [u8] {
        // SAFETY: accessible by contract, and borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
    }

    /// Types whose memories are restored in either way, each with an image and without.
    fn kinds() -> Vec<(MemoryType, Option<Arc<MemoryImage>>)> {
        let sizes = [0, 1, KEPT_MAX / PAGE + 1, 20];
        let image = |pages| image_of(&[(5000, b"first"), (60_000, b"last")], pages);
        let of = |pages: usize| {
            let (ty, pages) = (MemoryType::new(pages as u32, None), pages as u32);
            [(ty, None), (ty, (pages > 0).then(|| image(pages)))]
        };
        sizes.into_iter().flat_map(of).collect()
    }

    #[test]
    fn a_memory_that_is_used_again_is_as_a_new_one() {
        for (ty, image) in kinds() {
            let pool = MemoryPool::new(1);
            let fresh = |image| {
                let mut memory = LinearMemory::new(&ty, image).unwrap();
                bytes(&mut memory).to_vec()
            };
            let expected = fresh(image.as_ref());
            let mut memory = pool.make(&ty, image.as_ref()).unwrap();
            let base = memory.base();
            for round in 0..4 {
                assert_eq!(memory.grow(round % 3), Some(ty.minimum()));
                bytes(&mut memory).fill(0xaa + round as u8);
                pool.put(memory);
                assert_eq!(pool.free(), 1);
                memory = pool.make(&ty, image.as_ref()).unwrap();
                assert_eq!((pool.free(), memory.base()), (0, base), "the same again");
                assert_eq!((memory.pages(), memory.ty()), (ty.minimum(), &ty));
                assert!(bytes(&mut memory) == expected, "{ty:?}, round {round}");
                // Accessible is exactly what is the memory's.
                let open = base as usize + memory.byte_len();
                for (range, protection) in protections(memory.reservation()) {
                    let expected = if range.start < open { "rw-p" } else { "---p" };
                    assert_eq!(protection.as_deref(), Some(expected), "{range:x?}, {open:x}");
                    assert!(range.end <= open || range.start >= open, "{range:x?}, {open:x}");
                }
            }
            assert_eq!(memory.grow(1), Some(ty.minimum()));
            let grown = bytes(&mut memory);
            assert!(grown[expected.len()..].iter().all(|byte| *byte == 0), "{ty:?}");
        }
    }

    #[test]
    fn pages_that_were_touched_stay_if_they_are_few() {
        let few = KEPT_MAX / page_size();
        for (pages, image) in [
            (1, None),
            (40, None),
            (40, Some(image_of(&[(5000, b"first"), (60_000, b"last")], 40))),
        ] {
            let ty = MemoryType::new(pages, None);
            let pool = MemoryPool::new(1);
            let mut expected = LinearMemory::new(&ty, image.as_ref()).unwrap();
            let expected = bytes(&mut expected).to_vec();
            let many = if pages == 1 { few } else { few + 1 };
            for touched in [1, few - 1, few, many, 3] {
                let mut memory = pool.make(&ty, image.as_ref()).unwrap();
                for page in 0..touched {
                    // Now at the start, now at the end.
                    let at = if page % 2 == 0 { page } else { expected.len() / page_size() - page };
                    bytes(&mut memory)[at * page_size() + page] = 7;
                }
                let range = memory.base() as usize..memory.base() as usize + memory.byte_len();
                pool.put(memory);
                let kept = Pages::of(range, &mut [0; PAGES_MAX]).unwrap().own();
                let all = if pages == 1 { few } else { touched };
                assert_eq!(kept, if touched <= few { all } else { 0 }, "{touched} of {pages}");
                let mut memory = pool.make(&ty, image.as_ref()).unwrap();
                assert!(bytes(&mut memory) == expected, "{touched} of {pages}");
                // What was read here would count too.
                drop(memory);
            }
        }
    }

    #[test]
    fn only_memories_of_the_same_size_and_image_are_used_again() {
        let pool = MemoryPool::new(100);
        let kinds = kinds();
        let mut bases = Vec::new();
        for (ty, image) in &kinds {
            let memory = pool.make(ty, image.as_ref()).unwrap();
            bases.push(memory.base());
            pool.put(memory);
        }
        assert_eq!(pool.free(), kinds.len() - 1, "two kinds of no pages are the same");
        for ((ty, image), base) in kinds.iter().zip(bases).skip(1).rev() {
            assert_eq!(pool.make(ty, image.as_ref()).unwrap().base(), base, "{ty:?}");
        }
        assert_eq!(pool.free(), 0);
        // An image of the same contents is another one.
        let images = [(); 2].map(|()| image_of(&[(0, b"same")], 1));
        let ty = MemoryType::new(1, None);
        pool.put(pool.make(&ty, Some(&images[0])).unwrap());
        let _other = pool.make(&ty, Some(&images[1])).unwrap();
        assert_eq!(pool.free(), 1);
        // Those of 64 bits are not kept.
        pool.put(pool.make(&MemoryType::new64(1, None), None).unwrap());
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn no_more_are_kept_than_said_and_those_that_were_used_last() {
        let ty = MemoryType::new(1, None);
        let pool = MemoryPool::new(2);
        let memories = [(); 4].map(|()| pool.make(&ty, None).unwrap());
        let bases = memories.each_ref().map(LinearMemory::base);
        memories.into_iter().for_each(|memory| pool.put(memory));
        assert_eq!(pool.free(), 2);
        let again = [(); 2].map(|()| pool.make(&ty, None).unwrap().base());
        assert_eq!(again, [bases[3], bases[2]]);
        let none = MemoryPool::new(0);
        none.put(none.make(&ty, None).unwrap());
        assert_eq!(none.free(), 0);
    }

    #[test]
    fn memories_of_an_image_that_is_gone_are_not_kept() {
        let (image, other) = (image_of(&[(0, b"gone")], 1), image_of(&[(0, b"stays")], 1));
        let ty = MemoryType::new(1, None);
        let pool = MemoryPool::new(10);
        for image in [Some(&image), Some(&other), None, Some(&image)] {
            pool.put(LinearMemory::new(&ty, image).unwrap());
        }
        pool.forget(&image);
        assert_eq!((pool.free(), Arc::strong_count(&image)), (2, 1));
        assert_eq!(Arc::strong_count(&other), 2);
    }

    #[test]
    fn what_a_dropped_pool_held_goes_back_to_the_system() {
        if !alone("memory_pool::tests::what_a_dropped_pool_held_goes_back_to_the_system") {
            return;
        }
        let round = |keep| {
            let pool = MemoryPool::new(keep);
            let make = |(ty, image): &(MemoryType, Option<Arc<MemoryImage>>)| {
                let mut memory = pool.make(ty, image.as_ref()).unwrap();
                memory.grow(1).unwrap();
                bytes(&mut memory).fill(1);
                memory
            };
            for _ in 0..20 {
                let memories: Vec<_> = kinds().iter().map(make).collect();
                memories.into_iter().for_each(|memory| pool.put(memory));
            }
        };
        round(5);
        let (mappings, size) = address_space();
        for keep in [0, 1, 10, 100] {
            round(keep);
        }
        let (mappings_after, size_after) = address_space();
        assert!(mappings_after <= mappings + 4, "{mappings} -> {mappings_after} mappings");
        assert!(size_after < size + (64 << 20), "{size} -> {size_after} bytes of address space");
    }

    #[test]
    fn free_memories_are_given_up_when_the_system_has_no_room_for_another() {
        const NAME: &str = "free_memories_are_given_up_when_the_system_has_no_room_for_another";
        if !alone(&format!("memory_pool::tests::{NAME}")) {
            return;
        }
        let (pool, others) = (MemoryPool::new(10), MemoryPool::new(10));
        let ty = MemoryType::new(1, None);
        others.put(others.make(&ty, None).unwrap());
        // Room for one such memory and some MiB besides.
        let room = (address_space().1 + (64 << 20)) as libc::rlim_t;
        let limit = libc::rlimit { rlim_cur: room, rlim_max: room };
        // SAFETY: `limit` is a valid limit, of a process that this test has for itself.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let other = pool.make(&MemoryType::new(2, None), None).unwrap();
        assert_eq!((other.pages(), others.free()), (2, 0), "another engine's was given up");
        assert!(pool.make(&ty, None).is_err(), "there is no room for two");
    }

    #[test]
    fn threads_share_a_pool_and_see_nothing_of_each_other() {
        let pool = MemoryPool::new(3);
        let kinds = kinds();
        let expected: Vec<Vec<u8>> = kinds
            .iter()
            .map(|(ty, image)| bytes(&mut LinearMemory::new(ty, image.as_ref()).unwrap()).to_vec())
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let (pool, kinds, expected) = (&pool, &kinds, &expected);
                scope.spawn(move || {
                    for round in 0..200 {
                        // Mostly the same kind, so that they take it from each other.
                        let kind = if round % 4 == 0 { round % kinds.len() } else { 3 };
                        let (ty, image) = &kinds[kind];
                        let mut memory = pool.make(ty, image.as_ref()).unwrap();
                        assert!(bytes(&mut memory) == expected[kind]);
                        bytes(&mut memory).fill(thread + 1);
                        assert!(bytes(&mut memory).iter().all(|byte| *byte == thread + 1));
                        pool.put(memory);
                    }
                });
            }
        });
        assert_eq!(pool.free(), 3);
    }
}
