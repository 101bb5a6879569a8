//! What the system says of this process, what it can be made to refuse, and processes of their own for
//! tests that ask and do so.

use std::process::Command;

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

/// Whether this process is the child that shall run the test with this path. If not, runs that.
pub fn alone(name: &str) -> bool {
    const CHILD: &str = "STILLFRAME_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    // Traces of the host would be in its errors.
    let output = command.env_remove("RUST_BACKTRACE").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "{}\n{stdout}\n{stderr}", output.status);
    false
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
