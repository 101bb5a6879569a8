//! The data of a store: what the model knows of its objects.

use super::Outcome;
use super::calls::Kept;
use crate::Choices;
use crate::configs::Settings;
use crate::suspend::books::Books;
use anyhow::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;
use stillframe::{
    ExternRef, FrameHandle, Func, Global, Instance, Memory, Module, Mutability, Ref,
    StoreContextMut, StoreLimits, StoreLimitsBuilder, Table, Val, ValType,
};

/// The most pages that a memory may have.
pub(super) const MAX_PAGES: u64 = 17;
/// The most elements that a table may have.
pub(super) const MAX_ELEMENTS: u64 = 120;
/// Objects of each kind, at most, that are made on purpose.
pub(super) const MAX_OBJECTS: usize = 12;

/// The data of a store.
pub(super) struct Data {
    pub(super) choices: Choices<'static>,
    pub(super) settings: Settings,
    pub(super) limits: StoreLimits,
    /// Modules of the store's engine.
    pub(super) owner: Module,
    pub(super) user: Module,
    pub(super) memories: Vec<Mem>,
    pub(super) tables: Vec<Tab>,
    pub(super) globals: Vec<Glob>,
    /// Host functions of the type that the guest imports.
    pub(super) hosts: Vec<Func>,
    /// Functions that return one more than their argument, and do nothing else.
    pub(super) incs: Vec<Func>,
    /// Objects of the host's, with their numbers.
    pub(super) objects: Vec<(ExternRef, u64)>,
    pub(super) insts: Vec<Inst>,
    /// Suspended calls.
    pub(super) kept: Vec<Kept>,
    pub(super) handles: Vec<FrameHandle>,
    pub(super) books: Books,
    /// Calls from the host into wasm that run.
    pub(super) depth: usize,
    /// Operations left.
    pub(super) left: u32,
    pub(super) failure: Option<Error>,
    pub(super) seen: Outcome,
    /// All that may outlive its store by mistake holds one.
    pub(super) token: Arc<()>,
}

/// A memory.
pub(super) struct Mem {
    pub(super) memory: Memory,
    pub(super) pages: u64,
    /// The most pages that its type allows.
    pub(super) maximum: u64,
    pub(super) is_64: bool,
    bytes: HashMap<u64, u8>,
}

/// A table.
pub(super) struct Tab {
    pub(super) table: Table,
    pub(super) element: ValType,
    pub(super) elements: Vec<Ref>,
    pub(super) maximum: u64,
    pub(super) is_64: bool,
}

/// A global.
pub(super) struct Glob {
    pub(super) global: Global,
    pub(super) ty: ValType,
    pub(super) mutability: Mutability,
    pub(super) value: Val,
}

/// An instance of the guest that imports, and which objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inst {
    pub(super) instance: Instance,
    pub(super) memory: usize,
    pub(super) table: usize,
    pub(super) global: usize,
    pub(super) inc: Func,
    /// Whether its host function is asynchronous.
    pub(super) is_async: bool,
}

impl Data {
    /// The data of an empty store.
    pub(super) fn new(
        choices: Choices<'static>,
        settings: Settings,
        modules: [Module; 2],
        token: Arc<()>,
    ) -> Data {
        let limits = StoreLimitsBuilder::new()
            .memory_size((MAX_PAGES << 16) as usize)
            .table_elements(MAX_ELEMENTS as usize);
        let [owner, user] = modules;
        Data {
            choices,
            settings,
            limits: limits.build(),
            owner,
            user,
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            hosts: Vec::new(),
            incs: Vec::new(),
            objects: Vec::new(),
            insts: Vec::new(),
            kept: Vec::new(),
            handles: Vec::new(),
            books: Books::default(),
            depth: 0,
            left: 150,
            failure: None,
            seen: Outcome::default(),
            token,
        }
    }

    /// Any of the memories and so on.
    pub(super) fn any(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.choices.below(len))
    }
}

impl Mem {
    pub(super) fn new(memory: Memory, pages: u64, maximum: u64, is_64: bool) -> Mem {
        Mem { memory, pages, maximum, is_64, bytes: HashMap::new() }
    }

    /// The byte at an address within bounds.
    pub(super) fn byte(&self, address: u64) -> u8 {
        self.bytes.get(&address).copied().unwrap_or(0)
    }

    pub(super) fn set_byte(&mut self, address: u64, byte: u8) {
        self.bytes.insert(address, byte);
    }

    /// Whether it can have so many pages more.
    pub(super) fn can_grow(&self, delta: u64) -> bool {
        let pages = self.pages.checked_add(delta);
        pages.is_some_and(|pages| pages <= self.maximum.min(MAX_PAGES))
    }
}

impl Tab {
    /// Whether it can have so many elements more.
    pub(super) fn can_grow(&self, delta: u64) -> bool {
        let elements = (self.elements.len() as u64).checked_add(delta);
        elements.is_some_and(|elements| elements <= self.maximum.min(MAX_ELEMENTS))
    }

    /// Whether these elements are there.
    pub(super) fn has(&self, from: u64, len: u64) -> bool {
        from.checked_add(len).is_some_and(|end| end <= self.elements.len() as u64)
    }
}

/// Wasm may have run in the store: what it consumed must be missing from its fuel.
pub(super) fn charge(store: &mut StoreContextMut<'_, Data>) -> Result<u64> {
    if !store.data().settings.fuel {
        return Ok(0);
    }
    let (consumed, left) = (store.fuel_consumed()?, store.get_fuel()?);
    store.data_mut().books.look(consumed, left)
}

/// Whether values are the same; floats by their bits.
pub(super) fn same(a: &[Val], b: &[Val]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}
