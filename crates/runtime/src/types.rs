//! The engine's registry of function types: equal types have one number.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use stillframe_abi::types::FuncType;

/// Function types and their numbers. Numbers start at 1, so that a zeroed word is no type, and are
/// not used again while the engine lives.
#[derive(Debug, Default)]
pub struct TypeRegistry {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    types: Vec<Arc<FuncType>>,
    ids: HashMap<Arc<FuncType>, u32>,
}

impl TypeRegistry {
    /// A registry without types.
    pub fn new() -> TypeRegistry {
        TypeRegistry::default()
    }

    /// The number of a type; given to it now if it has none.
    pub fn intern(&self, ty: &FuncType) -> u32 {
        if let Some(id) = self.lookup(ty) {
            return id;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = inner.ids.get(ty) {
            return *id;
        }
        let ty = Arc::new(ty.clone());
        inner.types.push(ty.clone());
        let id = u32::try_from(inner.types.len()).expect("fewer than 2^32 function types");
        inner.ids.insert(ty, id);
        id
    }

    /// The number of a type, if it has one.
    pub fn lookup(&self, ty: &FuncType) -> Option<u32> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).ids.get(ty).copied()
    }

    /// The type with a number.
    pub fn get(&self, id: u32) -> Option<Arc<FuncType>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.types.get((id as usize).checked_sub(1)?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::types::ValType::{F64, I32};

    #[test]
    fn equal_types_share_a_number_and_zero_is_none() {
        let types = TypeRegistry::new();
        let (a, b) = (FuncType::new([I32], [F64]), FuncType::new([F64], [I32]));
        assert_eq!(types.lookup(&a), None);
        let id = types.intern(&a);
        assert_ne!(id, 0);
        assert_eq!(types.intern(&a.clone()), id);
        assert_ne!(types.intern(&b), id);
        assert_eq!(types.get(id).as_deref(), Some(&a));
        assert_eq!(types.get(0), None);
        assert_eq!(types.get(99), None);
    }
}
