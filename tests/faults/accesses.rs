//! Loads and stores of every width, at every address around a memory's end, with every kind of
//! offset: they succeed exactly if all of their bytes are in the memory, and a store that does not
//! writes nothing, not even the bytes that would be inside.

use super::ranges::Guest;
use std::fmt::Write as _;
use stillframe::{Config, Engine, Module, Val};

/// An operator that accesses memory.
struct Access {
    name: &'static str,
    width: usize,
    kind: Kind,
}

enum Kind {
    /// Text that makes an `i64` of what was loaded, and the same computed from the bytes.
    Load(&'static str, fn(&[u8]) -> u64),
    /// Text that makes what is to be stored of an `i64`.
    Store(&'static str),
}

/// The value that is stored.
const VALUE: u64 = 0x8182_8384_8586_8788;

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// As an `i32` whose sign was extended.
fn signed32(bytes: &[u8]) -> u64 {
    u64::from(signed64(bytes) as u32)
}

fn signed64(bytes: &[u8]) -> u64 {
    let shift = 64 - 8 * bytes.len();
    ((unsigned(bytes) << shift) as i64 >> shift) as u64
}

/// What [`FOLD`] makes of a vector.
fn folded(low: u64, high: u64) -> u64 {
    low ^ high.rotate_left(1)
}

fn splat(bytes: &[u8]) -> u64 {
    let lanes: u64 = (0..8 / bytes.len())
        .fold(0, |sum, i| sum | unsigned(bytes) << (8 * bytes.len() * i) as u32);
    folded(lanes, lanes)
}

const WIDE: &str = "(i64.extend_i32_u X)";
const FOLD: &str = "(local.set $v X) (i64.xor (i64x2.extract_lane 0 (local.get $v))
    (i64.rotl (i64x2.extract_lane 1 (local.get $v)) (i64.const 1)))";
const NARROW: &str = "(i32.wrap_i64 (local.get $x))";
const SPLAT: &str = "(i64x2.splat (local.get $x))";

fn accesses() -> Vec<Access> {
    let load = |name, width, text, model| Access { name, width, kind: Kind::Load(text, model) };
    let store = |name, width, text| Access { name, width, kind: Kind::Store(text) };
    vec![
        load("i32.load", 4, WIDE, unsigned),
        load("i32.load8_s", 1, WIDE, signed32),
        load("i32.load8_u", 1, WIDE, unsigned),
        load("i32.load16_s", 2, WIDE, signed32),
        load("i32.load16_u", 2, WIDE, unsigned),
        load("i64.load", 8, "X", unsigned),
        load("i64.load8_s", 1, "X", signed64),
        load("i64.load16_u", 2, "X", unsigned),
        load("i64.load32_s", 4, "X", signed64),
        load("i64.load32_u", 4, "X", unsigned),
        load("f32.load", 4, "(i64.extend_i32_u (i32.reinterpret_f32 X))", unsigned),
        load("f64.load", 8, "(i64.reinterpret_f64 X)", unsigned),
        load("v128.load", 16, FOLD, |b| folded(unsigned(&b[..8]), unsigned(&b[8..]))),
        load("v128.load8_splat", 1, FOLD, splat),
        load("v128.load64_splat", 8, FOLD, splat),
        load("v128.load32_zero", 4, FOLD, |b| folded(unsigned(b), 0)),
        load("v128.load64_zero", 8, FOLD, |b| folded(unsigned(b), 0)),
        store("i32.store", 4, NARROW),
        store("i32.store8", 1, NARROW),
        store("i32.store16", 2, NARROW),
        store("i64.store", 8, "(local.get $x)"),
        store("i64.store8", 1, "(local.get $x)"),
        store("i64.store16", 2, "(local.get $x)"),
        store("i64.store32", 4, "(local.get $x)"),
        store("f32.store", 4, "(f32.reinterpret_i32 (i32.wrap_i64 (local.get $x)))"),
        store("f64.store", 8, "(f64.reinterpret_i64 (local.get $x))"),
        store("v128.store", 16, SPLAT),
    ]
}

const OFFSETS_32: [u64; 12] =
    [0, 1, 3, 8, 4095, 65_535, 65_536, 65_537, 0x7fff_ffff, 1 << 31, 0xffff_fff8, 0xffff_ffff];
const OFFSETS_64: [u64; 7] = [0, 1, 65_535, 0xffff_ffff, 1 << 32, u64::MAX - 7, u64::MAX];

/// A module with one function for each access and offset, between memories as `memories` says.
fn wat(memories: &str, is_64: bool, offsets: &[u64]) -> String {
    let mut wat = format!("(module {memories}\n");
    let index = if is_64 { "i64" } else { "i32" };
    for access in accesses() {
        for offset in offsets {
            let (name, params) = (access.name, format!("(param $i {index}) (param $x i64)"));
            let head = format!("(func (export \"{name} {offset}\") {params}");
            let at = format!("{name} $m offset={offset} (local.get $i)");
            match access.kind {
                Kind::Load(text, _) => {
                    let text = text.replace('X', &format!("({at})"));
                    writeln!(wat, "{head} (result i64) (local $v v128) {text})").unwrap();
                }
                Kind::Store(value) => writeln!(wat, "{head} ({at} {value}))").unwrap(),
            }
        }
    }
    wat + ")"
}

/// The indices to try for accesses of `width` bytes at `offset`.
fn indices(is_64: bool, len: usize, offset: u64, width: usize) -> Vec<u64> {
    let (len, width) = (len as u64, width as u64);
    let most = if is_64 { u64::MAX } else { u64::from(u32::MAX) };
    let ends = (-(width as i64) - 2..=2).map(|by| len.wrapping_add_signed(by));
    let addresses = [0, 1, 1 << 32, (1 << 32) - 1, 1 << 33, (1 << 33) - 1, 1 << 47];
    let mut all: Vec<u64> = ends.chain(addresses).map(|at| at.wrapping_sub(offset)).collect();
    all.extend([0, 1, len, most, most - width, most / 2, most / 2 + 1]);
    all.retain(|index| *index <= most);
    all.sort_unstable();
    all.dedup();
    all
}

/// Tries all of it on a memory as it is; returns how many accesses there were inside and outside.
fn sweep(guest: &mut Guest, offsets: &[u64]) -> [usize; 2] {
    let len = guest.len();
    let mut counts = [0; 2];
    for access in accesses() {
        for &offset in offsets {
            let name = format!("{} {offset}", access.name);
            for index in indices(guest.is_64, len, offset, access.width) {
                let what = || format!("{name}, index {index:#x}, of {len:#x} bytes");
                let end = u128::from(index) + u128::from(offset) + access.width as u128;
                let inside = end <= len as u128;
                counts[usize::from(!inside)] += 1;
                let at = (end as usize).wrapping_sub(access.width);
                let args = [guest.index(index), Val::I64(VALUE as i64)];
                match access.kind {
                    Kind::Load(_, model) => {
                        let mut results = [Val::I64(0)];
                        let done = guest.call(&name, &args, &mut results).is_some();
                        assert_eq!(done, inside, "{}", what());
                        if inside {
                            let bytes: Vec<u8> =
                                (at..at + access.width).map(|at| guest.first(at)).collect();
                            let loaded = results[0].unwrap_i64() as u64;
                            assert_eq!(loaded, model(&bytes), "{}", what());
                        }
                    }
                    Kind::Store(_) => {
                        let done = guest.call(&name, &args, &mut []).is_some();
                        assert_eq!(done, inside, "{}", what());
                        let value = [VALUE.to_le_bytes(); 2].concat();
                        let written = if inside { &value[..access.width] } else { &[] };
                        check_around(guest, at, written, &what);
                    }
                }
            }
        }
        let what = || format!("after {}", access.name);
        guest.check(0, &[], &what);
    }
    counts
}

/// Looks at the bytes around a store, and puts the pattern back. (All of them are looked at later.)
#[track_caller]
fn check_around(guest: &mut Guest, at: usize, written: &[u8], what: &dyn Fn() -> String) {
    let len = guest.len();
    let near = |at: usize| at.min(len).saturating_sub(24)..at.saturating_add(40).min(len);
    let bytes = guest.memory.data(&guest.store);
    for i in near(at).chain(near(len)) {
        let own = i.checked_sub(at).and_then(|i| written.get(i));
        let expected = own.copied().unwrap_or_else(|| guest.first(i));
        assert_eq!(bytes[i], expected, "{i:#x}: {}", what());
    }
    let first: Vec<u8> = (0..written.len()).map(|i| guest.first(at + i)).collect();
    if !written.is_empty() {
        let bytes = &mut guest.memory.data_mut(&mut guest.store)[at..][..written.len()];
        bytes.copy_from_slice(&first);
    }
}

fn engines() -> [Engine; 2] {
    // Metered code settles what was charged when an access traps.
    [Config::new(), Config::new().epoch_interruption(true).clone()]
        .map(|config| Engine::new(&config).unwrap())
}

fn set_up(guest: &mut Guest) {
    guest.store.set_epoch_deadline(1 << 40);
}

#[test]
fn memories_of_32_bits_end_where_they_end_at_every_size() {
    let memories = r#"(memory $m (export "m") 0) (memory $n (export "n") 1)"#;
    for engine in engines() {
        let mut guest = Guest::new(&engine, &wat(memories, false, &OFFSETS_32), false, None);
        set_up(&mut guest);
        assert_eq!(sweep(&mut guest, &OFFSETS_32)[0], 0, "nothing is inside of no bytes");
        for grow_by in [1, 1] {
            guest.memory.grow(&mut guest.store, grow_by).unwrap();
            guest.restore();
            let [inside, outside] = sweep(&mut guest, &OFFSETS_32);
            assert!(inside > 500 && outside > 3000, "{inside} and {outside}");
        }
    }
}

#[test]
fn the_largest_memory_of_32_bits_ends_at_4_gib() {
    let memories = r#"(memory $m (export "m") 65535) (memory $n (export "n") 1)"#;
    let engine = Engine::default();
    let mut guest = Guest::new(&engine, &wat(memories, false, &OFFSETS_32), false, None);
    for _ in 0..2 {
        let [inside, outside] = sweep(&mut guest, &OFFSETS_32);
        assert!(inside > 1000 && outside > 1000, "{inside} and {outside}");
        let _ = guest.memory.grow(&mut guest.store, 1);
        guest.restore();
    }
    assert_eq!(guest.len(), 1 << 32);
}

#[test]
fn memories_of_64_bits_end_where_they_end_and_indices_do_not_wrap() {
    let memories = r#"(memory $m (export "m") i64 0) (memory $n (export "n") 1)"#;
    for engine in engines() {
        let mut guest = Guest::new(&engine, &wat(memories, true, &OFFSETS_64), true, None);
        set_up(&mut guest);
        assert_eq!(sweep(&mut guest, &OFFSETS_64)[0], 0, "nothing is inside of no bytes");
        // The last step moves it.
        for grow_by in [1, 1, (1 << 16) - 1] {
            guest.memory.grow(&mut guest.store, grow_by).unwrap();
            guest.restore();
            let [inside, outside] = sweep(&mut guest, &OFFSETS_64);
            assert!(inside > 100 && outside > 1000, "{inside} and {outside}");
        }
    }
}

#[test]
fn imported_memories_end_where_they_end() {
    const FEW: [u64; 4] = [0, 1, 65_536, 0xffff_ffff];
    let memories = r#"
        (import "" "m" (memory $m 0)) (export "m" (memory $m)) (memory $n (export "n") 1)"#;
    let engine = Engine::default();
    let module = Module::new(&engine, wat(memories, false, &FEW)).unwrap();
    for pages in [0, 1, 3] {
        let mut guest = Guest::of(&module, false, Some(pages));
        sweep(&mut guest, &FEW);
        guest.memory.grow(&mut guest.store, 1).unwrap();
        guest.restore();
        sweep(&mut guest, &FEW);
    }
}

/// What a memory has been must not be seen in the next life of its address space: neither its size
/// nor its contents. Others lie beside it meanwhile.
#[test]
fn memories_that_are_used_again_end_where_they_begin_anew() {
    const FEW: [u64; 4] = [0, 1, 65_536, 0xffff_ffff];
    let memories = r#"
        (memory $m (export "m") 1) (memory $n (export "n") 1)
        (data $m (i32.const 70) "first")"#;
    let engine = Engine::default();
    let module = Module::new(&engine, wat(memories, false, &FEW)).unwrap();
    let mut beside: Vec<Guest> = (0..4).map(|_| Guest::of(&module, false, None)).collect();
    beside.remove(2);
    beside.remove(0);
    for grow_by in [3, 0, 65_000] {
        let kept = engine.free_memories();
        assert!(kept >= 2, "{kept}");
        let mut guest = Guest::of(&module, false, None);
        assert_eq!((engine.free_memories(), guest.len()), (kept - 2, 1 << 16));
        sweep(&mut guest, &FEW);
        guest.memory.grow(&mut guest.store, grow_by).unwrap();
        guest.restore();
        if grow_by < 10 {
            sweep(&mut guest, &FEW);
        }
        for other in &beside {
            other.check(0, &[], &|| "another store's".into());
        }
    }
}

/// Atomic operators test their alignment before they touch anything.
#[test]
fn atomic_accesses_end_where_the_memory_ends() {
    let wat = r#"(module
        (memory $m (export "m") 0) (memory $n (export "n") 1)
        (func (export "load") (param i32) (result i64)
            (i64.extend_i32_u (i32.atomic.load $m offset=4 (local.get 0))))
        (func (export "add") (param i32) (result i64)
            (i64.atomic.rmw.add $m offset=0xfffffff8 (local.get 0) (i64.const 0)))
        (func (export "swap") (param i32) (result i64)
            (i64.extend_i32_u (i32.atomic.rmw8.xchg_u $m (local.get 0) (i32.const 1))))
        (func (export "compare") (param i32) (result i64) (i64.extend_i32_u
            (i32.atomic.rmw.cmpxchg $m offset=65536 (local.get 0) (i32.const 1) (i32.const 2)))))"#;
    let mut guest = Guest::new(&Engine::default(), wat, false, None);
    for pages in 0..3 {
        let len = pages << 16;
        for (name, width, offset) in
            [("load", 4, 4), ("add", 8, 0xffff_fff8), ("swap", 1, 0), ("compare", 4, 65_536)]
        {
            for index in indices(false, len as usize, offset, width) {
                let address = index + offset;
                if !address.is_multiple_of(width as u64) {
                    continue;
                }
                let inside = address + width as u64 <= len;
                let args = [Val::I32(index as i32)];
                let done = guest.call(name, &args, &mut [Val::I64(0)]).is_some();
                assert_eq!(done, inside, "{name}, index {index:#x}, of {len:#x} bytes");
                guest.restore();
            }
        }
        guest.memory.grow(&mut guest.store, 1).unwrap();
        guest.restore();
    }
}
