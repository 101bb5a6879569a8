//! Custom sections that say nonsense: a module with them is the module without them.

use stillframe::{Engine, Instance, Module, Store, Trap, Val};
use stillframe_tests::child;

/// `f` traps if it is not given 0.
const GUEST: &str = r#"(module $guest
    (func $inner (param $x i32) (if (local.get $x) (then unreachable)))
    (func $outer (export "f") (param $y i32) (result i32) (local $z i32)
        (call $inner (local.get $y)) (i32.const 42)))"#;

/// A custom section, of this name and these contents.
fn section(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut body = leb(name.len());
    body.extend(name.as_bytes());
    body.extend(contents);
    let mut section = vec![0];
    section.extend(leb(body.len()));
    section.extend(body);
    section
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let rest = number >> 7;
        bytes.push(number as u8 & 0x7f | if rest == 0 { 0 } else { 0x80 });
        if rest == 0 {
            return bytes;
        }
        number = rest;
    }
}

/// The guest's sections without its names, and the contents of its name section.
fn without_names() -> (Vec<u8>, Vec<u8>) {
    let wasm = wat::parse_str(GUEST).unwrap();
    let name = wasm.windows(5).position(|bytes| bytes == b"\x04name").unwrap();
    // Before the name are the section's number and its length, which is one byte.
    (wasm[..name - 2].to_vec(), wasm[name + 5..].to_vec())
}

/// Compiles the guest with these sections behind it, in one engine; runs it, lets it trap, and prints
/// the error.
fn works(engine: &Engine, sections: &[u8]) -> String {
    let (mut wasm, _) = without_names();
    wasm.extend(sections);
    let module = Module::new(engine, &wasm).unwrap_or_else(|error| panic!("{error:#}"));
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0)];
    f.call(&mut store, &[Val::I32(0)], &mut results).unwrap();
    assert_eq!(results[0].unwrap_i32(), 42);
    let error = f.call(&mut store, &[Val::I32(1)], &mut results).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
    assert!(format!("{error:?}").contains("unreachable"));
    error.to_string()
}

/// A generator of bytes that are the same in every run.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u8 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as u8
    }
}

#[test]
fn names_that_are_cut_off_or_damaged_name_less() {
    let engine = Engine::default();
    let (_, names) = without_names();
    let whole = works(&engine, &section("name", &names));
    assert!(whole.contains("inner") && whole.contains("outer"), "{whole}");
    for cut in 0..names.len() {
        works(&engine, &section("name", &names[..cut]));
    }
    let mut bytes = Bytes(0x5eed);
    for at in 0..names.len() {
        for _ in 0..4 {
            let mut damaged = names.clone();
            damaged[at] = bytes.next();
            works(&engine, &section("name", &damaged));
        }
    }
    // Names of what there is not, and the same one twice; two sections; counts of 2^32 - 1.
    for names in [
        &[1, 5, 1, 0xff, 0x7f, 1, b'a'][..],
        &[1, 7, 2, 0, 1, b'a', 0, 1, b'b'],
        &[1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[2, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0],
        &[1, 4, 1, 0, 1, 0xff],
        &[0xff; 40],
    ] {
        works(&engine, &section("name", names));
        let mut twice = section("name", names);
        twice.extend(section("name", names));
        works(&engine, &twice);
    }
}

#[test]
fn debug_sections_with_nonsense_give_no_positions() {
    if !child::limited("hostile::custom_sections::debug_sections_with_nonsense_give_no_positions") {
        return;
    }
    let mut config = stillframe::Config::new();
    let engines =
        [false, true].map(|native| Engine::new(config.native_debug_info(native)).unwrap());
    let names = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_str",
        ".debug_line_str",
        ".debug_ranges",
        ".debug_rnglists",
        ".debug_addr",
        ".debug_aranges",
        ".debug_str_offsets",
        ".debug_loc",
        ".debug_",
    ];
    let mut bytes = Bytes(0xd3b6);
    for round in 0..60 {
        let mut sections = Vec::new();
        for name in names {
            let contents: Vec<u8> = match round {
                0 => vec![],
                1 => vec![0; 100],
                2 => vec![0xff; 100],
                // A length of what is not there.
                3 => vec![0xf0, 0xff, 0xff, 0x7f, 4, 0, 0, 0, 0, 0, 8],
                // Units that begin well.
                round => {
                    let length = usize::from(bytes.next()) + 12;
                    let mut unit = (length as u32 - 4).to_le_bytes().to_vec();
                    unit.extend([(2 + round % 4) as u8, 0]);
                    unit.extend((unit.len()..length).map(|_| bytes.next()));
                    unit
                }
            };
            sections.extend(section(name, &contents));
        }
        let engine = &engines[round % 2];
        works(engine, &sections);
    }
}

#[test]
fn other_sections_are_not_looked_at() {
    let engine = Engine::default();
    let (_, names) = without_names();
    let plain = works(&engine, &section("name", &names));
    let mut bytes = Bytes(0x0dd);
    for name in [
        "producers",
        "target_features",
        "sourceMappingURL",
        "linking",
        "reloc.CODE",
        "dylink.0",
        "component-type",
        "core",
        "",
        "branch_hint",
        "metadata.code.branch_hint",
        "external_debug_info",
    ] {
        for length in [0, 1, 7, 1000] {
            let contents: Vec<u8> = (0..length).map(|_| bytes.next()).collect();
            let mut sections = section(name, &contents);
            sections.extend(section("name", &names));
            sections.extend(section(name, &contents));
            assert_eq!(works(&engine, &sections), plain, "{name}");
        }
    }
    // Many, large, and long of name.
    let mut sections: Vec<u8> = (0..10_000).flat_map(|_| section("a", b"b")).collect();
    sections.extend(section("large", &vec![7; 4 << 20]));
    sections.extend(section(&"n".repeat(100_000), b""));
    sections.extend(section("name", &names));
    assert_eq!(works(&engine, &sections), plain);
}

#[test]
fn sections_that_are_longer_than_the_file_are_refused() {
    let engine = Engine::default();
    let (wasm, names) = without_names();
    let good = section("name", &names);
    for cut in 1..good.len() {
        let mut damaged = wasm.clone();
        damaged.extend(&good[..cut]);
        assert!(Module::new(&engine, &damaged).is_err(), "{cut}");
    }
    for name in [&[5, b'a'][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[2, 0xff, 0xfe], &[]] {
        let mut damaged = wasm.clone();
        damaged.extend([0]);
        damaged.extend(leb(name.len()));
        damaged.extend(name);
        assert!(Module::new(&engine, &damaged).is_err(), "{name:?}");
    }
}
