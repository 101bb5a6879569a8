//! Linear memories: reserved address space, of which the first part is accessible.
//!
//! ```text
//!   base                     byte_len                            reserved
//!   ├── accessible, zeroed ──┼── inaccessible: faults are traps ──┤
//! ```
//!
//! A 32-bit memory reserves [`MEMORY32_RESERVATION`] bytes, so that generated code can form no
//! address outside, and never moves. A 64-bit memory is checked by generated code; it reserves
//! some room to grow in and moves when that is used up.

use crate::image::MemoryImage;
use crate::stack::page_size;
use anyhow::{Context, Result, ensure};
use std::io::Error;
use std::ops::Range;
use std::ptr::NonNull;
use stillframe_abi::types::{MemoryType, WASM_PAGE_SIZE};
use stillframe_abi::vmctx::MEMORY32_RESERVATION;

/// What a 64-bit memory reserves at first, unless its minimum is larger or its maximum smaller.
const MEMORY64_RESERVATION: usize = 4 << 30;

/// A linear memory; unmapped when dropped.
#[derive(Debug)]
pub struct LinearMemory {
    ty: MemoryType,
    base: NonNull<u8>,
    /// Accessible bytes.
    len: usize,
    /// Mapped bytes.
    reserved: usize,
}

// SAFETY: plain memory, owned by this value; nothing in it is tied to a thread.
unsafe impl Send for LinearMemory {}
// SAFETY: a shared reference gives addresses and sizes only.
unsafe impl Sync for LinearMemory {}

/// Bytes of this many wasm pages, if they can be addressed with room for a guard page.
fn bytes(pages: u64) -> Option<usize> {
    let bytes = usize::try_from(pages.checked_mul(WASM_PAGE_SIZE)?).ok()?;
    (bytes < isize::MAX as usize - page_size()).then_some(bytes)
}

/// Maps inaccessible address space.
fn reserve(size: usize) -> Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh private mapping at an address of the kernel's choice.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(Error::last_os_error())
            .with_context(|| format!("reserving {size} bytes of address space for a memory"));
    }
    Ok(NonNull::new(base.cast()).expect("mmap does not return null"))
}

impl LinearMemory {
    /// A memory of this type's minimum size; its first contents are zero, or those of `image`.
    ///
    /// # Errors
    ///
    /// If address space or memory is lacking.
    pub fn new(ty: &MemoryType, image: Option<&MemoryImage>) -> Result<LinearMemory> {
        let minimum = bytes(ty.minimum());
        let minimum =
            minimum.with_context(|| format!("a memory of {} pages is too large", ty.minimum()))?;
        let reserved = if ty.is_64() {
            let maximum = bytes(ty.absolute_maximum()).unwrap_or(usize::MAX);
            maximum.min(MEMORY64_RESERVATION).max(minimum) + page_size()
        } else {
            MEMORY32_RESERVATION
        };
        let base = reserve(reserved)?;
        let mut memory = LinearMemory { ty: *ty, base, len: 0, reserved };
        memory.open(minimum).with_context(|| format!("mapping a memory of {minimum} bytes"))?;
        if let Some(image) = image {
            memory.map_image(image)?;
        }
        Ok(memory)
    }

    fn map_image(&mut self, image: &MemoryImage) -> Result<()> {
        let range = image.range();
        ensure!(range.end <= self.len, "a memory image exceeds its memory");
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: replaces pages inside of this memory's own mapping, which nobody uses yet.
        let mapped = unsafe {
            libc::mmap(
                self.base.as_ptr().add(range.start).cast(),
                range.len(),
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                image.descriptor(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(Error::last_os_error()).context("mapping a memory's initial contents");
        }
        Ok(())
    }

    /// Makes the bytes up to `len` accessible; they lie inside of the reservation.
    fn open(&mut self, len: usize) -> Result<(), Error> {
        assert!(self.len <= len && len <= self.reserved);
        if len > self.len {
            // SAFETY: pages inside of this memory's own mapping that were inaccessible so far.
            let opened = unsafe {
                libc::mprotect(
                    self.base.as_ptr().add(self.len).cast(),
                    len - self.len,
                    libc::PROT_READ | libc::PROT_WRITE,
                )
            };
            if opened != 0 {
                return Err(Error::last_os_error());
            }
            self.len = len;
        }
        Ok(())
    }

    /// The type.
    pub fn ty(&self) -> &MemoryType {
        &self.ty
    }

    /// The address of byte 0. Changes only when a 64-bit memory grows.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Accessible bytes.
    pub fn byte_len(&self) -> usize {
        self.len
    }

    /// Accessible pages.
    pub fn pages(&self) -> u64 {
        self.len as u64 / WASM_PAGE_SIZE
    }

    /// All addresses of the memory's mapping.
    pub fn reservation(&self) -> Range<usize> {
        let base = self.base.as_ptr() as usize;
        base..base + self.reserved
    }

    /// Adds `delta` zeroed pages and returns the size before, in pages; `None` beyond the type's
    /// maximum, or if the system refuses.
    pub fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let pages = old.checked_add(delta)?;
        if pages > self.ty.absolute_maximum() {
            return None;
        }
        let len = bytes(pages)?;
        // A guard page stays behind a 64-bit memory; 32-bit ones have all they can use.
        if len + page_size() > self.reserved {
            self.move_to_larger(len)?;
        }
        self.open(len).ok()?;
        Some(old)
    }

    fn move_to_larger(&mut self, len: usize) -> Option<()> {
        assert!(self.ty.is_64(), "32-bit memories never move");
        let reserved = len.checked_mul(2).unwrap_or(len).checked_add(page_size())?;
        let reserved = if reserve_probe(reserved) { reserved } else { len + page_size() };
        let base = reserve(reserved).ok()?;
        let mut larger = LinearMemory { ty: self.ty, base, len: 0, reserved };
        larger.open(self.len).ok()?;
        // SAFETY: both mappings have `self.len` accessible bytes and are different.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.as_ptr(), larger.base.as_ptr(), self.len);
        }
        *self = larger;
        Some(())
    }
}

