//! Linear memories: the bytes, and the address space they live in.
//!
//! ```text
//!   32-bit                                     64-bit
//!   base ┌───────────────────────┐             base ┌──────────────────────┐
//!        │ byte_len() bytes      │                  │ byte_len() bytes     │
//!        ├───────────────────────┤                  ├──────────────────────┤
//!        │ reserved; growth      │                  │ reserved; growth     │
//!        │ opens it; an access   │                  │ opens it, and moves  │
//!        │ faults                │                  │ when it is used up   │
//!        └───────────────────────┘                  ├──────────────────────┤
//!        base + MEMORY32_RESERVATION                │ one page that is     │
//!                                                   │ never opened         │
//!                                                   └──────────────────────┘
//! ```
//!
//! A 32-bit memory never moves, and whatever generated code can add to its base lies in the
//! reservation: its bounds are tested by the processor. A 64-bit memory is tested by generated
//! code; its last page is there so that an address just past the end is never another object's.

use crate::arch;
use crate::image::MemoryImage;
use crate::mapping::{Mapping, page_size};
use crate::pagemap::{PAGES_MAX, Pages};
use crate::reclaim::{self, Room};
use anyhow::{Context, Result, ensure};
use std::ops::Range;
use std::sync::Arc;
use stillframe_abi::types::{MemoryType, WASM_PAGE_SIZE};
use stillframe_abi::vmctx::MEMORY32_RESERVATION;

/// Bytes of address space that a 64-bit memory gets at first, unless its type says that it needs
/// less, or more at once. Reserving is free, moving is not.
const MEMORY64_RESERVATION: usize = 4 << 30;

/// A linear memory. It owns its address space and gives it back on drop.
///
/// The bytes are reached through [`base`](LinearMemory::base) only, by generated code too; no
/// reference to them is kept here. Whoever makes a reference from it must see to it that no wasm
/// of the store runs while it lives.
#[derive(Debug)]
pub struct LinearMemory {
    ty: MemoryType,
    mapping: Mapping,
    /// Accessible bytes: whole wasm pages. Of a 32-bit memory, every byte of `mapping` from here
    /// on is inaccessible; generated code relies on it.
    len: usize,
    /// What it held at first, if not zeros only.
    image: Option<Arc<MemoryImage>>,
}

// A store moves between threads with its memories.
const _: fn() = || {
    fn send<T: Send>() {}
    send::<LinearMemory>();
};

impl LinearMemory {
    /// A memory of the type's minimum size: zeros, and the contents of `image` on top of them.
    ///
    /// # Errors
    ///
    /// If the minimum is over what the type can have, the image does not fit into it, or the
    /// system refuses the memory.
    pub fn new(ty: &MemoryType, image: Option<&Arc<MemoryImage>>) -> Result<LinearMemory> {
        LinearMemory::with_reservation(ty, image, MEMORY64_RESERVATION)
    }

    fn with_reservation(
        ty: &MemoryType,
        image: Option<&Arc<MemoryImage>>,
        reservation64: usize,
    ) -> Result<LinearMemory> {
        let (pages, limit) = (ty.minimum(), ty.absolute_maximum());
        ensure!(pages <= limit, "a memory of {pages} pages is over its maximum of {limit}");
        let len = pages_to_bytes(pages)
            .with_context(|| format!("a memory of {pages} pages exceeds the address space"))?;
        let reservation = if ty.is_64() {
            let wanted = pages_to_bytes(limit).unwrap_or(usize::MAX).min(reservation64);
            len.max(wanted).saturating_add(page_size())
        } else {
            MEMORY32_RESERVATION
        };
        if let Some(image) = image {
            let range = image.range();
            ensure!(range.end <= len, "an image of bytes {range:?} for a memory of {len} bytes");
        }
        let image_of = image.map(Arc::as_ref);
        let room = Room { addresses: reservation, memory: len };
        let mapping = reclaim::retrying(room, || map(reservation, len, image_of))?;
        Ok(LinearMemory { ty: *ty, mapping, len, image: image.cloned() })
    }

    /// A memory on what is as [`LinearMemory::new`] would make it for this type.
    pub(crate) fn of_blank(ty: &MemoryType, blank: Blank) -> LinearMemory {
        let Blank { mapping, len, image } = blank;
        debug_assert!(!ty.is_64() && pages_to_bytes(ty.minimum()) == Some(len));
        LinearMemory { ty: *ty, mapping, len, image }
    }

