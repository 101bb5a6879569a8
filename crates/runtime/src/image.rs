//! Memory images: the first contents of a memory, mapped copy-on-write instead of copied.
//!
//! ```text
//!   memory     │ 0 … 0 │ segment │ 0 0 │ segment │ 0 … 0 │ 0 … 0 │
//!   image          └──────────────── range ─────────────────┘
//!                        a sealed memfd, of whole pages
//! ```
//!
//! A module has one image for each of its memories that can have one; every instance maps it
//! privately. Instantiating costs a system call instead of a copy, and pages that are never
//! written are shared.
//!
//! # When a memory can have one
//!
//! An image puts all of a memory's segments there at once, before any segment of the module is
//! applied. The specification applies them one after the other, element segments first, and those
//! before a failing one stay applied. A memory of an instance that failed can still be seen: by
//! functions of the instance that are already in an imported table. So the image must hold nothing
//! that might come after a failure: every active segment before the memory's last one must be
//! certain to fit.

use crate::mapping::{SealedBytes, page_size};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use stillframe_abi::module::{ConstExpr, ConstOp, ModuleInfo, SegmentMode};
use stillframe_abi::types::WASM_PAGE_SIZE;

/// Images of up to this many bytes are made however sparse they are.
const SPARSE_ALLOWANCE: usize = 1 << 20;
/// Larger images are made if they span no more than so many times the bytes of the segments:
/// gaps take memory when they are read, for they are read from a file.
const SPARSE_FACTOR: usize = 4;

/// The first contents of a memory, to be mapped copy-on-write.
#[derive(Debug)]
pub struct MemoryImage {
    /// A memfd of `range.len()` bytes, sealed: nobody can change or shorten it.
    file: File,
    /// The bytes of the memory that the file stands for: whole pages of the system.
    range: Range<usize>,
    /// What [`MemoryImage::contents`] has mapped.
    contents: OnceLock<SealedBytes>,
}

/// A segment's bytes and where they go.
type Part<'a> = (usize, &'a [u8]);

impl MemoryImage {
    /// The image of what the active data segments of `info` write into memory `memory` (an index
    /// into all memories); `data` is the bytes that the segments are ranges of.
    ///
    /// `None`, and then the segments must be applied one by one, if there is nothing to write, the
    /// memory is imported, it cannot have an image (see the top of this file), the image would be
    /// mostly gaps, or the system refuses.
    pub fn for_memory(info: &ModuleInfo, data: &[u8], memory: u32) -> Option<MemoryImage> {
        let parts = certain_parts(info, data, memory)?;
        let range = image_range(&parts)?;
        let file = sealed_file(&parts, &range).ok()?;
        Some(MemoryImage { file, range, contents: OnceLock::new() })
    }

    /// The bytes of the memory that the image covers: all that the segments write, and around it
    /// zeros up to whole pages.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The contents, of `range` in all; mapped when first asked for. `None` if they cannot be now.
    pub(crate) fn contents(&self) -> Option<&[u8]> {
        let contents = match self.contents.get() {
            Some(contents) => contents,
            None => {
                let mapped = SealedBytes::of(&self.file, self.range.len()).ok()?;
                self.contents.get_or_init(|| mapped)
            }
        };
        Some(contents.get())
    }