/// Whether a size can be an address space at all.
fn reserve_probe(size: usize) -> bool {
    size < 1 << 46
}

impl Drop for LinearMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping that this value owns.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.reserved) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::module::{ConstExpr, ConstOp, DataSegment, ModuleInfo, SegmentMode};

    fn slice(memory: &LinearMemory) -> &mut [u8] {
        // SAFETY: accessible bytes of a memory that only this test uses.
        unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
    }

    /// Whether `/proc/self/maps` has a readable mapping at the address.
    fn readable(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().any(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let parse = |s| usize::from_str_radix(s, 16).unwrap();
            (parse(from)..parse(to)).contains(&address) && rest.starts_with('r')
        })
    }

    #[test]
    fn growing_keeps_contents_zeroes_the_new_and_does_not_move_a_32_bit_memory() {
        let mut memory = LinearMemory::new(&MemoryType::new(1, Some(3)), None).unwrap();
        let base = memory.base();
        slice(&memory)[65535] = 7;
        assert!(!readable(base as usize + 65536));
        assert_eq!(memory.grow(2), Some(1));
        assert_eq!((memory.base(), memory.pages()), (base, 3));
        assert_eq!((slice(&memory)[65535], slice(&memory)[65536]), (7, 0));
        assert!(!readable(base as usize + 3 * 65536));
        assert_eq!(memory.grow(1), None);
        assert_eq!(memory.grow(u64::MAX), None);
        assert_eq!(memory.grow(0), Some(3));
        assert_eq!(memory.reservation().len(), MEMORY32_RESERVATION);
    }

    #[test]
    fn a_64_bit_memory_moves_with_its_contents_when_its_room_is_used_up() {
        let mut memory = LinearMemory::new(&MemoryType::new64(1, None), None).unwrap();
        slice(&memory)[5] = 9;
        let pages = (MEMORY64_RESERVATION as u64 / WASM_PAGE_SIZE) + 1;
        let base = memory.base();
        assert_eq!(memory.grow(pages), Some(1));
        assert_ne!(memory.base(), base);
        assert_eq!(slice(&memory)[5], 9);
        assert_eq!(slice(&memory)[memory.byte_len() - 1], 0);
        assert_eq!(memory.grow(1 << 47), None, "more than there is");
        assert_eq!(memory.pages(), pages + 1);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let error = LinearMemory::new(&MemoryType::new64(1 << 47, None), None).unwrap_err();
        assert!(error.to_string().contains("pages is too large"), "{error}");
        let error = LinearMemory::new(&MemoryType::new64(1 << 46, None), None).unwrap_err();
        assert!(format!("{error:#}").contains("bytes"), "{error:#}");
    }

    fn with_data(segments: &[(i32, &[u8])]) -> (ModuleInfo, Vec<u8>) {
        let mut info =
            ModuleInfo { memories: vec![MemoryType::new(2, None)], ..ModuleInfo::default() };
        let mut data = Vec::new();
        for (offset, bytes) in segments {
            let start = data.len() as u32;
            data.extend_from_slice(bytes);
            let offset = ConstExpr { ops: vec![ConstOp::I32Const(*offset)] };
            info.data.push(DataSegment {
                mode: SegmentMode::Active { target: 0, offset },
                bytes: start..data.len() as u32,
            });
        }
        (info, data)
    }

    #[test]
    fn memories_of_one_image_do_not_see_each_others_writes() {
        let (info, data) = with_data(&[(5000, b"hello"), (70000, b"world"), (5001, b"a")]);
        let image = MemoryImage::for_memory(&info, &data, 0).unwrap();
        let a = LinearMemory::new(&info.memories[0], Some(&image)).unwrap();
        let b = LinearMemory::new(&info.memories[0], Some(&image)).unwrap();
        for memory in [&a, &b] {
            assert_eq!(&slice(memory)[5000..5006], b"hallo\0");
            assert_eq!(&slice(memory)[70000..70005], b"world");
            assert_eq!(slice(memory)[..5000].iter().max(), Some(&0));
            assert_eq!(slice(memory)[70005..].iter().max(), Some(&0));
        }
        slice(&a)[5000] = b'x';
        assert_eq!(slice(&b)[5000], b'h');
    }

    #[test]
    fn no_image_is_made_of_data_that_may_trap_or_is_sparse() {
        let made = |segments: &[(i32, &[u8])]| {
            let (info, data) = with_data(segments);
            MemoryImage::for_memory(&info, &data, 0).is_some()
        };
        assert!(made(&[(131068, b"last")]));
        assert!(!made(&[(131069, b"over")]));
        assert!(!made(&[(0, b"fits"), (-1, b"does not")]));
        assert!(!made(&[]));
        assert!(!made(&[(7, b"")]));
        let (mut info, data) = with_data(&[(0, b"near"), (40_000_000, b"far")]);
        info.memories[0] = MemoryType::new(1000, None);
        assert!(MemoryImage::for_memory(&info, &data, 0).is_none());
    }

    #[test]
    fn dropped_memories_leave_no_mappings() {
        // The address ranges of memories are too large for other tests' mappings to be mistaken
        // for them.
        let large = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().count()
        };
        let before = large();
        for _ in 0..2000 {
            drop(LinearMemory::new(&MemoryType::new(1, None), None).unwrap());
        }
        assert!(large() < before + 500, "mappings leak");
    }
}
