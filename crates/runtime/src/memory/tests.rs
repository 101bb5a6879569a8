//! Memories as they grow and move, what the system refuses them, and that nothing of them is left.

use super::*;
use crate::mapping::testing::{NoMappings, address_space, alone, protections};

const PAGE: usize = WASM_PAGE_SIZE as usize;

fn bytes(memory: &mut LinearMemory) -> &mut [u8] {
    // SAFETY: accessible by contract, and borrowed for as long as the slice lives.
    unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
}

fn assert_accessible_is_exactly_the_length(memory: &LinearMemory) {
    let open = memory.base() as usize + memory.byte_len();
    for (range, protection) in protections(memory.reservation()) {
        let expected = if range.start < open { "rw-p" } else { "---p" };
        assert_eq!(protection.as_deref(), Some(expected), "{range:x?}, length ends at {open:x}");
        assert!(range.end <= open || range.start >= open, "{range:x?} straddles {open:x}");
    }
}

#[test]
fn a_32_bit_memory_grows_in_place_with_zeros_and_keeps_its_contents() {
    let mut memory = LinearMemory::new(&MemoryType::new(1, Some(4)), None).unwrap();
    assert_eq!((memory.pages(), memory.byte_len()), (1, PAGE));
    assert_accessible_is_exactly_the_length(&memory);
    assert!(bytes(&mut memory).iter().all(|byte| *byte == 0));
    bytes(&mut memory).fill(0xaa);
    let base = memory.base();
    assert_eq!(memory.grow(2), Some(1));
    assert_eq!((memory.pages(), memory.base()), (3, base));
    assert_accessible_is_exactly_the_length(&memory);
    let (old, new) = bytes(&mut memory).split_at(PAGE);
    assert!(old.iter().all(|byte| *byte == 0xaa));
    assert!(new.iter().all(|byte| *byte == 0));
}

#[test]
fn all_that_generated_code_can_address_in_a_32_bit_memory_is_reserved() {
    let mut memory = LinearMemory::new(&MemoryType::new(0, None), None).unwrap();
    assert!(memory.reservation().len() >= 2 * (u32::MAX as usize) + 16);
    assert_accessible_is_exactly_the_length(&memory);
    assert_eq!(memory.grow(65536), Some(0));
    assert_eq!(memory.byte_len(), 1 << 32);
    assert_accessible_is_exactly_the_length(&memory);
    bytes(&mut memory)[u32::MAX as usize] = 1;
    assert_eq!(memory.grow(1), None);
    assert_eq!(memory.grow(0), Some(65536));
}

#[test]
fn growth_over_the_maximum_changes_nothing() {
    for ty in [MemoryType::new(1, Some(3)), MemoryType::new64(1, Some(3))] {
        let mut memory = LinearMemory::new(&ty, None).unwrap();
        for delta in [3, 65536, u64::MAX, u64::MAX - 1] {
            assert_eq!(memory.grow(delta), None, "{delta}");
        }
        assert_eq!(memory.grow(0), Some(1));
        assert_eq!(memory.grow(2), Some(1));
        assert_eq!((memory.grow(1), memory.grow(0)), (None, Some(3)));
    }
    // Without a declared maximum, that of the index type and of the address space.
    let mut memory = LinearMemory::new(&MemoryType::new64(1, None), None).unwrap();
    for delta in [u64::MAX, 1 << 48, (1 << 48) - 1, (1 << 48) - 2, 1 << 31] {
        assert_eq!(memory.grow(delta), None, "{delta}");
    }
    assert_eq!(memory.pages(), 1);
}

#[test]
fn a_64_bit_memory_moves_when_its_reservation_is_used_up_and_keeps_its_contents() {
    let ty = MemoryType::new64(1, None);
    let mut memory = LinearMemory::with_reservation(&ty, None, 2 * PAGE).unwrap();
    let first = memory.base();
    for page in 1..=40 {
        let last = bytes(&mut memory).len() - 1;
        bytes(&mut memory)[last] = page;
        assert_eq!(memory.grow(1), Some(u64::from(page)));
        assert_eq!(memory.pages(), u64::from(page) + 1);
        assert_accessible_is_exactly_the_length(&memory);
        assert!(memory.mapping.len() > memory.byte_len(), "a page is never opened");
        for (i, contents) in bytes(&mut memory).chunks(PAGE).enumerate() {
            let (last, others) = contents.split_last().unwrap();
            let expected = if i < page.into() { i + 1 } else { 0 };
            assert_eq!(usize::from(*last), expected, "last byte of page {i}");
            assert!(others.iter().all(|byte| *byte == 0), "page {i}");
        }
    }
    assert_ne!(memory.base(), first);
}