    /// The file with the contents, from its first byte on.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// What is written to the memory, in order; `None` unless it is certain that all of it is.
fn certain_parts<'a>(info: &ModuleInfo, data: &'a [u8], memory: u32) -> Option<Vec<Part<'a>>> {
    if (memory as usize) < info.num_imported_memories {
        return None;
    }
    // An import has at least the size that its type asks for, so these hold for imports too.
    let memory_size = |index: u32| {
        let ty = info.memories.get(index as usize)?;
        Some((ty.minimum().saturating_mul(WASM_PAGE_SIZE), ty.is_64()))
    };
    let table_size = |index: u32| {
        let ty = info.tables.get(index as usize)?;
        Some((ty.minimum(), ty.is_64()))
    };
    let mut certain = info.elems.iter().all(|segment| match &segment.mode {
        SegmentMode::Active { target, offset } => {
            certain_offset(offset, segment.items.len(), table_size(*target)).is_some()
        }
        SegmentMode::Passive | SegmentMode::Declared => true,
    });
    let mut parts = Vec::new();
    for segment in &info.data {
        let SegmentMode::Active { target, offset } = &segment.mode else { continue };
        let bytes = data.get(segment.bytes.start as usize..segment.bytes.end as usize)?;
        let offset = certain_offset(offset, bytes.len(), memory_size(*target));
        if *target == memory {
            let offset = offset.filter(|_| certain)?;
            parts.push((usize::try_from(offset).ok()?, bytes));
        }
        certain &= offset.is_some();
    }
    parts.retain(|(_, bytes)| !bytes.is_empty());
    Some(parts)
}

/// The offset of a segment of `len` items if it is constant and the items are certain to fit;
/// `target` is the least size of the target and whether it is indexed by `i64`.
fn certain_offset(offset: &ConstExpr, len: usize, target: Option<(u64, bool)>) -> Option<u64> {
    let (size, is_64) = target?;
    let offset = match (&offset.ops[..], is_64) {
        ([ConstOp::I32Const(offset)], false) => u64::from(*offset as u32),
        ([ConstOp::I64Const(offset)], true) => *offset as u64,
        _ => return None,
    };
    (offset.checked_add(len as u64)? <= size).then_some(offset)
}

