//! What a profiler's files need of the system: a mark that `perf` sees, its clock, thread ids.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// A page of a file, mapped executable and never touched.
///
/// `perf record` notes executable mappings, and so learns the name of a file that `perf inject`
/// is to read.
#[derive(Debug)]
pub struct PerfMarker {
    page: NonNull<libc::c_void>,
}

/// The least there is; the system maps whole pages.
const SIZE: usize = 1;

// SAFETY: own mapping: the mapping is this value's own, and is unmapped from whatever thread.
unsafe impl Send for PerfMarker {}
// SAFETY: own mapping: a shared reference gives nothing.
unsafe impl Sync for PerfMarker {}

impl PerfMarker {
    /// Marks the file, which must be open for reading.
    ///
    /// # Errors
    ///
    /// If the system refuses: on a file system mounted `noexec` it does.
    pub fn new(file: &File) -> io::Result<PerfMarker> {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let (flags, fd) = (libc::MAP_PRIVATE, file.as_raw_fd());
        // SAFETY: own mapping: a fresh mapping at an address of the system's choice, which nobody
        // reads.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, flags, fd, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(PerfMarker { page: NonNull::new(page).expect("mmap never chooses page 0") })
    }
}

impl Drop for PerfMarker {
    fn drop(&mut self) {
        // SAFETY: own mapping: the mapping made in `new`, which nobody else knows of.
        unsafe { libc::munmap(self.page.as_ptr(), SIZE) };
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: what `perf record -k mono` stamps its samples with.
pub fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: system calls: `now` is a valid place for the result.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) } != 0;
    assert!(!failed, "every Linux has CLOCK_MONOTONIC");
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The calling thread's id, as the system counts.
pub fn thread_id() -> u32 {
    // SAFETY: system calls: takes nothing and always succeeds.
    unsafe { libc::gettid() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_an_executable_mapping_of_the_file_while_it_lives() {
        let path = std::env::temp_dir().join(format!("stillframe-mark-{}", std::process::id()));
        let file = File::create_new(&path).and_then(|_| File::open(&path)).unwrap();
        let mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let of_file = |line: &&str| line.ends_with(path.to_str().unwrap());
            let lines: Vec<_> = maps.lines().filter(of_file).map(String::from).collect();
            lines
        };
        let marker = PerfMarker::new(&file).unwrap();
        assert!(matches!(&mapped()[..], [line] if line.contains(" r-xp 00000000 ")));
        drop(marker);
        assert_eq!(mapped(), [""; 0]);
        std::fs::remove_file(&path).unwrap();
        let unreadable = File::options().write(true).create(true).truncate(true).open(&path);
        PerfMarker::new(&unreadable.unwrap()).unwrap_err();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_clock_goes_forward_and_threads_have_ids_of_their_own() {
        let start = monotonic_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let passed = monotonic_nanos() - start;
        assert!((2_000_000..60_000_000_000).contains(&passed), "{passed}");
        let other = std::thread::spawn(thread_id).join().unwrap();
        assert_ne!(other, thread_id());
    }
}