    /// Takes a 32-bit memory's contents away, so that its address space can be that of another
    /// memory of the same minimum and image. `None`, and all of it is unmapped, if the system does
    /// not do its part. Those of 64 bits are not used again: they are of all sizes.
    pub(crate) fn into_blank(self) -> Option<Blank> {
        if self.ty.is_64() {
            return None;
        }
        let LinearMemory { ty, mut mapping, len, image } = self;
        let first_len = pages_to_bytes(ty.minimum())?;
        if len - first_len > GROWN_MAX {
            return None;
        }
        if first_len < len {
            mapping.close(first_len..len).ok()?;
        }
        let mut blank = Blank { mapping, len: first_len, image };
        blank.restore()?;
        Some(blank)
    }

    /// The address of byte 0. It stays the same while a 32-bit memory lives, and until the next
    /// [`grow`](LinearMemory::grow) of a 64-bit memory.
    pub fn base(&self) -> *mut u8 {
        self.mapping.base()
    }

    /// Bytes that can be read and written, from [`base`](LinearMemory::base) on.
    pub fn byte_len(&self) -> usize {
        self.len
    }

    /// The size in pages of 64 KiB.
    pub fn pages(&self) -> u64 {
        self.len as u64 / WASM_PAGE_SIZE
    }

    /// The type that the memory was made with.
    pub fn ty(&self) -> &MemoryType {
        &self.ty
    }

    /// All addresses that belong to the memory, inaccessible ones included.
    pub fn reservation(&self) -> Range<usize> {
        let base = self.mapping.base() as usize;
        base..base + self.mapping.len()
    }

    /// Adds `delta` pages of zeros, and returns the size in pages before. `None`, and nothing has
    /// changed, if the type's maximum would be exceeded or the system refuses.
    ///
    /// Whether the store's limiter allows it is the caller's to ask, before. A 64-bit memory can
    /// have another base afterwards.
    pub fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|new| *new <= self.ty.absolute_maximum())?;
        let new_len = pages_to_bytes(new)?;
        if new_len <= self.mapping.len() - page_size() {
            let (len, mapping) = (self.len, &mut self.mapping);
            let room = Room { addresses: 0, memory: new_len - len };
            reclaim::retrying(room, || mapping.open(len..new_len)).ok()?;
        } else {
            self.relocate(new_len)?;
        }
        self.len = new_len;
        Some(old)
    }

    /// Moves the memory to where `new_len` bytes are accessible.
    ///
    /// By copying: what `mremap` does to a memory of several kernel mappings (an image, pages of
    /// different history) cannot be undone when it fails half-way. The new place is twice as
    /// large as the old one, so that growing step by step copies each byte a bounded number of
    /// times.
    fn relocate(&mut self, new_len: usize) -> Option<()> {
        assert!(self.ty.is_64(), "generated code counts on 32-bit memories to stay in place");
        let guard = page_size();
        let most = pages_to_bytes(self.ty.absolute_maximum()).unwrap_or(usize::MAX);
        let twice = self.mapping.len().saturating_mul(2).min(most).max(new_len);
        let map = |len: usize| map(len.checked_add(guard)?, new_len, None).ok();
        let either = || map(twice).or_else(|| map(new_len)).ok_or(());
        let mapping = reclaim::retrying(Room::new(new_len), either).ok()?;
        // SAFETY: own mapping: the first `self.len` bytes of this memory are accessible, as many and more were
        // opened of the new mapping, and `&mut self` keeps everyone else from both.
        unsafe { copy_touched(self.mapping.base(), mapping.base(), self.len) };
        self.mapping = mapping;
        Some(())
    }
}

/// Address space of `reservation` bytes, of which the first `len` hold zeros, and on top of them an
/// image, which fits.
fn map(reservation: usize, len: usize, image: Option<&MemoryImage>) -> Result<Mapping> {
    let mut mapping = Mapping::reserve(reservation).with_context(|| {
        format!("cannot reserve {reservation} bytes of address space for a memory")
    })?;
    mapping.open(0..len).with_context(|| format!("cannot map {len} bytes of memory"))?;
    let Some(image) = image else { return Ok(mapping) };
    let (range, size) = (image.range(), image.range().len());
    mapping
        .overlay(range, image.file())
        .with_context(|| format!("cannot map {size} bytes of a memory's image"))
}

