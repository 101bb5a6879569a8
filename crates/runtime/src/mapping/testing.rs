//! What tests of mappings share: what the system says of them, processes of their own for tests that
//! change what it says, and taking all mappings that there are.

use super::{Mapping, SealedBytes, page_size};
use std::fs::File;
use std::ops::Range;
use std::process::Command;

/// The protections of the pages of `range`, as `/proc/self/maps` writes them, in the order of
/// addresses, equal neighbours as one; `None` for a hole.
pub(crate) fn protections(range: Range<usize>) -> Vec<(Range<usize>, Option<String>)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut found: Vec<(Range<usize>, Option<String>)> = Vec::new();
    let mut add = |part: Range<usize>, protection: Option<String>| match found.last_mut() {
        _ if part.is_empty() => {}
        Some((last, same)) if *same == protection => last.end = part.end,
        _ => found.push((part, protection)),
    };
    let mut at = range.start;
    for line in maps.lines() {
        let (addresses, rest) = line.split_once(' ').unwrap();
        let (start, end) = addresses.split_once('-').unwrap();
        let parse = |text| usize::from_str_radix(text, 16).unwrap();
        let start = parse(start).clamp(range.start, range.end);
        let end = parse(end).clamp(range.start, range.end);
        if start < end {
            add(at..start, None);
            add(start..end, Some(rest[..4].to_string()));
            at = end;
        }
    }
    add(at..range.end, None);
    found
}

/// The number of mappings of this process, and the bytes of address space in them.
pub(crate) fn address_space() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    (maps, pages * page_size())
}

/// For tests that look at or change the state of the whole process: runs test `name` in a
/// process of its own and passes on its failure. False there and then; true in that process,
/// where the test does its work.
pub(crate) fn alone(name: &str) -> bool {
    const MARK: &str = "STILLFRAME_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(MARK, "1")
        // A thread's own arena of the allocator's, which it can get at any time, would be 64 MiB.
        .env("MALLOC_ARENA_MAX", "1")
        // A test that fails while the process can map nothing could not read its symbols, and would hang.
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} failed alone:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Mappings until the system has no more for this process, until it is dropped.
pub(crate) struct NoMappings {
    /// Every other page readable.
    filler: Mapping,
    /// Pages that are readable.
    taken: usize,
    /// Those of their own.
    more: Vec<SealedBytes>,
    file: File,
}

impl NoMappings {
    pub(crate) fn take() -> NoMappings {
        let filler = Mapping::reserve(page_size() << 20).unwrap();
        let (more, file) = (Vec::with_capacity(10), File::open("/proc/self/exe").unwrap());
        let mut all = NoMappings { filler, taken: 0, more, file };
        while all.protect(all.taken, libc::PROT_READ) {
            all.taken += 1;
            assert!(all.taken < 1 << 19, "no limit of mappings");
        }
        all
    }

    /// Those too that only mapping something new can have: now there is one more than the limit,
    /// and the kernel refuses to map anything, whatever it would replace.
    pub(crate) fn take_last(&mut self) {
        while let Ok(page) = SealedBytes::of(&self.file, 1) {
            self.more.push(page);
            assert!(self.more.len() < 10, "no limit of mappings");
        }
    }

    /// Gives back one.
    pub(crate) fn give_back(&mut self) {
        if self.more.pop().is_none() {
            self.taken -= 1;
            assert!(self.protect(self.taken, libc::PROT_NONE), "that gives back two");
            self.more.push(SealedBytes::of(&self.file, 1).unwrap());
        }
    }

    fn protect(&self, which: usize, protection: libc::c_int) -> bool {
        let page = page_size();
        // The first page is one: what is mapped below is not one with the filler.
        // SAFETY: a page of the filler, which nobody uses.
        unsafe { libc::mprotect(self.filler.at(2 * which * page).cast(), page, protection) == 0 }
    }
}
