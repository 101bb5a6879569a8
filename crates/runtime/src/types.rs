//! Engine-wide ids of function types: what `call_indirect` compares.
//!
//! Two function types are the same type when they are equal, whichever modules they come from. An
//! engine gives each a number while somebody uses it; generated code compares numbers only.
//!
//! Who keeps a number where code can see it has a use of the type: a module for each of its types,
//! a store for each that it has asked trampolines for, those of its host functions among them. A
//! type that nobody uses any more keeps its number, and its trampolines, until there are
//! [`IDLE_MAX`] younger ones of that kind; then the number can be that of another type:
//!
//! ```text
//!   intern ──► in use ── last release ──► idle ── IDLE_MAX others ──► gone
//!                 ▲───────── intern ────────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use stillframe_abi::types::FuncType;

/// How many types are kept that nobody uses: so that a host whose modules come and go, and the
/// types of its functions with them, does not compile trampolines again and again.
const IDLE_MAX: usize = if cfg!(miri) { 30 } else { 1000 };

/// The function types of an engine, their ids, and what was made for each.
///
/// Ids count from 1, so that a zeroed word is the id of no type.
#[derive(Debug)]
pub(crate) struct TypeRegistry<A> {
    inner: RwLock<Inner<A>>,
}

#[derive(Debug)]
struct Inner<A> {
    ids: HashMap<Arc<FuncType>, u32>,
    /// The type with id `n` is at `n − 1`.
    slots: Vec<Option<Slot<A>>>,
    /// Places in `slots` without a type.
    free: Vec<usize>,
    /// Places of types that nobody used when they came here, oldest first; each is here once.
    idle: VecDeque<usize>,
}

#[derive(Debug)]
struct Slot<A> {
    ty: Arc<FuncType>,
    /// Changed while the registry is locked, for reading at least; from 0 to 1 by `intern` alone.
    uses: AtomicUsize,
    is_idle: bool,
    attached: OnceLock<A>,
}

impl<A> TypeRegistry<A> {
    /// A registry without types.
    pub(crate) fn new() -> TypeRegistry<A> {
        let (ids, slots) = Default::default();
        let inner = Inner { ids, slots, free: Vec::new(), idle: VecDeque::new() };
        TypeRegistry { inner: RwLock::new(inner) }
    }

    /// The id of this type, of which there is one more use now; a new one if it has none.
    ///
    /// # Panics
    ///
    /// If there are 2^32 − 1 types already.
    pub(crate) fn intern(&self, ty: &FuncType) -> u32 {
        if let Some(id) = self.read().use_again(ty) {
            return id;
        }
        let ty = Arc::new(ty.clone());
        let mut inner = self.write();
        // Another thread may have been faster.
        if let Some(id) = inner.use_again(&ty) {
            return id;
        }
        let slot =
            Slot { ty: ty.clone(), uses: 1.into(), is_idle: false, attached: OnceLock::new() };
        let at = match inner.free.pop() {
            Some(at) => at,
            None => {
                inner.slots.push(None);
                inner.slots.len() - 1
            }
        };
        let id = u32::try_from(at + 1).expect("too many function types");
        inner.slots[at] = Some(slot);
        inner.ids.insert(ty, id);
        id
    }

    /// One more use of a type that is in use.
    pub(crate) fn retain(&self, id: u32) {
        let before = self.read().slot(id).uses.fetch_add(1, SeqCst);
        debug_assert!(before > 0, "the caller sees that the type stays");
    }

    /// One use less for each of these ids, which must not be made by asking the registry.
    pub(crate) fn release(&self, ids: impl IntoIterator<Item = u32>) {
        let mut unused = Vec::new();
        {
            let inner = self.read();
            for id in ids {
                if inner.slot(id).uses.fetch_sub(1, SeqCst) == 1 {
                    unused.push(id);
                }
            }
        }
        if unused.is_empty() {
            return;
        }
        let gone = self.write().forget(&unused);
        // Not under the lock: it unmaps code.
        drop(gone);
    }

