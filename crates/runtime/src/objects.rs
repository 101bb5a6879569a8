//! Operations on memories, tables and globals: what the builtins, instantiation and the embedder
//! do to them. Every access is checked; an access out of bounds is a trap, and has no effect.

use crate::memory::LinearMemory;
use crate::store::{GlobalHandle, MemoryHandle, StoreCore, TableHandle};
use crate::table::TableElements;
use crate::value::RawValue;
use anyhow::{Context, Result, bail};
use std::ops::Range;
use stillframe_abi::Trap;
use stillframe_abi::types::{GlobalType, MemoryType, TableType, ValType, WASM_PAGE_SIZE};

#[cfg(test)]
mod tests;

/// `start..start + len` if it lies inside of `size`.
fn checked_range(start: u64, len: u64, size: usize) -> Option<Range<usize>> {
    let end = start.checked_add(len)?;
    (end <= size as u64).then_some(start as usize..end as usize)
}

fn pages_to_bytes(pages: u64) -> usize {
    usize::try_from(u128::from(pages) * u128::from(WASM_PAGE_SIZE)).unwrap_or(usize::MAX)
}

impl StoreCore {
    // ---- memories -------------------------------------------------------------------------

    #[track_caller]
    fn memory(&self, handle: MemoryHandle) -> &LinearMemory {
        self.check(handle.store, "memory");
        &self.memories[handle.index as usize].memory
    }

    /// Makes a memory for the host.
    ///
    /// # Errors
    ///
    /// If the limiter refuses or memory cannot be mapped.
    pub fn new_memory(&mut self, ty: &MemoryType) -> Result<MemoryHandle> {
        self.allow_memory(ty, 0)?;
        let memory = self.engine().memories().make(ty, None)?;
        Ok(self.add_memory(memory, None))
    }

    /// Asks the limiter for a new memory, when `made` others are not in the store yet.
    pub(crate) fn allow_memory(&mut self, ty: &MemoryType, made: usize) -> Result<()> {
        let count = self.memories.len() + made;
        let desired = pages_to_bytes(ty.minimum());
        let maximum = ty.maximum().map(pages_to_bytes);
        let answer = self.ask_limiter(|limiter| {
            if count >= limiter.memories() {
                bail!("the store's limit of {} memories is reached", limiter.memories());
            }
            limiter.memory_growing(0, desired, maximum)
        });
        match answer.transpose()? {
            Some(false) => bail!("the limiter refuses a memory of {desired} bytes"),
            _ => Ok(()),
        }
    }

    /// The type of a memory; its minimum is the one it was made with.
    ///
    /// # Panics
    ///
    /// If it is of another store; so for all of these.
    #[track_caller]
    pub fn memory_type(&self, handle: MemoryHandle) -> MemoryType {
        *self.memory(handle).ty()
    }

    /// The size of a memory in pages.
    #[track_caller]
    pub fn memory_pages(&self, handle: MemoryHandle) -> u64 {
        self.memory(handle).pages()
    }

    /// The bytes of a memory.
    #[track_caller]
    pub fn memory_bytes(&self, handle: MemoryHandle) -> &[u8] {
        let memory = self.memory(handle);
        // SAFETY: memory bytes: the bytes are mapped and initialised (by the system, with zeros);
        // wasm does not run while the store is borrowed, and nobody else has the address.
        unsafe { std::slice::from_raw_parts(memory.base(), memory.byte_len()) }
    }

    /// The bytes of a memory.
    #[track_caller]
    pub fn memory_bytes_mut(&mut self, handle: MemoryHandle) -> &mut [u8] {
        let memory = self.memory(handle);
        // SAFETY: memory bytes: as above, and the store is borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
    }

    /// The bytes of a memory, and the embedder's data beside them.
    #[track_caller]
    pub fn memory_bytes_and_data(
        &mut self,
        handle: MemoryHandle,
    ) -> (&mut [u8], &mut dyn std::any::Any) {
        let memory = self.memory(handle);
        // SAFETY: memory bytes: as above; the data is another object, so the two borrows do not
        // overlap.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) };
        (bytes, &mut *self.data)
    }

