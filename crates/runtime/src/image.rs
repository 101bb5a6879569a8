//! Initial contents of memories as copy-on-write files.
//!
//! If a memory's active data segments all lie at constant offsets inside its first size, their
//! bytes are written once into a file in memory (memfd), and every instance maps it privately:
//! instantiating copies nothing, and pages that are not written are shared.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use stillframe_abi::module::{ConstExpr, ConstOp, ModuleInfo, SegmentMode};
use stillframe_abi::types::WASM_PAGE_SIZE;

/// The first contents of a memory.
#[derive(Debug)]
pub struct MemoryImage {
    file: File,
    /// The part of the memory that the file's bytes stand for; whole pages of the system.
    range: Range<usize>,
}

/// An image may be larger than its data by this factor, for the gaps between segments…
const MAX_SPREAD: usize = 4;
/// …and by this many bytes.
const MAX_GAP: usize = 1 << 20;

impl MemoryImage {
    /// The image of defined or imported memory `memory`; `None` if there is no data, if a segment
    /// might not fit, or if the system has no such files. Then segments are applied one by one.
    ///
    /// Segments are applied in order, and those before one that traps stay applied. A segment of
    /// an image cannot trap, so applying it earlier than in order is seen by nobody.
    pub fn for_memory(info: &ModuleInfo, data: &[u8], memory: u32) -> Option<MemoryImage> {
        let size = info.memories[memory as usize].minimum().checked_mul(WASM_PAGE_SIZE)?;
        let mut segments = Vec::new();
        let mut bytes_of_data = 0;
        for segment in &info.data {
            let SegmentMode::Active { target, offset } = &segment.mode else { continue };
            if *target != memory {
                continue;
            }
            let offset = constant(offset)?;
            let bytes = &data[segment.bytes.start as usize..segment.bytes.end as usize];
            if offset.checked_add(bytes.len() as u64)? > size {
                return None;
            }
            bytes_of_data += bytes.len();
            segments.push((offset as usize, bytes));
        }
        let start = segments.iter().filter(|(_, b)| !b.is_empty()).map(|(at, _)| *at).min()?;
        let end = segments.iter().map(|(at, bytes)| at + bytes.len()).max()?;
        let page = crate::stack::page_size();
        let range = start / page * page..end.next_multiple_of(page);
        if range.len() > bytes_of_data.saturating_mul(MAX_SPREAD).saturating_add(MAX_GAP) {
            return None;
        }
        let mut file = memfd()?;
        file.set_len(range.len() as u64).ok()?;
        for (at, bytes) in segments.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            file.seek(SeekFrom::Start((at - range.start) as u64)).ok()?;
            file.write_all(bytes).ok()?;
        }
        Some(MemoryImage { file, range })
    }

    /// The bytes of the memory that the image covers.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The file to map over them.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The value of an offset that is a single constant.
fn constant(offset: &ConstExpr) -> Option<u64> {
    match offset.ops[..] {
        [ConstOp::I32Const(value)] => Some(u64::from(value as u32)),
        [ConstOp::I64Const(value)] => Some(value as u64),
        _ => None,
    }
}

fn memfd() -> Option<File> {
    // SAFETY: the name is a C string; the descriptor is new and owned by the file from here on.
    unsafe {
        let fd = libc::memfd_create(c"stillframe-image".as_ptr(), libc::MFD_CLOEXEC);
        (fd >= 0).then(|| File::from_raw_fd(fd))
    }
}