    /// The type with this id, which is in use.
    pub(crate) fn get(&self, id: u32) -> Arc<FuncType> {
        self.read().slot(id).ty.clone()
    }

    /// What was attached to this type, which is in use.
    pub(crate) fn attached(&self, id: u32) -> Option<A>
    where
        A: Clone,
    {
        self.read().slot(id).attached.get().cloned()
    }

    /// Attaches something to this type, which is in use, and has nothing attached yet.
    pub(crate) fn attach(&self, id: u32, attached: A) {
        let is_first = self.read().slot(id).attached.set(attached).is_ok();
        debug_assert!(is_first, "nobody else has attached anything");
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<A>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<A>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Inner<A> {
    fn slot(&self, id: u32) -> &Slot<A> {
        let at = (id as usize).wrapping_sub(1);
        self.slots.get(at).and_then(Option::as_ref).expect("a type of this engine, in use")
    }

    fn use_again(&self, ty: &FuncType) -> Option<u32> {
        let id = *self.ids.get(ty)?;
        self.slot(id).uses.fetch_add(1, SeqCst);
        Some(id)
    }

    /// Notes types of which the last use has gone, and takes out those that have been idle longest.
    fn forget(&mut self, unused: &[u32]) -> Vec<Slot<A>> {
        for &id in unused {
            let at = id as usize - 1;
            // By now it may be in use again, or another type.
            if let Some(slot) = &mut self.slots[at]
                && *slot.uses.get_mut() == 0
                && !slot.is_idle
            {
                slot.is_idle = true;
                self.idle.push_back(at);
            }
        }
        let mut gone = Vec::new();
        while self.idle.len() > IDLE_MAX {
            let Some(at) = self.idle.pop_front() else { break };
            let Some(mut slot) = self.slots[at].take() else { continue };
            slot.is_idle = false;
            if *slot.uses.get_mut() > 0 {
                self.slots[at] = Some(slot);
                continue;
            }
            self.ids.remove(&slot.ty);
            self.free.push(at);
            gone.push(slot);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use stillframe_abi::types::ValType::{self, F64, I32, I64};

    fn ty(params: &[ValType], results: &[ValType]) -> FuncType {
        FuncType::new(params.iter().copied(), results.iter().copied())
    }

    /// As many types as one likes: the bits of a number.
    fn numbered(number: usize) -> FuncType {
        let bit = |bit: usize| if number >> bit & 1 == 0 { I32 } else { I64 };
        ty(&(0..16).map(bit).collect::<Vec<_>>(), &[])
    }

    #[test]
    fn equal_types_have_one_id_and_different_ones_have_two() {
        let registry = TypeRegistry::<()>::new();
        let types = [ty(&[], &[]), ty(&[I32], &[]), ty(&[], &[I32]), ty(&[I32, I64], &[F64])];
        let ids: Vec<u32> = types.iter().map(|ty| registry.intern(ty)).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        for (ty, id) in types.iter().zip(&ids) {
            assert_eq!(registry.intern(&ty.clone()), *id);
            assert_eq!(*registry.get(*id), *ty);
        }
    }

    #[test]
    fn threads_that_intern_the_same_types_agree_on_dense_ids() {
        let registry = TypeRegistry::<()>::new();
        let count = if cfg!(miri) { 12 } else { 50 };
        let all: Vec<FuncType> = (0..count).map(|n| ty(&vec![I32; n], &[])).collect();
        let ids = |rotation: usize| {
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.rotate_left(rotation);
            for i in order {
                registry.intern(&all[i]);
            }
            all.iter().map(|ty| registry.intern(ty)).collect::<Vec<u32>>()
        };
        let (first, second) = std::thread::scope(|scope| {
            let other = scope.spawn(|| ids(count / 2));
            (ids(0), other.join().unwrap())
        });
        assert_eq!(first, second);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=count as u32).collect::<Vec<u32>>());
    }

    #[test]
    fn a_type_keeps_its_id_and_what_is_attached_while_it_is_used_or_not_long_idle() {
        let registry = TypeRegistry::<Arc<u32>>::new();
        let attached = Arc::new(7);
        let used = registry.intern(&numbered(0));
        registry.retain(used);
        registry.attach(used, attached.clone());
        registry.release([used]);
        // A module with more types than are kept, again and again.
        for round in 0..3 {
            let first = 1 + round * (IDLE_MAX + 10);
            let numbers = first..first + IDLE_MAX + 10;
            let ids: Vec<u32> = numbers.map(|n| registry.intern(&numbered(n))).collect();
            assert!(ids.iter().all(|id| *id != used));
            registry.release(ids);
        }
        let slots = registry.read().slots.len();
        assert!(slots <= 1 + 2 * IDLE_MAX + 10, "{slots} types are kept");
        assert_eq!(*registry.get(used), numbered(0));
        assert_eq!(registry.attached(used).as_deref(), Some(&7));
        // The last use goes: it is idle at first.
        registry.release([used]);
        assert_eq!(registry.intern(&numbered(0)), used);
        assert_eq!(registry.attached(used).as_deref(), Some(&7));
        registry.release([used]);
        let others = 10_000..10_000 + IDLE_MAX;
        let others: Vec<u32> = others.map(|n| registry.intern(&numbered(n))).collect();
        registry.release(others);
        assert_eq!(Arc::strong_count(&attached), 1, "what was attached is gone");
        let other = registry.intern(&numbered(50_000));
        assert!(registry.attached(other).is_none(), "another type has nothing of it");
    }

    #[test]
    fn a_type_that_is_used_again_and_again_pushes_no_other_out() {
        let registry = TypeRegistry::<Arc<u32>>::new();
        let attached = Arc::new(7);
        let kept = registry.intern(&numbered(0));
        registry.attach(kept, attached.clone());
        registry.release([kept]);
        for _ in 0..2 * IDLE_MAX {
            let id = registry.intern(&numbered(1));
            registry.release([id]);
        }
        assert_eq!((registry.intern(&numbered(0)), Arc::strong_count(&attached)), (kept, 2));
        assert_eq!(registry.read().idle.len(), 2);
    }

    /// So large that all threads look for it before the first has come to enter it.
    #[test]
    fn a_type_that_threads_intern_at_once_gets_one_id() {
        let registry = TypeRegistry::<()>::new();
        let (rounds, params) = if cfg!(miri) { (1, 10) } else { (20, 200_000) };
        for round in 0..rounds {
            let ty = ty(&vec![I32; params + round], &[]);
            let start = Barrier::new(4);
            std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        registry.intern(&ty)
                    })
                });
                let ids = threads.map(|thread| thread.join().unwrap());
                assert_eq!(ids, [1 + round as u32; 4]);
            });
        }
    }

    #[test]
    fn types_that_threads_take_and_give_back_are_never_mixed_up() {
        let registry = TypeRegistry::<Arc<FuncType>>::new();
        let (rounds, count) = if cfg!(miri) { (2, 40) } else { (30, 3 * IDLE_MAX) };
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let registry = &registry;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let number = |i: usize| (i * (thread + 1) + round * 7) % (4 * count);
                        let ids: Vec<u32> =
                            (0..count).map(|i| registry.intern(&numbered(number(i)))).collect();
                        for (i, id) in ids.iter().enumerate() {
                            assert_eq!(*registry.get(*id), numbered(number(i)));
                        }
                        registry.release(ids);
                    }
                });
            }
        });
        let inner = registry.read();
        assert!(inner.slots.iter().flatten().all(|slot| slot.uses.load(SeqCst) == 0));
        assert!(inner.idle.len() <= IDLE_MAX && inner.ids.len() <= IDLE_MAX);
    }
}
