//! What the system says of this process, and what it can be made to refuse. Tests that ask and do so
//! have processes of their own.

use std::panic::catch_unwind;
use std::sync::Barrier;
use stillframe_tests::child;

/// What the system says of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    pub mappings: usize,
    pub files: usize,
    pub threads: usize,
    /// Bytes.
    pub mapped: usize,
    pub resident: usize,
}

impl Usage {
    pub fn now() -> Usage {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let statm: Vec<usize> = read("/proc/self/statm")
            .split_whitespace()
            .map(|pages| pages.parse::<usize>().unwrap() * 4096)
            .collect();
        let entries = |path: &str| std::fs::read_dir(path).unwrap().count();
        Usage {
            mappings: read("/proc/self/maps").lines().count(),
            files: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            mapped: statm[0],
            resident: statm[1],
        }
    }

    /// That not more is used than `before`, but for what the allocator may keep.
    #[track_caller]
    pub fn assert_as(&self, before: &Usage) {
        let both = format!("{before:?}, now {self:?}");
        assert!(self.mappings <= before.mappings + 4, "{both}");
        assert_eq!((self.files, self.threads), (before.files, before.threads), "{both}");
        assert!(self.mapped <= before.mapped + (8 << 20), "{both}");
        assert!(self.resident <= before.resident + (2 << 20), "{both}");
    }
}

/// Sets a limit of this process until it is dropped.
pub struct Limit {
    resource: libc::__rlimit_resource_t,
    before: libc::rlimit,
}

impl Limit {
    pub fn set(resource: libc::__rlimit_resource_t, to: usize) -> Limit {
        // SAFETY: valid limits, of a process that the test has for itself.
        unsafe {
            let mut before: libc::rlimit = std::mem::zeroed();
            assert_eq!(libc::getrlimit(resource, &mut before), 0);
            let now = libc::rlimit { rlim_cur: to as u64, rlim_max: before.rlim_max };
            assert_eq!(libc::setrlimit(resource, &now), 0);
            Limit { resource, before }
        }
    }

    /// No more address space than there is in use, and `room`.
    pub fn address_space(room: usize) -> Limit {
        Limit::set(libc::RLIMIT_AS, Usage::now().mapped + room)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::setrlimit(self.resource, &self.before) };
    }
}

const PAGE: usize = 4096;

/// Takes all mappings that the system lets this process have, until it is dropped. While it is there
/// a test must not allocate much: the allocator could not map it.
pub struct NoMappings {
    base: *mut libc::c_void,
    len: usize,
    /// Pages with a mapping of their own, every other from the start.
    taken: usize,
}

impl NoMappings {
    pub fn take() -> NoMappings {
        let len = PAGE << 20;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let mut all = NoMappings { base, len, taken: 0 };
        all.take_more();
        all
    }

    /// Takes those that have become free.
    pub fn take_more(&mut self) {
        while self.protect(self.taken, libc::PROT_READ) {
            self.taken += 1;
            assert!(self.taken < 1 << 18, "no limit of mappings");
        }
    }

    /// Gives back so many.
    pub fn give_back(&mut self, mappings: usize) {
        for _ in 0..mappings.div_ceil(2) {
            self.taken -= 1;
            assert!(self.protect(self.taken, libc::PROT_NONE));
        }
    }

    fn protect(&self, which: usize, protection: libc::c_int) -> bool {
        let at = self.base.wrapping_byte_add((2 * which + 1) * PAGE);
        // SAFETY: a page of our own mapping.
        unsafe { libc::mprotect(at, PAGE, protection) == 0 }
    }
}

impl Drop for NoMappings {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.base, self.len) };
    }
}

#[test]
fn threads_that_allocate_at_once_take_no_address_space_of_their_own() {
    if !child::alone(
        "resources::system::threads_that_allocate_at_once_take_no_address_space_of_their_own",
    ) {
        return;
    }
    let before = Usage::now().mapped;
    let barrier = Barrier::new(9);
    let during = std::thread::scope(|scope| {
        for _ in 0..8 {
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            let allocate = || {
                barrier.wait();
                (0..1000).for_each(|round| drop(std::hint::black_box(vec![1_u8; round])));
                barrier.wait();
                barrier.wait();
            };
            thread.spawn_scoped(scope, allocate).unwrap();
        }
        barrier.wait();
        barrier.wait();
        let during = Usage::now().mapped;
        barrier.wait();
        during
    });
    // Their stacks.
    assert!(during <= before + (8 << 20), "{before}, {during}");
}

#[test]
fn what_is_left_is_seen_whatever_it_is() {
    if !child::alone("resources::system::what_is_left_is_seen_whatever_it_is") {
        return;
    }
    let before = Usage::now();
    let seen = || catch_unwind(|| Usage::now().assert_as(&before)).is_err();
    assert!(!seen());
    // SAFETY: fresh mappings and their pages.
    let map = |len: usize| unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        at
    };
    // SAFETY: a mapping of ours, as long as that.
    let unmap = |at, len| assert_eq!(unsafe { libc::munmap(at, len) }, 0);

    let few = map(16 * PAGE);
    for page in [1, 3, 5, 7] {
        // SAFETY: a page of this mapping.
        unsafe { libc::mprotect(few.byte_add(page * PAGE), PAGE, libc::PROT_NONE) };
    }
    assert!(seen(), "mappings");
    unmap(few, 16 * PAGE);
    assert!(!seen());

    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(seen(), "a file");
    drop(file);
    assert!(!seen());

    let large = map(9 << 20);
    assert!(seen(), "address space");
    unmap(large, 9 << 20);
    assert!(!seen());

    let touched = map(4 << 20);
    assert!(!seen());
    // SAFETY: as long as that.
    unsafe { touched.cast::<u8>().write_bytes(1, 4 << 20) };
    assert!(seen(), "memory");
    unmap(touched, 4 << 20);
    assert!(!seen());

    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || ended.recv());
    assert!(seen(), "a thread");
    drop(end);
    thread.join().unwrap().unwrap_err();
}
