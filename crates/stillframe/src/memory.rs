//! `Memory`: linear memories.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::store::StoreData;
use anyhow::{Context, Result};
use std::fmt;
use stillframe_abi::types::{MemoryType, WASM_PAGE_SIZE};
use stillframe_runtime::MemoryHandle;

/// A linear memory of a store.
///
/// All methods panic when used with another store than the memory's own.
///
/// ```
/// use stillframe::{Engine, Memory, MemoryType, Store};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let memory = Memory::new(&mut store, MemoryType::new(1, Some(4)))?;
/// memory.write(&mut store, 100, b"bytes")?;
/// assert_eq!(&memory.data(&store)[100..105], b"bytes");
/// assert_eq!(memory.grow(&mut store, 2)?, 1);
/// assert_eq!(memory.size(&store), 3);
/// assert!(memory.grow(&mut store, 2).is_err());
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Memory(pub(crate) MemoryHandle);

/// An access outside of a memory's bounds; nothing was read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryAccessError {
    offset: usize,
    len: usize,
    size: usize,
}

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryAccessError { offset, len, size } = self;
        write!(f, "{len} bytes at {offset} are out of bounds of a memory of {size} bytes")
    }
}

impl std::error::Error for MemoryAccessError {}

impl Memory {
    /// A new memory, filled with zeros.
    ///
    /// # Errors
    ///
    /// If the store's limiter refuses it, or the system has no memory for it.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        Ok(Memory(store.as_context_mut().core.new_memory(&ty)?))
    }

    /// Its type; the minimum is the current size.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        let core = store.as_context().core;
        let (ty, pages) = (core.memory_type(self.0), core.memory_pages(self.0));
        match ty.is_64() {
            true => MemoryType::new64(pages, ty.maximum()),
            false => {
                // 32-bit memories have at most 2^16 pages, declared maxima too.
                let narrow = |pages: u64| u32::try_from(pages).unwrap_or(u32::MAX);
                MemoryType::new(narrow(pages), ty.maximum().map(narrow))
            }
        }
    }

    /// The bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        store.into().core.memory_bytes(self.0)
    }

    /// The bytes.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        store.into().core.memory_bytes_mut(self.0)
    }

    /// The bytes, and the store's data beside them.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let (bytes, data) = store.into().core.memory_bytes_and_data(self.0);
        (bytes, &mut StoreData::of_any(data).user)
    }

    /// The size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        store.as_context().core.memory_bytes(self.0).len()
    }

    /// The size in pages of 64 KiB.
    pub fn size(&self, store: impl AsContext) -> u64 {
        store.as_context().core.memory_pages(self.0)
    }

    /// Bytes in a page: 65,536.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        let _ = store;
        WASM_PAGE_SIZE
    }

    /// Adds `delta` pages of zeros; returns the size in pages before.
    ///
    /// # Errors
    ///
    /// If the result would exceed the memory's maximum, the store's limiter refuses, or the system
    /// has no memory; the memory is as it was.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let core = store.as_context_mut().core;
        let size = core.memory_pages(self.0);
        let grown = core.grow_memory(self.0, delta)?;
        grown.with_context(|| format!("a memory of {size} pages cannot grow by {delta} pages"))
    }

    /// Copies bytes from `offset` on to `buffer`, which it fills.
    ///
    /// # Errors
    ///
    /// If that is out of bounds; then `buffer` is as it was.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let bytes = store.as_context().core.memory_bytes(self.0);
        let (len, size) = (buffer.len(), bytes.len());
        let from = bytes.get(offset..).and_then(|bytes| bytes.get(..len));
        buffer.copy_from_slice(from.ok_or(MemoryAccessError { offset, len, size })?);
        Ok(())
    }

    /// Copies `buffer` to `offset`.
    ///
    /// # Errors
    ///
    /// If that is out of bounds; then the memory is as it was.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let bytes = store.as_context_mut().core.memory_bytes_mut(self.0);
        let (len, size) = (buffer.len(), bytes.len());
        let to = bytes.get_mut(offset..).and_then(|bytes| bytes.get_mut(..len));
        to.ok_or(MemoryAccessError { offset, len, size })?.copy_from_slice(buffer);
        Ok(())
    }
}
