//! A mapping: a range of address space that one value owns.
//!
//! ```text
//!   base                                               base + len
//!   ├───────────────────────────┬──────────────────────┤
//!   │ opened: read and write    │ reserved:            │
//!   │ (zeros, or a file's copy) │ every access faults  │
//!   └───────────────────────────┴──────────────────────┘
//! ```
//!
//! It is reserved as a whole, opened in part and by and by, and unmapped as a whole on drop.
//! Reserved address space costs no memory, and opened pages cost none until they are touched:
//! `MAP_NORESERVE` keeps the system from counting them before.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// An owned range of address space, page-aligned.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// Where the last page ends that was ever opened.
    opened: usize,
}

// SAFETY: own mapping: the mapping belongs to this value alone, and nothing in it is tied to a
// thread.
unsafe impl Send for Mapping {}
// SAFETY: own mapping: a shared reference gives the address and the length only, and neither
// changes.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes of address space, rounded up to pages, all of it inaccessible.
    pub(crate) fn reserve(len: usize) -> io::Result<Mapping> {
        let too_large = || io::Error::from_raw_os_error(libc::ENOMEM);
        let len = len.checked_next_multiple_of(page_size()).ok_or_else(too_large)?;
        let (mut flags, mut protection) =
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, libc::PROT_NONE);
        if cfg!(miri) {
            // It knows no other kind.
            (flags, protection) =
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        }
        // SAFETY: own mapping: without `MAP_FIXED` the system chooses addresses that nobody uses.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap without MAP_FIXED never gives page 0");
        Ok(Mapping { base, len, opened: 0 })
    }

    /// The address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes reserved, opened ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes up to the end of the last page that was ever opened. Where the system counts pages that
    /// can be written to before they are, it goes on counting them when they are closed.
    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    /// Makes pages readable and writable that are not; those never opened before hold zeros. If the
    /// system refuses, all of them are as they were.
    ///
    /// # Panics
    ///
    /// If `range` is not of whole pages inside of the mapping.
    pub(crate) fn open(&mut self, range: Range<usize>) -> io::Result<()> {
        self.check(&range);
        if range.is_empty() || cfg!(miri) {
            return Ok(());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: own mapping: `check` found the pages to be this mapping's own, and `&mut self`
        // says that nobody else counts on their protection.
        let failed =
            unsafe { libc::mprotect(self.at(range.start).cast(), range.len(), protection) } != 0;
        if !failed {
            self.opened = self.opened.max(range.end);
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // The kernel goes from mapping to mapping, and if pages of several are opened, it can have
        // done the first when it fails at the second. Taking that back asks for nothing new.
        // SAFETY: own mapping: as above.
        unsafe { libc::mprotect(self.at(range.start).cast(), range.len(), libc::PROT_NONE) };
        Err(error)
    }

    /// Opens pages with the contents of `file`, from its start on; what is written to them stays
    /// here and never gets to the file. The file must be sealed against change and at least as
    /// long as the range.
    ///
    /// # Panics
    ///
    /// If `range` is not of whole pages inside of the mapping.
    pub(crate) fn overlay(self, range: Range<usize>, file: &File) -> io::Result<Mapping> {
        self.check(&range);
        if range.is_empty() {
            return Ok(self);
        }
        // Where the kernel is out of mappings it refuses this, and all pages are still there and this
        // mapping's own. Behind it they are mappings of their own, and the next call needs no more.
        // SAFETY: own mapping: `check` found the pages to be this mapping's own, and `self` was
        // given away for this.
        let closed =
            unsafe { libc::mprotect(self.at(range.start).cast(), range.len(), libc::PROT_NONE) };
        if closed != 0 {
            return Err(io::Error::last_os_error());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (at, fd) = (self.at(range.start), file.as_raw_fd());
        // SAFETY: own mapping: `check` found the pages that this replaces to be this mapping's own;
        // nothing points into them, since `self` was given away for this.
        let mapped = unsafe { libc::mmap(at.cast(), range.len(), protection, flags, fd, 0) };
        if mapped != libc::MAP_FAILED {
            return Ok(self);
        }
        let error = io::Error::last_os_error();
        // Some kernels take the old pages away before they fail. Then another thread may have
        // mapped something there by now: the range is no longer ours to unmap. If they do not, it is
        // lost. For want of mappings that can only be if other threads have taken the last ones
        // since the call above, and what is lost is addresses: no memory.
        let lost = ManuallyDrop::new(self);
        // SAFETY: own mapping: the two parts of this mapping that the failed call did not touch,
        // and `lost` is not dropped.
        unsafe {
            unmap(lost.base(), range.start);
            unmap(lost.at(range.end), lost.len - range.end);
        }
        Err(error)
    }

    /// Makes pages inaccessible and gives their memory back; those that were never a file's hold
    /// zeros when they are opened again. If the system refuses, all pages are still this mapping's.
    ///
    /// # Panics
    ///
    /// If `range` is not of whole pages inside of the mapping.
    pub(crate) fn close(&mut self, range: Range<usize>) -> io::Result<()> {
        self.forget(range.clone())?;
        if range.is_empty() || cfg!(miri) {
            return Ok(());
        }
        // Not by mapping fresh pages over them: of that the system does not say, when it fails,
        // whether the old ones are still there.
        // SAFETY: own mapping: `check`, in `forget`, found the pages to be this mapping's own, and
        // `&mut self` says that nobody else counts on their protection.
        let failed =
            unsafe { libc::mprotect(self.at(range.start).cast(), range.len(), libc::PROT_NONE) };
        if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Gives the memory of pages back to the system: they hold again what they held when they were
    /// opened, zeros or a file's contents, and cost nothing until they are touched.
    ///
    /// # Panics
    ///
    /// If `range` is not of whole pages inside of the mapping.
    pub(crate) fn forget(&mut self, range: Range<usize>) -> io::Result<()> {
        self.check(&range);
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: own mapping: `check` found the pages to be this mapping's own, and `&mut self`
        // says that nobody counts on their contents.
        let failed = unsafe {
            libc::madvise(self.at(range.start).cast(), range.len(), libc::MADV_DONTNEED) != 0
        };
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn check(&self, range: &Range<usize>) {
        let page = page_size();
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} is not in a mapping of {} bytes",
            self.len
        );
        assert!(
            range.start.is_multiple_of(page) && range.end.is_multiple_of(page),
            "{range:?} is not of whole pages"
        );
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: own mapping: the whole of it, which nobody else owns.
        unsafe { unmap(self.base.as_ptr(), self.len) };
    }
}

/// Ranges that the system did not unmap: address and length.
static LEFT: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
/// How many there are.
static LEFT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Unmaps pages.
///
/// The system can refuse where the kernel has merged them with their neighbours and is out of
/// mappings to split them off again. Then their memory is given back, and their addresses are, as
/// soon as something else could be unmapped.
///
/// # Safety
///
/// The pages are the caller's own, and nobody uses them any more.
pub(crate) unsafe fn unmap(base: *mut u8, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller's.
    if unsafe { libc::munmap(base.cast(), len) } == 0 {
        if LEFT_COUNT.load(Relaxed) > 0 {
            unmap_left();
        }
        return;
    }
    // SAFETY: the caller's.
    unsafe { libc::madvise(base.cast(), len, libc::MADV_DONTNEED) };
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.push((base as usize, len));
    LEFT_COUNT.store(left.len(), Relaxed);
}

/// Unmaps what could not be unmapped before, as far as that can be done now.
#[cold]
fn unmap_left() {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((base, len)) = left.pop() {
        // SAFETY: own mapping: these pages were given to `unmap`, and are nobody's since.
        if unsafe { libc::munmap(base as *mut libc::c_void, len) } != 0 {
            left.push((base, len));
            break;
        }
    }
    LEFT_COUNT.store(left.len(), Relaxed);
}

/// The bytes of a file that nobody can change, to be read where the file is: no copy of it.
#[derive(Debug)]
pub(crate) struct SealedBytes {
    mapping: Mapping,
    len: usize,
}

impl SealedBytes {
    /// The first `len` bytes of a file, which must be sealed against change and at least as long.
    pub(crate) fn of(file: &File, len: usize) -> io::Result<SealedBytes> {
        let (flags, fd) = (libc::MAP_PRIVATE | libc::MAP_NORESERVE, file.as_raw_fd());
        // SAFETY: own mapping: without `MAP_FIXED` the system chooses addresses that nobody uses.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap without MAP_FIXED never gives page 0");
        let mapping = Mapping { base, len: len.next_multiple_of(page_size()), opened: 0 };
        Ok(SealedBytes { mapping, len })
    }

    pub(crate) fn get(&self) -> &[u8] {
        // SAFETY: sealed file: mapped for reading, and nobody writes: the file is sealed, and the
        // mapping, which `self` owns, is not written to.
        unsafe { std::slice::from_raw_parts(self.mapping.base(), self.len) }
    }
}

/// Address space in which mappings can be made to see whether the system lets this process have more.
/// Reserved beforehand: when the system refuses a new one, it does not say whether address space is
/// lacking or mappings.
pub(crate) struct Probe(Mapping);

impl Probe {
    /// One for so many mappings.
    pub(crate) fn new(count: usize) -> io::Result<Probe> {
        // Each page that is made readable makes two more: itself, and what is behind it.
        Mapping::reserve((count + 1).next_multiple_of(2) * page_size()).map(Probe)
    }

    /// Whether the system lets this process have as many more. They may be gone again when it returns.
    pub(crate) fn succeeds(&mut self) -> bool {
        let page = page_size();
        let pages = self.0.len() / page;
        let protect = |at: usize, pages: usize, protection: libc::c_int| {
            // SAFETY: own mapping: pages of it, which nobody reads or writes.
            unsafe { libc::mprotect(self.0.at(at * page).cast(), pages * page, protection) == 0 }
        };
        let has = (1..pages - 1).step_by(2).all(|at| protect(at, 1, libc::PROT_READ));
        // That takes mappings away only.
        protect(0, pages, libc::PROT_NONE);
        has
    }
}

/// Bytes of a page of the operating system.
pub(crate) fn page_size() -> usize {
    region::page::size()
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn opened_pages_are_zero_and_the_others_inaccessible() {
        let page = page_size();
        let mut mapping = Mapping::reserve(16 * page - 1).unwrap();
        assert_eq!(mapping.len(), 16 * page);
        mapping.open(2 * page..5 * page).unwrap();
        mapping.open(7 * page..7 * page).unwrap();
        let base = mapping.base() as usize;
        let at = |n: usize| base + n * page;
        let expected = [
            (at(0)..at(2), Some("---p".to_string())),
            (at(2)..at(5), Some("rw-p".to_string())),
            (at(5)..at(16), Some("---p".to_string())),
        ];
        assert_eq!(testing::protections(at(0)..at(16)), expected);
        // SAFETY: these pages were opened above.
        let opened =
            unsafe { std::slice::from_raw_parts_mut(mapping.base().add(2 * page), 3 * page) };
        assert!(opened.iter().all(|byte| *byte == 0));
        opened.fill(7);
    }

    #[test]
    fn requests_that_cannot_be_met_are_errors() {
        for len in [usize::MAX, 1 << 62, 1 << 47, 0] {
            assert!(Mapping::reserve(len).is_err(), "{len}");
        }
    }

    #[test]
    #[should_panic(expected = "is not in a mapping")]
    fn pages_outside_are_refused() {
        let page = page_size();
        let _ = Mapping::reserve(4 * page).unwrap().open(3 * page..5 * page);
    }

    #[test]
    fn a_failed_overlay_leaves_the_rest_unmapped() {
        if !testing::alone("mapping::tests::a_failed_overlay_leaves_the_rest_unmapped") {
            return;
        }
        let page = page_size();
        let mapping = Mapping::reserve(64 * page).unwrap();
        let base = mapping.base() as usize;
        // A file opened for writing only cannot be mapped.
        let path = std::env::temp_dir().join(format!("stillframe-mapping-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![1; 2 * page]).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = mapping.overlay(4 * page..6 * page, &file).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        for part in [base..base + 4 * page, base + 6 * page..base + 64 * page] {
            assert_eq!(testing::protections(part.clone()), [(part, None)]);
        }
    }

    #[test]
    fn pages_that_cannot_all_be_opened_stay_closed() {
        let page = page_size();
        let mut mapping = Mapping::reserve(4 * page).unwrap();
        let range = mapping.base() as usize..mapping.base() as usize + 4 * page;
        // The third page is one that may not be written to.
        let file = File::open("/proc/self/exe").unwrap();
        let at = mapping.at(2 * page).cast();
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: replaces a page of a mapping that nobody else knows.
        let mapped = unsafe { libc::mmap(at, page, libc::PROT_NONE, flags, file.as_raw_fd(), 0) };
        assert_eq!(mapped, at);
        let error = mapping.open(0..4 * page).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        let closed = testing::protections(range).into_iter().map(|(_, protection)| protection);
        let expected = ["---p", "---s", "---p"].map(|protection| Some(protection.to_string()));
        assert!(closed.eq(expected));
        assert_eq!(mapping.opened(), 0);
        mapping.open(0..2 * page).unwrap();
        mapping.close(page..2 * page).unwrap();
        assert_eq!(mapping.opened(), 2 * page);
    }

    #[test]
    fn what_the_system_does_not_unmap_is_unmapped_later() {
        if !testing::alone("mapping::tests::what_the_system_does_not_unmap_is_unmapped_later") {
            return;
        }
        let page = page_size();
        // The middle of one mapping of the kernel's, so that unmapping it makes one more.
        let whole = ManuallyDrop::new(Mapping::reserve(3 * page).unwrap());
        let base = whole.base() as usize;
        let middle = Mapping { base: NonNull::new(whole.at(page)).unwrap(), len: page, opened: 0 };
        let filler = testing::NoMappings::take();
        drop(middle);
        let left = LEFT_COUNT.load(Relaxed);
        drop(filler);
        assert_eq!((left, LEFT_COUNT.load(Relaxed)), (1, 0));
        let hole = base + page..base + 2 * page;
        assert_eq!(testing::protections(hole.clone()), [(hole, None)]);
    }

    #[test]
    fn what_cannot_be_closed_for_want_of_mappings_is_not_lost() {
        if !testing::alone("mapping::tests::what_cannot_be_closed_for_want_of_mappings_is_not_lost")
        {
            return;
        }
        let page = page_size();
        let mut mapping = Mapping::reserve(9 * page).unwrap();
        mapping.open(0..9 * page).unwrap();
        let range = mapping.base() as usize..mapping.base() as usize + 9 * page;
        let filler = testing::NoMappings::take();
        mapping.close(3 * page..6 * page).unwrap_err();
        drop(mapping);
        drop(filler);
        assert_eq!(testing::protections(range.clone()), [(range, None)]);
    }
}
