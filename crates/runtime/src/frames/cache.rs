//! The rows that a store has looked up, by code address.
//!
//! Bounded. When the cache is full, a hand goes round over the entries and throws out the first
//! that was not used since it last came by ("second chance"): each use takes the same time,
//! averaged over the uses, whatever the size.
//!
//! An entry keeps its module, and so the code at its address: while it is here, no other code can
//! get that address.

use super::row::{FrameRow, module_at};
use crate::module::{CodePosition, CompiledModule};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use stillframe_abi::frame_table::Readable;

/// What a store's cache of frame table rows has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameCacheStats {
    /// Frames whose row was in the cache.
    pub hits: u64,
    /// Frames whose row had to be decoded.
    pub misses: u64,
    /// Rows in the cache now.
    pub entries: usize,
}

/// Rows by the return address of their call.
pub(crate) struct FrameCache {
    positions: HashMap<usize, u32, BuildHasherDefault<AddressHasher>>,
    entries: Vec<Entry>,
    capacity: usize,
    /// Where the hand is.
    hand: usize,
    hits: u64,
    misses: u64,
    /// The module of the latest miss: frames of one module often follow each other.
    module: Option<Arc<CompiledModule>>,
    /// Memory for decoding.
    scratch: Readable,
}

/// Entries that there is room for when there is one.
const FIRST: usize = 64;

struct Entry {
    address: usize,
    row: Arc<FrameRow>,
    used: bool,
}

impl FrameCache {
    pub(crate) fn new(capacity: usize) -> FrameCache {
        FrameCache {
            positions: HashMap::default(),
            entries: Vec::new(),
            capacity: capacity.min(u32::MAX as usize),
            hand: 0,
            hits: 0,
            misses: 0,
            module: None,
            scratch: Readable::default(),
        }
    }

    /// The row of the call that returns to an address; `None` if that is not in a wasm function.
    #[inline]
    pub(crate) fn row(&mut self, return_address: usize) -> Option<Arc<FrameRow>> {
        match self.positions.get(&return_address) {
            Some(&at) => {
                self.hits += 1;
                let entry = &mut self.entries[at as usize];
                entry.used = true;
                Some(entry.row.clone())
            }
            None => self.miss(return_address),
        }
    }

    /// Counts a frame whose row is known to be that of the frame before it.
    #[inline]
    pub(crate) fn count_hit(&mut self) {
        self.hits += 1;
    }

    pub(crate) fn stats(&self) -> FrameCacheStats {
        let FrameCache { hits, misses, .. } = *self;
        FrameCacheStats { hits, misses, entries: self.entries.len() }
    }

    #[cold]
    fn miss(&mut self, return_address: usize) -> Option<Arc<FrameRow>> {
        let (module, position) = self.module_of(return_address)?;
        let row = Arc::new(FrameRow::of_call(module, position, &mut self.scratch)?);
        self.misses += 1;
        if self.capacity > 0 {
            self.insert(return_address, row.clone());
        }
        Some(row)
    }

    /// The module whose function calls and gets control back at an address, and where that is.
    fn module_of(&mut self, return_address: usize) -> Option<(Arc<CompiledModule>, CodePosition)> {
        let latest = self.module.as_ref();
        if let Some((module, at)) = latest.and_then(|m| Some((m, m.call_position(return_address)?)))
        {
            return Some((module.clone(), at));
        }
        let module = module_at(return_address.checked_sub(1)?)?;
        let at = module.call_position(return_address)?;
        self.module = Some(module.clone());
        Some((module, at))
    }

    fn insert(&mut self, address: usize, row: Arc<FrameRow>) {
        let len = self.entries.len();
        if len == self.entries.capacity() && len < self.capacity {
            // In larger steps than by themselves: a first walk over many frames fills the cache.
            let size = (len * 4).clamp(FIRST, self.capacity.max(FIRST));
            self.entries.reserve_exact(size - len);
            self.positions.reserve(size - len);
        }
        let entry = Entry { address, row, used: false };
        let at = match self.entries.len() < self.capacity {
            true => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
            false => self.replace(entry),
        };
        self.positions.insert(address, at as u32);
    }

    /// Puts an entry into the place of one that was not used lately.
    fn replace(&mut self, entry: Entry) -> usize {
        while std::mem::take(&mut self.entries[self.hand].used) {
            self.hand = (self.hand + 1) % self.entries.len();
        }
        let at = self.hand;
        self.hand = (at + 1) % self.entries.len();
        let old = std::mem::replace(&mut self.entries[at], entry);
        self.positions.remove(&old.address);
        at
    }
}

/// Spreads addresses; nobody chooses them to collide.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_usize(&mut self, address: usize) {
        // The high bits of the product depend on all of the address; the table takes its index from
        // the low ones and its tags from the high ones.
        let product = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(self.0 as usize ^ usize::from(byte));
        }
    }
}