/// What a free memory may keep of the pages that were touched, in bytes. Memories of up to so many
/// bytes are restored by comparing them with what they were, and writing where they differ. Of larger
/// ones only pages that were touched are compared, if the system says which, and if they are so few.
/// Pages stay where they are then, ready to be used again. Otherwise the system takes the pages:
/// the next one to touch each pays a fault, which takes as long as comparing 100 KiB.
pub(crate) const KEPT_MAX: usize = 64 << 10;

/// What a memory that is used again may have grown by, in bytes: the system keeps its tables of
/// pages that it has taken back, and those for so many can take [`KEPT_MAX`].
const GROWN_MAX: usize = KEPT_MAX << 9;

/// The address space of a 32-bit memory that nobody uses, with the contents that a new memory of
/// that size and image has.
#[derive(Debug)]
pub(crate) struct Blank {
    mapping: Mapping,
    len: usize,
    image: Option<Arc<MemoryImage>>,
}

impl Blank {
    /// What it takes of the system: also what it had grown by, for closed pages can go on being counted.
    pub(crate) fn room(&self) -> Room {
        Room { addresses: self.mapping.len(), memory: self.mapping.opened() }
    }

    /// Whether a new memory of this type and image would be like this.
    pub(crate) fn is_for(&self, ty: &MemoryType, image: Option<&Arc<MemoryImage>>) -> bool {
        !ty.is_64() && pages_to_bytes(ty.minimum()) == Some(self.len) && self.is_of(image)
    }

    /// Whether it has this image, or none.
    pub(crate) fn is_of(&self, image: Option<&Arc<MemoryImage>>) -> bool {
        self.image.as_ref().map(Arc::as_ptr) == image.map(Arc::as_ptr)
    }

    /// Puts the first contents back. `None` if that could not be done.
    fn restore(&mut self) -> Option<()> {
        if self.len <= KEPT_MAX {
            return self.restore_blocks((0..self.len).step_by(BLOCK));
        }
        let start = self.mapping.base() as usize;
        let mut space = [0; PAGES_MAX];
        match Pages::of(start..start + self.len, &mut space) {
            Some(pages) if pages.own() * page_size() <= KEPT_MAX => {
                let blocks = |page: usize| (page..page + page_size()).step_by(BLOCK);
                self.restore_blocks(pages.offsets().flat_map(blocks))
            }
            _ => self.mapping.forget(0..self.len).ok(),
        }
    }

    /// Puts the first contents back into the blocks at these offsets.
    fn restore_blocks(&mut self, blocks: impl Iterator<Item = usize>) -> Option<()> {
        let (start, contents) = match &self.image {
            Some(image) => (image.range().start, image.contents()?),
            None => (0, &[][..]),
        };
        for at in blocks {
            assert!(at + BLOCK <= self.len);
            // Images are of whole pages, and so of whole blocks.
            let in_image = at.checked_sub(start).and_then(|at| contents.get(at..at + BLOCK));
            // SAFETY: own mapping: the block lies in the accessible bytes, as asserted. `self` owns
            // them, and no wasm that knows of them runs: its memory was given away.
            let block =
                unsafe { std::slice::from_raw_parts_mut(self.mapping.base().add(at), BLOCK) };
            match in_image {
                Some(first) if block != first => block.copy_from_slice(first),
                None if !arch::is_zero(block) => block.fill(0),
                _ => {}
            }
        }
        Some(())
    }
}

/// What is compared at once.
const BLOCK: usize = 4096;
const _: () = assert!(WASM_PAGE_SIZE.is_multiple_of(BLOCK as u64));

/// `None` if the address space has not that many.
fn pages_to_bytes(pages: u64) -> Option<usize> {
    usize::try_from(pages.checked_mul(WASM_PAGE_SIZE)?).ok()
}

/// Copies `len` bytes to where zeros are, leaving out blocks of zeros: so the pages of a sparse
/// memory stay untouched, and cost nothing, in the copy.
///
/// # Safety
///
/// `from` can be read and `to` written for `len` bytes, they do not overlap, `to` holds zeros, and
/// `len` is a multiple of the wasm page size.
unsafe fn copy_touched(from: *const u8, to: *mut u8, len: usize) {
    for at in (0..len).step_by(BLOCK) {
        // SAFETY: own mapping: `len` is a multiple of the block, so the whole block is in both; the
        // caller's promise for the rest.
        unsafe {
            let block = std::slice::from_raw_parts(from.add(at), BLOCK);
            if !arch::is_zero(block) {
                to.add(at).copy_from_nonoverlapping(block.as_ptr(), BLOCK);
            }
        }
    }
}

#[cfg(test)]
mod tests;
