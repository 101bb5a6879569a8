//! Bulk operators around the ends of memories: all of it is done or nothing.

use super::ranges::{Guest, pattern};
use stillframe::Engine;

fn wat(is_64: bool) -> String {
    let wat = r#"(module
        (memory $m (export "m") INDEX 1) (memory $n (export "n") 1)
        (data $d "0123456789abcdef")
        (func (export "fill") (param I I) (result)
            (memory.fill $m (local.get 0) (i32.const 0x99) (local.get 1)))
        (func (export "copy") (param I I I)
            (memory.copy $m $m (local.get 0) (local.get 1) (local.get 2)))
        (func (export "init") (param I i32 i32)
            (memory.init $m $d (local.get 0) (local.get 1) (local.get 2)))
        (func (export "drop") (data.drop $d))
        (func (export "from") (param I i32 i32)
            (memory.copy $m $n (local.get 0) (local.get 1) (local.get 2))))"#;
    let (index, ty) = if is_64 { ("i64", "i64") } else { ("", "i32") };
    wat.replace("INDEX", index)
        .replace("(param I I I)", &format!("(param {ty} {ty} {ty})"))
        .replace("(param I I)", &format!("(param {ty} {ty})"))
        .replace("(param I ", &format!("(param {ty} "))
}

/// Numbers around `len`, and around the ends of the index type.
fn around(guest: &Guest, len: u64) -> Vec<u64> {
    let most = if guest.is_64 { u64::MAX } else { u64::from(u32::MAX) };
    let mut all = vec![0, 1, 7, len - 9, len - 1, len, len + 1, most, most - 1, most - len + 1];
    all.extend([most / 2, most / 2 + 1]);
    if guest.is_64 {
        all.extend([1 << 32, (1 << 32) - len, 1 << 63]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn fits(start: u64, len: u64, size: u64) -> bool {
    u128::from(start) + u128::from(len) <= u128::from(size)
}

fn guests() -> impl Iterator<Item = Guest> {
    let engine = Engine::default();
    [false, true].into_iter().flat_map(move |is_64| {
        let engine = engine.clone();
        [0, 1].map(move |grow_by| {
            let mut guest = Guest::new(&engine, &wat(is_64), is_64, None);
            guest.memory.grow(&mut guest.store, grow_by).unwrap();
            guest.restore();
            guest
        })
    })
}

#[test]
fn filling_is_all_or_nothing() {
    for mut guest in guests() {
        let size = guest.len() as u64;
        for at in around(&guest, size) {
            for len in around(&guest, size) {
                let args = [guest.index(at), guest.index(len)];
                let done = guest.call("fill", &args, &mut []).is_some();
                assert_eq!(done, fits(at, len, size), "{at:#x} {len:#x} of {size:#x}");
                let written = vec![0x99; if done { len as usize } else { 0 }];
                guest.check(at as usize, &written, &|| format!("{at:#x} {len:#x}"));
                guest.restore();
            }
        }
    }
}

#[test]
fn copying_is_all_or_nothing_also_when_it_overlaps() {
    for mut guest in guests() {
        let size = guest.len() as u64;
        let lens = [0, 1, 9, size / 2, size - 1, size, size + 1, u64::from(u32::MAX)];
        for to in around(&guest, size) {
            for from in around(&guest, size) {
                for len in lens {
                    let args = [guest.index(to), guest.index(from), guest.index(len)];
                    let done = guest.call("copy", &args, &mut []).is_some();
                    let expected = fits(to, len, size) && fits(from, len, size);
                    let what = || format!("{to:#x} {from:#x} {len:#x} of {size:#x}");
                    assert_eq!(done, expected, "{}", what());
                    if done {
                        let from = from as usize;
                        let written: Vec<u8> = (from..from + len as usize).map(pattern).collect();
                        guest.check(to as usize, &written, &what);
                        guest.restore();
                    }
                }
            }
        }
        guest.check(0, &[], &|| "after those that were refused".into());
    }
}

#[test]
fn initializing_is_all_or_nothing_and_a_dropped_segment_has_no_bytes() {
    const SEGMENT: &[u8] = b"0123456789abcdef";
    for mut guest in guests() {
        let size = guest.len() as u64;
        for bytes in [SEGMENT, &[]] {
            for to in around(&guest, size) {
                for from in [0, 1, 8, 15, 16, 17, u32::MAX] {
                    for len in [0, 1, 8, 9, 16, 17, u32::MAX, u32::MAX - 15] {
                        let args = [guest.index(to), (from as i32).into(), (len as i32).into()];
                        let done = guest.call("init", &args, &mut []).is_some();
                        let (from, len) = (u64::from(from), u64::from(len));
                        let expected = fits(to, len, size) && fits(from, len, bytes.len() as u64);
                        let what = || format!("{to:#x} {from:#x} {len:#x} of {size:#x}");
                        assert_eq!(done, expected, "{}", what());
                        if done && len > 0 {
                            let written = &bytes[from as usize..][..len as usize];
                            guest.check(to as usize, written, &what);
                            guest.restore();
                        }
                    }
                }
            }
            guest.check(0, &[], &|| "after those that were refused".into());
            guest.call("drop", &[], &mut []).unwrap();
        }
    }
}

#[test]
fn copying_between_memories_is_all_or_nothing() {
    for mut guest in guests() {
        let size = guest.len() as u64;
        for to in around(&guest, size) {
            for from in [0, 1, 65_535, 65_536, 65_537, u32::MAX] {
                for len in [0, 1, 2, 65_535, 65_536, 65_537, u32::MAX] {
                    let args = [guest.index(to), (from as i32).into(), (len as i32).into()];
                    let done = guest.call("from", &args, &mut []).is_some();
                    let (from, len) = (u64::from(from), u64::from(len));
                    let expected = fits(to, len, size) && fits(from, len, 1 << 16);
                    let what = || format!("{to:#x} {from:#x} {len:#x} of {size:#x}");
                    assert_eq!(done, expected, "{}", what());
                    if done && len > 0 {
                        guest.check(to as usize, &vec![0x77; len as usize], &what);
                        guest.restore();
                    }
                }
            }
        }
        guest.check(0, &[], &|| "after those that were refused".into());
    }
}
