//! Which pages of this process hold something: what `/proc/self/pagemap` says.
//!
//! A private page that is neither present nor swapped out has not been touched since it was mapped:
//! it holds what its mapping says, zeros or a file's contents. (Being in memory, which `mincore`
//! tells, is something else: a page that is swapped out is not, and has been written to.)
//!
//! Asking takes some two microseconds for a megabyte, one system call and no fault.

use crate::mapping::page_size;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most pages that are asked about at once.
pub(crate) const PAGES_MAX: usize = 1024;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// A page of a file, as the file has it.
const OF_FILE: u64 = 1 << 61;

/// The file, opened once.
struct Source {
    file: File,
    /// In a page that is zeros in a child process: there the file would speak of its parent.
    ours: NonNull<AtomicU64>,
}

// SAFETY: own mapping: the page is never unmapped, and the number in it is an atomic.
unsafe impl Send for Source {}
// SAFETY: own mapping: as above.
unsafe impl Sync for Source {}

impl Source {
    fn open() -> Option<Source> {
        let file = File::open("/proc/self/pagemap").ok()?;
        // One page for the mark, and one that is never touched.
        let len = 2 * page_size();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: own mapping: a fresh mapping at an address of the system's choice, which is kept
        // for ever if it is of use.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: own mapping: the pages that were just made, which nobody knows.
        let wiped = unsafe { libc::madvise(page, len, libc::MADV_WIPEONFORK) } == 0;
        let source = Source { file, ours: NonNull::new(page.cast())? };
        source.ours().store(1, Relaxed);
        if wiped && source.tells_the_truth() {
            return Some(source);
        }
        // SAFETY: own mapping: as above; the source is given up.
        unsafe { libc::munmap(page, len) };
        None
    }

    /// Whether it tells the mark's page from the one behind it. Under an emulator of this system the
    /// file can be that of the emulator, whose addresses are others.
    fn tells_the_truth(&self) -> bool {
        let mut entries = [0; 2];
        self.read(self.ours.as_ptr() as usize, &mut entries).is_some()
            && entries.map(touched) == [true, false]
    }

    /// Reads the entries of the pages from `start` on.
    fn read(&self, start: usize, entries: &mut [u64]) -> Option<()> {
        // SAFETY: layout: any bytes are numbers, and numbers are bytes.
        let bytes = unsafe { entries.align_to_mut::<u8>().1 };
        self.file.read_exact_at(bytes, (start / page_size()) as u64 * 8).ok()
    }

    fn ours(&self) -> &AtomicU64 {
        // SAFETY: own mapping: zeros are an atomic number; the page lives as long as the process.
        unsafe { self.ours.as_ref() }
    }

    /// The source; `None` if there is none that speaks of this process.
    fn get() -> Option<&'static Source> {
        static SOURCE: OnceLock<Option<Source>> = OnceLock::new();
        SOURCE.get_or_init(Source::open).as_ref().filter(|source| source.ours().load(Relaxed) == 1)
    }
}

/// Whether a page may hold something else than when it was mapped.
fn touched(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0
}

/// What is known of the pages of a range of private memory.
pub(crate) struct Pages<'a>(&'a [u64]);

impl Pages<'_> {
    /// Asks about the pages of `range`, which are whole ones; `space` is for the answer. `None` if
    /// there are too many or the system does not say.
    pub(crate) fn of(range: Range<usize>, space: &mut [u64; PAGES_MAX]) -> Option<Pages<'_>> {
        let source = Source::get()?;
        let entries = space.get_mut(..range.len() / page_size())?;
        source.read(range.start, entries)?;
        Some(Pages(entries))
    }

    /// The offsets of the pages that may hold something else than when they were mapped.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = usize> {
        let entries = self.0.iter().enumerate();
        let touched = entries.filter(|(_, entry)| touched(**entry));
        touched.map(|(at, _)| at * page_size())
    }

    /// The number of pages that are memory of their own, not a file's.
    pub(crate) fn own(&self) -> usize {
        let own = |entry: &&u64| touched(**entry) && **entry & OF_FILE == 0;
        self.0.iter().filter(own).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::image_of;
    use crate::mapping::testing::alone;
    use crate::memory::LinearMemory;
    use stillframe_abi::types::MemoryType;

    #[test]
    fn pages_that_were_written_to_are_told_from_others() {
        let page = page_size();
        let image = image_of(&[(0, &[1; 5 << 12])], 2);
        let memory = LinearMemory::new(&MemoryType::new(2, None), Some(&image)).unwrap();
        let base = memory.base() as usize;
        let pages = || {
            let mut space = [0; PAGES_MAX];
            let pages = Pages::of(base..base + 20 * page, &mut space);
            let pages = pages.expect("Linux has a pagemap");
            (pages.offsets().collect::<Vec<_>>(), pages.own())
        };
        assert_eq!(pages(), (vec![], 0));
        for at in [1, 7, 19] {
            // SAFETY: inside of the memory, which nobody else has.
            unsafe { memory.base().add(at * page).write_volatile(7) };
        }
        let (touched, own) = pages();
        // The system may have mapped more of the file than was asked for.
        let written: Vec<usize> = touched.iter().copied().filter(|at| *at >= 5 * page).collect();
        assert_eq!((written, own), (vec![7 * page, 19 * page], 3));
        assert!(touched.contains(&page));
        // SAFETY: as above.
        assert_eq!(unsafe { memory.base().add(3 * page).read_volatile() }, 1);
        let (touched, own) = pages();
        assert!(touched.contains(&(3 * page)));
        assert_eq!(own, 3, "what was read only is the file's");
    }

    #[test]
    fn nothing_is_said_of_too_many_pages() {
        assert!(is_told(PAGES_MAX));
        assert!(!is_told(PAGES_MAX + 1));
    }

    fn is_told(pages: usize) -> bool {
        let page = page_size();
        Pages::of(page..page * (pages + 1), &mut [0; PAGES_MAX]).is_some()
    }

    #[test]
    fn a_source_that_does_not_tell_the_truth_is_not_asked() {
        let mut source = Source::open().expect("Linux has a pagemap");
        assert!(source.tells_the_truth());
        // As an emulator's would be: of addresses where nothing is, or of others.
        source.file = File::open("/dev/zero").unwrap();
        assert!(!source.tells_the_truth());
        source.file = File::open("/proc/self/maps").unwrap();
        assert!(!source.tells_the_truth());
    }

    #[test]
    fn a_child_process_is_not_told_of_its_parent() {
        if !alone("pagemap::tests::a_child_process_is_not_told_of_its_parent") {
            return;
        }
        assert!(is_told(1));
        // SAFETY: the child does nothing but ask, which takes no lock, and end.
        match unsafe { libc::fork() } {
            0 => {
                let told = is_told(1);
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(told)) }
            }
            child => {
                assert!(child > 0);
                let mut status = -1;
                // SAFETY: waits for the child; the status is a place for its status.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
        assert!(is_told(1));
    }
}