/// The pages that the parts touch; `None` if there are none, or too many for so little.
fn image_range(parts: &[Part<'_>]) -> Option<Range<usize>> {
    let page = page_size();
    let start = parts.iter().map(|(offset, _)| *offset).min()?;
    let end = parts.iter().map(|(offset, bytes)| offset + bytes.len()).max()?;
    // A page of wasm is a multiple of the system's: rounding does not leave the memory.
    let range = start - start % page..end.checked_next_multiple_of(page)?;
    let bytes = parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let most = bytes.saturating_mul(SPARSE_FACTOR).saturating_add(SPARSE_ALLOWANCE);
    (range.len() <= most).then_some(range)
}

/// Writes the parts, which all lie in `range`, to a file that nobody can change afterwards.
fn sealed_file(parts: &[Part<'_>], range: &Range<usize>) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: system calls: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"stillframe-image".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: system calls: the descriptor was just made, and nobody else has it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(range.len() as u64)?;
    for (offset, bytes) in parts {
        file.write_all_at(bytes, (offset - range.start) as u64)?;
    }
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: system calls: adds seals to a file of ours; touches no memory.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::memory::LinearMemory;
    use std::sync::Arc;
    use stillframe_abi::module::{DataSegment, ElemItems, ElemSegment};
    use stillframe_abi::types::{MemoryType, TableType, ValType};

    /// A module under construction, with the data that goes with it.
    #[derive(Default)]
    struct Sketch {
        info: ModuleInfo,
        data: Vec<u8>,
    }

    impl Sketch {
        fn new(memories: &[MemoryType], imported: usize) -> Sketch {
            let mut sketch = Sketch::default();
            sketch.info.memories = memories.to_vec();
            sketch.info.num_imported_memories = imported;
            sketch
        }

        fn segment(mut self, target: u32, offset: ConstOp, bytes: &[u8]) -> Sketch {
            let start = self.data.len() as u32;
            self.data.extend_from_slice(bytes);
            let offset = ConstExpr { ops: vec![offset] };
            let mode = SegmentMode::Active { target, offset };
            self.info.data.push(DataSegment { mode, bytes: start..self.data.len() as u32 });
            self
        }

        fn at(self, target: u32, offset: u32, bytes: &[u8]) -> Sketch {
            self.segment(target, ConstOp::I32Const(offset as i32), bytes)
        }

        fn elems(mut self, offset: ConstOp, count: usize) -> Sketch {
            self.info.tables = vec![TableType::new(ValType::FuncRef, 10, None)];
            self.info.elems.push(ElemSegment {
                mode: SegmentMode::Active { target: 0, offset: ConstExpr { ops: vec![offset] } },
                ty: ValType::FuncRef,
                items: ElemItems::Funcs(vec![0; count]),
            });
            self
        }

        fn image(&self, memory: u32) -> Option<Arc<MemoryImage>> {
            MemoryImage::for_memory(&self.info, &self.data, memory).map(Arc::new)
        }
    }

    /// The image of these segments in a 32-bit memory of `pages` pages.
    pub(crate) fn image_of(segments: &[(u32, &[u8])], pages: u32) -> Arc<MemoryImage> {
        let sketch = Sketch::new(&[MemoryType::new(pages, None)], 0);
        let add = |sketch: Sketch, (offset, bytes): &(u32, &[u8])| sketch.at(0, *offset, bytes);
        segments.iter().fold(sketch, add).image(0).unwrap()
    }

    fn bytes(memory: &mut LinearMemory) -> &mut [u8] {
        // SAFETY: accessible by contract, and borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
    }

    #[test]
    fn a_memory_starts_with_its_segments_and_zeros_around_them() {
        let image = image_of(&[(5000, b"hello"), (70_000, b"world"), (5004, b"O!")], 2);
        assert_eq!(image.range(), 4096..73_728);
        let mut memory = LinearMemory::new(&MemoryType::new(2, None), Some(&image)).unwrap();
        memory.grow(1).unwrap();
        let mut expected = vec![0; 3 * 65536];
        expected[5000..5006].copy_from_slice(b"hellO!");
        expected[70_000..70_005].copy_from_slice(b"world");
        assert!(bytes(&mut memory) == expected);
    }

    #[test]
    fn memories_from_one_image_do_not_see_each_others_writes() {
        let image = image_of(&[(0, b"start"), (65535, b"e")], 1);
        let ty = MemoryType::new(1, None);
        let mut first = LinearMemory::new(&ty, Some(&image)).unwrap();
        let mut second = LinearMemory::new(&ty, Some(&image)).unwrap();
        bytes(&mut first).fill(1);
        assert_eq!(bytes(&mut second)[..6], *b"start\0");
        bytes(&mut second)[..5].fill(2);
        assert!(bytes(&mut first).iter().all(|byte| *byte == 1));
        let mut third = LinearMemory::new(&ty, Some(&image)).unwrap();
        drop(image);
        assert_eq!(bytes(&mut third)[..6], *b"start\0");
        assert_eq!(bytes(&mut third)[65534..], *b"\0e");
    }

    #[test]
    fn a_64_bit_memory_keeps_its_image_when_it_moves() {
        let sketch = Sketch::new(&[MemoryType::new64(1, None)], 0)
            .segment(0, ConstOp::I64Const(65530), b"sixty4")
            .segment(0, ConstOp::I64Const(10), b"ten");
        let image = sketch.image(0).unwrap();
        let mut memory = LinearMemory::new(&sketch.info.memories[0], Some(&image)).unwrap();
        let base = memory.base();
        // Over the first reservation of 4 GiB.
        assert_eq!(memory.grow(1 << 16), Some(1));
        assert_ne!(memory.base(), base);
        assert_eq!(bytes(&mut memory)[65530..65537], *b"sixty4\0");
        assert_eq!(bytes(&mut memory)[9..14], *b"\0ten\0");
    }

    #[test]
    fn an_image_that_does_not_fit_is_an_error() {
        let image = image_of(&[(70_000, b"beyond")], 2);
        let error = LinearMemory::new(&MemoryType::new(1, None), Some(&image)).unwrap_err();
        assert!(error.to_string().contains("for a memory of 65536 bytes"), "{error}");
    }

    #[test]
    fn the_contents_cannot_be_changed_through_the_file() {
        let image = image_of(&[(0, b"fixed")], 1);
        assert!(image.file().write_all_at(b"x", 0).is_err());
        assert!(image.file().set_len(0).is_err());
        assert!(image.file().set_len(1 << 20).is_err());
    }

    #[test]
    fn without_data_there_is_no_image() {
        let one = || Sketch::new(&[MemoryType::new(1, None)], 0);
        assert!(one().image(0).is_none());
        assert!(one().at(0, 8, b"").image(0).is_none());
        let mut passive = one().at(0, 8, b"bytes");
        passive.info.data[0].mode = SegmentMode::Passive;
        assert!(passive.image(0).is_none());
        assert!(one().at(0, 8, b"bytes").image(1).is_none());
    }

    #[test]
    fn segments_that_might_not_fit_prevent_the_image() {
        let one = || Sketch::new(&[MemoryType::new(1, None)], 0).at(0, 0, b"good");
        assert!(one().at(0, 65533, b"end").image(0).is_some());
        assert!(one().at(0, 65536, b"").image(0).is_some());
        assert!(one().at(0, 65534, b"end").image(0).is_none());
        assert!(one().at(0, 65537, b"").image(0).is_none());
        assert!(one().at(0, u32::MAX, b"end").image(0).is_none());
        assert!(one().segment(0, ConstOp::GlobalGet(0), b"x").image(0).is_none());
        assert!(one().segment(0, ConstOp::I64Const(0), b"x").image(0).is_none());
        let wide = || Sketch::new(&[MemoryType::new64(1 << 48, None)], 0);
        assert!(wide().segment(0, ConstOp::I64Const(-1), b"xy").image(0).is_none());
        assert!(wide().segment(0, ConstOp::I64Const(-2), b"x").image(0).is_none());
        let mut damaged = one();
        damaged.info.data[0].bytes.end += 1;
        assert!(damaged.image(0).is_none());
    }

    #[test]
    fn nothing_is_in_the_image_that_would_come_after_a_failure() {
        let two = || Sketch::new(&[MemoryType::new(1, None), MemoryType::new(1, None)], 1);
        let fails = 65536;
        // An imported memory has no image, and does not stand in the way while its segments fit.
        let fine = two().at(0, 0, b"import").at(1, 0, b"own");
        assert!(fine.image(0).is_none());
        assert!(fine.image(1).is_some());
        // A failure between or before this memory's segments can be seen, one after them cannot.
        assert!(two().at(0, fails, b"x").at(1, 0, b"own").image(1).is_none());
        assert!(two().at(1, 0, b"own").at(0, fails, b"x").at(1, 9, b"own").image(1).is_none());
        assert!(two().at(1, 0, b"own").at(0, fails, b"x").image(1).is_some());
        // Element segments are applied before all data.
        let with = |offset, count| two().at(1, 0, b"own").elems(offset, count).image(1);
        assert!(with(ConstOp::I32Const(7), 3).is_some());
        assert!(with(ConstOp::I32Const(7), 4).is_none());
        assert!(with(ConstOp::I32Const(-1), 1).is_none());
        assert!(with(ConstOp::GlobalGet(0), 1).is_none());
    }

    #[test]
    fn images_that_would_be_mostly_gaps_are_not_made() {
        let sketch =
            |last| Sketch::new(&[MemoryType::new(65536, None)], 0).at(0, 0, b"a").at(0, last, b"z");
        assert!(sketch((1 << 20) - 1).image(0).is_some());
        assert!(sketch(2 << 20).image(0).is_none());
        assert!(sketch(u32::MAX).image(0).is_none());
        // What counts is the span, not where it lies.
        let high = Sketch::new(&[MemoryType::new(65536, None)], 0).at(0, u32::MAX, b"z");
        assert_eq!(high.image(0).unwrap().range(), 0xffff_f000..1 << 32);
    }
}