#[test]
fn a_64_bit_memory_reserves_no_more_than_it_can_use() {
    let small = LinearMemory::new(&MemoryType::new64(1, Some(2)), None).unwrap();
    assert_eq!(small.mapping.len(), 2 * PAGE + page_size());
    let open = LinearMemory::new(&MemoryType::new64(1, None), None).unwrap();
    assert_eq!(open.mapping.len(), MEMORY64_RESERVATION + page_size());
    let large = LinearMemory::new(&MemoryType::new64(1 << 17, None), None).unwrap();
    assert_eq!(large.mapping.len(), (PAGE << 17) + page_size());
}

#[test]
fn a_memory_that_cannot_be_made_is_an_error_that_says_how_large_it_was() {
    let error = |ty| format!("{:#}", LinearMemory::new(&ty, None).unwrap_err());
    let refused = error(MemoryType::new64(1 << 31, None));
    // 2^47 bytes and the guard page.
    assert!(refused.contains("140737488359424 bytes"), "{refused}");
    assert!(refused.contains("os error 12"), "{refused}");
    assert!(error(MemoryType::new64(1 << 48, None)).contains("exceeds the address space"));
    assert!(error(MemoryType::new64(u64::MAX, None)).contains("over its maximum"));
    assert!(error(MemoryType::new(65537, None)).contains("over its maximum of 65536"));
    assert!(error(MemoryType::new(u32::MAX, None)).contains("over its maximum of 65536"));
    assert!(error(MemoryType::new(3, Some(2))).contains("over its maximum of 2"));
}

#[test]
fn growth_that_the_system_refuses_changes_nothing() {
    if !alone("memory::tests::growth_that_the_system_refuses_changes_nothing") {
        return;
    }
    let mut memory = LinearMemory::new(&MemoryType::new(1, None), None).unwrap();
    let mut moving =
        LinearMemory::with_reservation(&MemoryType::new64(1, None), None, PAGE).unwrap();
    for memory in [&mut memory, &mut moving] {
        bytes(memory).fill(5);
    }
    // From here on the process gets little more private writable memory than it has.
    let limit = libc::rlimit { rlim_cur: 64 << 20, rlim_max: 64 << 20 };
    // SAFETY: `limit` is a valid limit, of a process that this test has for itself.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
    for memory in [&mut memory, &mut moving] {
        assert_eq!(memory.grow(1 << 14), None);
        assert_eq!(memory.pages(), 1);
        assert!(bytes(memory).iter().all(|byte| *byte == 5));
        assert_accessible_is_exactly_the_length(memory);
        assert_eq!(memory.grow(2), Some(1));
        assert_eq!(bytes(memory)[PAGE - 1..=PAGE], [5, 0]);
    }
    let error = LinearMemory::new(&MemoryType::new(1 << 14, None), None).unwrap_err();
    assert!(format!("{error:#}").contains("map 1073741824 bytes"), "{error:#}");
}

/// As `docs/resources.md` says, and `reclaim.rs` counts on.
#[test]
fn a_memory_takes_up_to_four_mappings() {
    let mappings = |memory: &LinearMemory| {
        let range = memory.reservation();
        let overlaps = |line: &&str| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            address(start) < range.end && address(end) > range.start
        };
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(overlaps).count()
    };
    let ty = MemoryType::new(16, None);
    let in_the_middle =
        crate::image::tests::image_of(&[(5000, b"in the"), (90_000, b"middle")], 16);
    for (image, expected) in [(None, 2), (Some(&in_the_middle), 4)] {
        let mut memory = LinearMemory::new(&ty, image).unwrap();
        assert_eq!(mappings(&memory), expected);
        // Grown and used, given back, and the same again.
        for _ in 0..3 {
            for _ in 0..3 {
                bytes(&mut memory).fill(7);
                memory.grow(3).unwrap();
                assert_eq!(mappings(&memory), expected);
            }
            memory = LinearMemory::of_blank(&ty, memory.into_blank().unwrap());
            assert_eq!(mappings(&memory), expected);
        }
    }
}

#[test]
fn dropped_memories_leave_no_mappings() {
    if !alone("memory::tests::dropped_memories_leave_no_mappings") {
        return;
    }
    let image = crate::image::tests::image_of(&[(0, b"first"), (70_000, b"second")], 2);
    let round = || {
        let mut memories: Vec<LinearMemory> = Vec::new();
        for i in 0..300 {
            let (ty, image) = match i % 3 {
                0 => (MemoryType::new(2, None), Some(&image)),
                1 => (MemoryType::new(1, None), None),
                _ => (MemoryType::new64(2, None), Some(&image)),
            };
            let mut memory = LinearMemory::with_reservation(&ty, image, 3 * PAGE).unwrap();
            bytes(&mut memory)[0] = 1;
            memory.grow(i % 5).unwrap();
            memories.push(memory);
        }
        // In another order than they were made.
        while !memories.is_empty() {
            memories.swap_remove(memories.len() / 2);
        }
    };
    round();
    let (mappings, size) = address_space();
    for _ in 0..5 {
        round();
    }
    let (mappings_after, size_after) = address_space();
    assert!(mappings_after <= mappings + 4, "{mappings} -> {mappings_after} mappings");
    assert!(size_after < size + (64 << 20), "{size} -> {size_after} bytes of address space");
}