    /// Grows a memory by `delta` pages and returns the size before; `None` if that cannot be.
    ///
    /// # Errors
    ///
    /// If the limiter answers with an error.
    #[track_caller]
    pub fn grow_memory(&mut self, handle: MemoryHandle, delta: u64) -> Result<Option<u64>> {
        let memory = self.memory(handle);
        let (current, ty) = (memory.pages(), *memory.ty());
        let Some(desired) = current.checked_add(delta) else { return Ok(None) };
        if desired > ty.absolute_maximum() {
            return Ok(None);
        }
        let (from, to) = (pages_to_bytes(current), pages_to_bytes(desired));
        let maximum = ty.maximum().map(pages_to_bytes);
        let answer = self.ask_limiter(|limiter| limiter.memory_growing(from, to, maximum));
        if answer.transpose()? == Some(false) {
            return Ok(None);
        }
        let memory = &mut self.memories[handle.index as usize];
        let old = memory.memory.grow(delta);
        memory.publish();
        if old.is_none() {
            let error = anyhow::anyhow!("no memory to grow a linear memory to {to} bytes");
            self.ask_limiter(|limiter| limiter.memory_grow_failed(error)).transpose()?;
        }
        Ok(old)
    }

    /// `memory.copy`, within one memory or between two.
    pub(crate) fn copy_memory(
        &mut self,
        to: MemoryHandle,
        from: MemoryHandle,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<()> {
        let (to, from) = (self.memory(to), self.memory(from));
        let dst = checked_range(dst, len, to.byte_len()).ok_or(Trap::MemoryOutOfBounds)?;
        let src = checked_range(src, len, from.byte_len()).ok_or(Trap::MemoryOutOfBounds)?;
        // SAFETY: memory bytes: both ranges were checked against their memories; `copy` allows
        // overlap.
        unsafe {
            std::ptr::copy(from.base().add(src.start), to.base().add(dst.start), dst.len());
        }
        Ok(())
    }

    /// `memory.fill`.
    pub(crate) fn fill_memory(
        &mut self,
        memory: MemoryHandle,
        dst: u64,
        value: u8,
        len: u64,
    ) -> Result<()> {
        let bytes = self.memory_bytes_mut(memory);
        let range = checked_range(dst, len, bytes.len()).ok_or(Trap::MemoryOutOfBounds)?;
        bytes[range].fill(value);
        Ok(())
    }

    /// `memory.init` on behalf of instance number `instance`.
    pub(crate) fn init_memory(
        &mut self,
        instance: usize,
        memory: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<()> {
        let instance = &self.instances[instance];
        let (memory, module) = (instance.memory(memory), instance.module.clone());
        let data = match instance.data_is_dropped(segment) {
            true => &[][..],
            false => {
                let bytes = &module.info().data[segment as usize].bytes;
                &module.data()[bytes.start as usize..bytes.end as usize]
            }
        };
        let src = checked_range(src, len, data.len()).ok_or(Trap::MemoryOutOfBounds)?;
        let bytes = self.memory_bytes_mut(memory);
        let dst = checked_range(dst, len, bytes.len()).ok_or(Trap::MemoryOutOfBounds)?;
        bytes[dst].copy_from_slice(&data[src]);
        Ok(())
    }

    // ---- tables ---------------------------------------------------------------------------

    #[track_caller]
    fn table(&self, handle: TableHandle) -> &TableElements {
        self.check(handle.store, "table");
        &self.tables[handle.index as usize].elements
    }

    /// Makes a table for the host, with `init` in every element.
    ///
    /// # Errors
    ///
    /// If the limiter refuses or there is no memory.
    ///
    /// # Safety
    ///
    /// The raw value is of the table's type, and a reference is one of this store.
    pub unsafe fn new_table(&mut self, ty: &TableType, init: RawValue) -> Result<TableHandle> {
        self.allow_table(ty, 0)?;
        let elements = TableElements::new(ty, init.as_reference())?;
        Ok(self.add_table(elements, None))
    }

    /// Asks the limiter for a new table, when `made` others are not in the store yet.
    pub(crate) fn allow_table(&mut self, ty: &TableType, made: usize) -> Result<()> {
        let count = self.tables.len() + made;
        let desired = usize::try_from(ty.minimum()).unwrap_or(usize::MAX);
        let maximum = ty.maximum().map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let answer = self.ask_limiter(|limiter| {
            if count >= limiter.tables() {
                bail!("the store's limit of {} tables is reached", limiter.tables());
            }
            limiter.table_growing(0, desired, maximum)
        });
        match answer.transpose()? {
            Some(false) => bail!("the limiter refuses a table of {desired} elements"),
            _ => Ok(()),
        }
    }

    /// The type of a table.
    #[track_caller]
    pub fn table_type(&self, handle: TableHandle) -> TableType {
        *self.table(handle).ty()
    }

    /// The number of elements.
    #[track_caller]
    pub fn table_size(&self, handle: TableHandle) -> u64 {
        self.table(handle).len() as u64
    }

    /// An element; `None` out of bounds.
    #[track_caller]
    pub fn table_get(&self, handle: TableHandle, index: u64) -> Option<RawValue> {
        self.table(handle).get(index).map(RawValue::reference)
    }

    /// Sets an element; `None` out of bounds. The value must be of the table's type.
    ///
    /// # Safety
    ///
    /// The raw value is of the table's type, and a reference is one of this store.
    #[track_caller]
    pub unsafe fn table_set(
        &mut self,
        handle: TableHandle,
        index: u64,
        value: RawValue,
    ) -> Option<()> {
        self.check(handle.store, "table");
        self.tables[handle.index as usize].elements.set(index, value.as_reference())
    }

    /// Grows a table by `delta` elements `init`; returns the size before, or `None` if that cannot
    /// be.
    ///
    /// # Errors
    ///
    /// If the limiter answers with an error.
    ///
    /// # Safety
    ///
    /// The raw value is of the table's type, and a reference is one of this store.
    #[track_caller]
    pub unsafe fn grow_table(
        &mut self,
        handle: TableHandle,
        delta: u64,
        init: RawValue,
    ) -> Result<Option<u64>> {
        self.grow_table_raw(handle, delta, init.as_reference())
    }

    pub(crate) fn grow_table_raw(
        &mut self,
        handle: TableHandle,
        delta: u64,
        init: u64,
    ) -> Result<Option<u64>> {
        let table = self.table(handle);
        let (current, ty) = (table.len(), *table.ty());
        let desired = (current as u64).checked_add(delta).and_then(|n| usize::try_from(n).ok());
        let Some(desired) = desired else { return Ok(None) };
        let index_max = if ty.is_64() { u64::MAX } else { u64::from(u32::MAX) };
        if desired as u64 > ty.maximum().unwrap_or(index_max).min(index_max) {
            return Ok(None);
        }
        let maximum = ty.maximum().map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let answer = self.ask_limiter(|limiter| limiter.table_growing(current, desired, maximum));
        if answer.transpose()? == Some(false) {
            return Ok(None);
        }
        let table = &mut self.tables[handle.index as usize];
        let old = table.elements.grow(delta, init);
        table.publish();
        if old.is_none() {
            let error = anyhow::anyhow!("no memory to grow a table to {desired} elements");
            self.ask_limiter(|limiter| limiter.table_grow_failed(error)).transpose()?;
        }
        Ok(old)
    }

    /// `table.copy`.
    pub(crate) fn copy_table(
        &mut self,
        to: TableHandle,
        from: TableHandle,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<()> {
        let size = |handle| self.table(handle).len();
        checked_range(src, len, size(from)).ok_or(Trap::TableOutOfBounds)?;
        checked_range(dst, len, size(to)).ok_or(Trap::TableOutOfBounds)?;
        let (to, from) = (to.index as usize, from.index as usize);
        let copied = if to == from {
            self.tables[to].elements.copy_within(dst, src, len)
        } else {
            let [to, from] = self.tables.get_disjoint_mut([to, from]).expect("two tables");
            to.elements.copy_from(&from.elements, dst, src, len)
        };
        copied.context(Trap::TableOutOfBounds)
    }

    /// `table.fill`.
    pub(crate) fn fill_table_raw(
        &mut self,
        table: TableHandle,
        dst: u64,
        value: u64,
        len: u64,
    ) -> Result<()> {
        self.check(table.store, "table");
        let table = &mut self.tables[table.index as usize];
        Ok(table.elements.fill(dst, value, len).ok_or(Trap::TableOutOfBounds)?)
    }

    /// Sets `len` elements from `dst` on; `None` out of bounds. The value must be of the table's
    /// type.
    ///
    /// # Safety
    ///
    /// The raw value is of the table's type, and a reference is one of this store.
    #[track_caller]
    pub unsafe fn fill_table(
        &mut self,
        table: TableHandle,
        dst: u64,
        value: RawValue,
        len: u64,
    ) -> Option<()> {
        self.check(table.store, "table");
        self.tables[table.index as usize].elements.fill(dst, value.as_reference(), len)
    }

    /// Copies elements between tables of one type; `None` out of bounds.
    ///
    /// # Panics
    ///
    /// If the elements are not of one type.
    #[track_caller]
    pub fn copy_table_elements(
        &mut self,
        to: TableHandle,
        dst: u64,
        from: TableHandle,
        src: u64,
        len: u64,
    ) -> Option<()> {
        assert_eq!(
            self.table_type(to).element(),
            self.table_type(from).element(),
            "elements of another type"
        );
        self.copy_table(to, from, dst, src, len).ok()
    }

    /// `table.init` on behalf of instance number `instance`.
    pub(crate) fn init_table(
        &mut self,
        instance: usize,
        table: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<()> {
        let table = self.instances[instance].table(table);
        let values = self.instances[instance].elem_values(segment);
        let src = checked_range(src, len, values.len()).ok_or(Trap::TableOutOfBounds)?;
        let size = self.table(table).len();
        checked_range(dst, len, size).ok_or(Trap::TableOutOfBounds)?;
        let values = self.instances[instance].elem_values(segment);
        let elements = &mut self.tables[table.index as usize].elements;
        for (at, &value) in (dst..).zip(&values[src]) {
            elements.set(at, value).expect("checked above");
        }
        Ok(())
    }

    // ---- globals --------------------------------------------------------------------------

    /// Makes a global for the host. The value must be of the type.
    ///
    /// # Safety
    ///
    /// The raw value is of the global's type, and a reference is one of this store.
    pub unsafe fn new_global(&mut self, ty: GlobalType, value: RawValue) -> GlobalHandle {
        let handle = self.add_global(ty, None);
        // SAFETY: the caller's.
        unsafe { self.set_global(handle, value) };
        handle
    }

    /// The type of a global.
    #[track_caller]
    pub fn global_type(&self, handle: GlobalHandle) -> GlobalType {
        self.check(handle.store, "global");
        self.globals[handle.index as usize].ty
    }

    /// The value of a global.
    #[track_caller]
    pub fn global(&self, handle: GlobalHandle) -> RawValue {
        self.check(handle.store, "global");
        let definition = self.globals[handle.index as usize].definition;
        // SAFETY: store's contexts: the definition lives in a context or box of this store; wasm
        // does not run while the store is borrowed.
        let bytes = unsafe { *definition.as_ref().bytes.get() };
        RawValue::v128(u128::from_le_bytes(bytes))
    }

    /// Sets the value of a global. The value must be of the type; whether the global is mutable
    /// is the caller's to check.
    ///
    /// # Safety
    ///
    /// The raw value is of the global's type, and a reference is one of this store.
    #[track_caller]
    pub unsafe fn set_global(&mut self, handle: GlobalHandle, value: RawValue) {
        self.check(handle.store, "global");
        let global = &self.globals[handle.index as usize];
        let bits = match global.ty.content() {
            ValType::I32 | ValType::F32 => u128::from(value.as_i32() as u32),
            ValType::V128 => value.as_v128(),
            _ => u128::from(value.as_i64() as u64),
        };
        // SAFETY: store's contexts: as above; the cell is an `UnsafeCell` and the store is borrowed
        // for writing.
        unsafe { *global.definition.as_ref().bytes.get() = bits.to_le_bytes() };
    }
}
