//! Engine-wide ids of function types: what `call_indirect` compares.
//!
//! Two function types are the same type when they are equal, whichever modules they come from. An
//! engine gives each a number once; generated code compares numbers only.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use stillframe_abi::types::FuncType;

/// The function types of an engine, and their ids.
///
/// Ids count from 1, so that a zeroed word is the id of no type. None is taken back while the
/// registry lives: code and references that hold one need no count.
#[derive(Debug, Default)]
pub struct TypeRegistry {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Arc<FuncType>, u32>,
    /// The type with id `n` is at `n − 1`.
    types: Vec<Arc<FuncType>>,
}

impl TypeRegistry {
    /// A registry without types.
    pub fn new() -> TypeRegistry {
        TypeRegistry::default()
    }

    /// The id of this type; a new one if it has none yet.
    ///
    /// # Panics
    ///
    /// If there are 2^32 − 1 types already.
    pub fn intern(&self, ty: &FuncType) -> u32 {
        if let Some(id) = self.lookup(ty) {
            return id;
        }
        let ty = Arc::new(ty.clone());
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(id) = inner.ids.get(&ty) {
            return *id;
        }
        let id = u32::try_from(inner.types.len() + 1).expect("too many function types");
        inner.types.push(ty.clone());
        inner.ids.insert(ty, id);
        id
    }

    /// The type with this id, if there is one.
    pub fn get(&self, id: u32) -> Option<Arc<FuncType>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.types.get((id as usize).checked_sub(1)?).cloned()
    }

    /// The id of this type, if it has one.
    pub fn lookup(&self, ty: &FuncType) -> Option<u32> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.ids.get(ty).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::types::ValType::{self, F64, I32, I64};

    fn ty(params: &[ValType], results: &[ValType]) -> FuncType {
        FuncType::new(params.iter().copied(), results.iter().copied())
    }

    #[test]
    fn equal_types_have_one_id_and_different_ones_have_two() {
        let registry = TypeRegistry::new();
        let types = [ty(&[], &[]), ty(&[I32], &[]), ty(&[], &[I32]), ty(&[I32, I64], &[F64])];
        let ids: Vec<u32> = types.iter().map(|ty| registry.intern(ty)).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        for (ty, id) in types.iter().zip(&ids) {
            assert_eq!(registry.intern(&ty.clone()), *id);
            assert_eq!(registry.lookup(ty), Some(*id));
            assert_eq!(registry.get(*id).as_deref(), Some(ty));
        }
    }

    #[test]
    fn ids_that_were_not_given_name_nothing() {
        let registry = TypeRegistry::new();
        assert_eq!(registry.get(0), None);
        assert_eq!(registry.get(1), None);
        registry.intern(&ty(&[I32], &[]));
        assert_eq!(registry.get(0), None);
        assert_eq!(registry.get(u32::MAX), None);
        assert_eq!(registry.lookup(&ty(&[I64], &[])), None);
        assert_eq!(registry.get(2), None, "looking up does not intern");
    }

    #[test]
    fn threads_that_intern_the_same_types_agree_on_dense_ids() {
        let registry = TypeRegistry::new();
        let count = if cfg!(miri) { 12 } else { 50 };
        let all: Vec<FuncType> = (0..count).map(|n| ty(&vec![I32; n], &[])).collect();
        let ids = |rotation: usize| {
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.rotate_left(rotation);
            for i in order {
                registry.intern(&all[i]);
            }
            all.iter().map(|ty| registry.lookup(ty).unwrap()).collect::<Vec<u32>>()
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
}