/// A grown memory with contents everywhere.
fn grown(image: Option<&Arc<MemoryImage>>, by: usize) -> LinearMemory {
    let mut memory = LinearMemory::new(&MemoryType::new(1, None), image).unwrap();
    assert_eq!(memory.grow(by as u64), Some(1));
    bytes(&mut memory).fill(7);
    memory
}

#[test]
fn a_grown_memory_is_not_lost_for_want_of_mappings() {
    if !alone("memory::tests::a_grown_memory_is_not_lost_for_want_of_mappings") {
        return;
    }
    let image = crate::image::tests::image_of(&[(5000, b"first")], 1);
    image.contents().unwrap();
    for (image, last, by) in [
        (None, false, 100),
        (None, true, 100),
        (Some(&image), false, 100),
        (Some(&image), true, 100),
        (None, true, 1000),
    ] {
        let memory = grown(image, by);
        let range = memory.reservation();
        let mut all = NoMappings::take();
        if last {
            all.take_last();
        }
        let blank = memory.into_blank();
        drop(all);
        assert_eq!(blank.is_some(), by < GROWN_MAX / PAGE, "closing asks for no mapping");
        if let Some(blank) = blank {
            let mut memory = LinearMemory::of_blank(&MemoryType::new(1, None), blank);
            assert_accessible_is_exactly_the_length(&memory);
            let first = image.map_or(0, |_| b'f');
            assert_eq!((bytes(&mut memory)[5000], bytes(&mut memory)[0]), (first, 0));
            assert_eq!(memory.grow(2), Some(1));
            assert!(bytes(&mut memory)[PAGE..].iter().all(|byte| *byte == 0));
        }
        // Whatever could not be unmapped has been now.
        drop(Mapping::reserve(PAGE));
        assert_eq!(protections(range.clone()), [(range, None)], "{last} {by}");
    }
}

#[test]
fn with_few_mappings_memories_and_images_are_refused_and_leave_nothing() {
    if !alone("memory::tests::with_few_mappings_memories_and_images_are_refused_and_leave_nothing")
    {
        return;
    }
    // In the middle, at the start, at the end, and all of it; each nearly a MiB.
    let segments: [&[(u32, &[u8])]; 4] = [
        &[(5000, b"in the"), (1_000_000, b"middle")],
        &[(0, b"start"), (1_000_000, b"middle")],
        &[(5000, b"middle"), (1_048_570, b"end")],
        &[(0, b"start"), (1_048_570, b"end")],
    ];
    let ty = MemoryType::new(16, None);
    // An image keeps what it has mapped, so each is used once.
    let images = |_| segments.map(|segments| crate::image::tests::image_of(segments, 16));
    let images: Vec<_> = (0..10).map(images).collect();
    let (mut refused, mut made) = ([0; 2], 0);
    let (mappings, size) = address_space();
    let mut all = NoMappings::take();
    all.take_last();
    for images in images {
        for (image, segments) in images.into_iter().zip(segments) {
            match LinearMemory::new(&ty, Some(&image)) {
                Ok(mut memory) => {
                    let (at, first) = (segments[0].0 as usize, segments[0].1);
                    assert_eq!(&bytes(&mut memory)[at..at + first.len()], first);
                    made += 1;
                }
                Err(_) => refused[0] += 1,
            }
            refused[1] += usize::from(image.contents().is_none());
        }
        all.give_back();
    }
    drop(all);
    // None at first, and then some, by what the image leaves of the memory.
    assert!(refused[0] >= 8 && refused[1] >= 4 && made >= 16, "{refused:?} {made}");
    drop(Mapping::reserve(PAGE));
    let (mappings_after, size_after) = address_space();
    assert!(mappings_after <= mappings + 2, "{mappings} -> {mappings_after} mappings");
    assert!(size_after < size + (1 << 20), "{size} -> {size_after} bytes of address space");
}

/// Where the system counts pages before they are touched, it counts those too that once could be written
/// to.
#[test]
fn what_is_kept_says_how_much_of_it_was_ever_open() {
    let ty = MemoryType::new(1, None);
    let mut memory = LinearMemory::new(&ty, None).unwrap();
    let room = |memory| Room { addresses: MEMORY32_RESERVATION, memory };
    for (grown, most) in [(0, 1), (7, 8), (2, 8), (0, 8), (9, 10)] {
        assert_eq!(memory.grow(grown), Some(1));
        let blank = memory.into_blank().unwrap();
        assert_eq!(blank.room(), room(most * PAGE), "{grown}");
        memory = LinearMemory::of_blank(&ty, blank);
    }
}
