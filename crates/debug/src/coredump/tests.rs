//! The format, and what damage does. How dumps are printed is in `printing.rs`.

use super::*;
use anyhow::Result;
use wasmparser::{Validator, WasmFeatures};

mod printing;

const PAGE: usize = 1 << 16;

/// A dump with every kind of value, two instances that share a memory and a global, and all kinds
/// of memories.
fn sample(contents: &[Vec<u8>; 3]) -> CoreDump<'_> {
    let frame = |instance, func_index, code_offset, locals: &[CoreValue], stack: &[CoreValue]| {
        Frame { instance, func_index, code_offset, locals: locals.into(), stack: stack.into() }
    };
    let values = [
        CoreValue::Missing,
        CoreValue::I32(i32::MIN),
        CoreValue::I32(7),
        CoreValue::I64(i64::MIN),
        CoreValue::I64(-1),
        CoreValue::F32((-0.0f32).to_bits()),
        CoreValue::F32(0x7fa0_0001), // a signalling NaN
        CoreValue::F64(1.5f64.to_bits()),
        CoreValue::F64(0xfff0_0000_dead_beef),
    ];
    CoreDump {
        executable_name: "/bin/prögram.wasm".into(),
        modules: vec!["first".into(), "".into()],
        instances: vec![
            Instance { module: 0, memories: vec![0], globals: vec![0, 1, 2, 3, 4] },
            Instance { module: 1, memories: vec![0, 1, 2], globals: vec![4, 5, 6, 7, 8, 9] },
        ],
        threads: vec![
            Thread {
                name: "main".into(),
                frames: vec![
                    frame(1, 300, 0x1234, &values, &[]),
                    frame(0, 0, 0, &[], &values[..3]),
                ],
            },
            Thread { name: "second".into(), frames: vec![] },
        ],
        memories: vec![
            Memory::new(false, Some(20), &contents[0]),
            Memory::new(true, None, &contents[1]),
            Memory::new(false, None, &contents[2]),
        ],
        globals: vec![
            GlobalValue::I32(-1),
            GlobalValue::I64(i64::MAX),
            GlobalValue::F32(0x7fc0_0000),
            GlobalValue::F64((-2.5f64).to_bits()),
            GlobalValue::V128(0x0123_4567_89ab_cdef_0000_0000_ffff_0000),
            GlobalValue::Reference(ReferenceKind::Func),
            GlobalValue::Reference(ReferenceKind::Extern),
            GlobalValue::Reference(ReferenceKind::Exn),
            GlobalValue::Reference(ReferenceKind::Any),
            GlobalValue::Reference(ReferenceKind::Cont),
        ],
    }
}

/// Contents for [`sample`]: bytes at both ends and in the middle; a few bytes; none.
fn sample_contents() -> [Vec<u8>; 3] {
    let mut first = vec![0; 3 * PAGE];
    first[0] = 1;
    first[PAGE - 1..PAGE + 2].copy_from_slice(b"abc");
    first[3 * PAGE - 1] = 2;
    let mut second = vec![0; PAGE];
    second[100..104].copy_from_slice(b"text");
    [first, second, vec![]]
}

/// The message of an error and its causes.
fn error(bytes: &[u8]) -> String {
    format!("{:#}", CoreDump::parse(bytes).expect_err("it must be refused"))
}

fn module(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"))
}

#[test]
fn what_is_written_is_read_again() -> Result<()> {
    let contents = sample_contents();
    let dump = sample(&contents);
    let bytes = dump.to_bytes()?;
    assert_eq!(CoreDump::parse(&bytes)?, dump);
    // Nothing was lost that a second copy has.
    assert_eq!(CoreDump::parse(&bytes)?.into_owned().to_bytes()?, bytes);
    let empty = CoreDump::default();
    assert_eq!(CoreDump::parse(&empty.to_bytes()?)?, empty);
    Ok(())
}

#[test]
fn dumps_are_valid_modules() -> Result<()> {
    let contents = sample_contents();
    for dump in [sample(&contents), CoreDump::default()] {
        Validator::new_with_features(WasmFeatures::all()).validate_all(&dump.to_bytes()?)?;
    }
    // Without vectors and newer references, also by the first version of the format.
    let mut plain = sample(&contents);
    plain.globals.truncate(4);
    plain.memories.truncate(1);
    Validator::new_with_features(WasmFeatures::WASM1).validate_all(&plain.to_bytes()?)?;
    Ok(())
}

/// A section with less than 128 bytes.
fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    let len = u8::try_from(contents.len()).ok().filter(|len| *len < 128);
    [&[id, len.expect("a short section")], contents].concat()
}

fn custom(name: &str, contents: &[u8]) -> Vec<u8> {
    section(0, &[&[name.len() as u8], name.as_bytes(), contents].concat())
}

/// A dump encoded by hand, from the text of the convention and nothing else.
fn by_hand() -> Vec<Vec<u8>> {
    vec![
        b"\0asm\x01\0\0\0".to_vec(),
        // process-info ::= 0x0 executable-name:name
        custom("core", b"\x00\x06a.wasm"),
        // vec(0x0 module-name:name)
        custom("coremodules", b"\x01\x00\x03mod"),
        // vec(0x0 moduleidx:u32 memories:vec(u32) globals:vec(u32))
        custom("coreinstances", b"\x01\x00\x00\x01\x00\x02\x01\x00"),
        // 0x0 thread-name:name vec(frame)
        // frame ::= 0x0 instanceidx funcidx codeoffset locals:vec(value) stack:vec(value)
        custom(
            "corestack",
            b"\x00\x04main\x01\
              \x00\x00\x85\x01\xe5\x8e\x26\
              \x05\x01\x7f\x7e\x7e\xc0\xbb\x78\x7d\x00\x00\xc0\x3f\x7c\x00\x00\x00\x00\x00\x00\x04\xc0\
              \x01\x7f\x2a",
        ),
        // One memory of 2 to 3 pages.
        section(5, b"\x01\x01\x02\x03"),
        // An i64 and an f32, not mutable.
        section(6, b"\x02\x7e\x00\x42\x7f\x0b\x7d\x00\x43\x00\x00\x80\x3f\x0b"),
        // "wasm" at 65534: i32.const is signed.
        section(11, b"\x01\x00\x41\xfe\xff\x03\x0b\x04wasm"),
    ]
}

fn described_by_hand() -> CoreDump<'static> {
    let mut contents = vec![0; 2 * PAGE];
    contents[65534..65538].copy_from_slice(b"wasm");
    let frame = Frame {
        instance: 0,
        func_index: 133,
        code_offset: 624_485,
        locals: vec![
            CoreValue::Missing,
            CoreValue::I32(-2),
            CoreValue::I64(-123_456),
            CoreValue::F32(1.5f32.to_bits()),
            CoreValue::F64((-2.5f64).to_bits()),
        ],
        stack: vec![CoreValue::I32(42)],
    };
    let dump = CoreDump {
        executable_name: "a.wasm".into(),
        modules: vec!["mod".into()],
        instances: vec![Instance { module: 0, memories: vec![0], globals: vec![1, 0] }],
        threads: vec![Thread { name: "main".into(), frames: vec![frame] }],
        memories: vec![Memory::new(false, Some(3), &contents)],
        globals: vec![GlobalValue::I64(-1), GlobalValue::F32(1f32.to_bits())],
    };
    dump.into_owned()
}

#[test]
fn bytes_are_those_of_the_convention() -> Result<()> {
    let bytes = by_hand().concat();
    assert_eq!(CoreDump::parse(&bytes)?, described_by_hand());
    assert_eq!(described_by_hand().to_bytes()?, bytes);
    Ok(())
}

#[test]
fn custom_sections_come_in_any_order() -> Result<()> {
    let mut sections = by_hand();
    sections[1..5].reverse();
    sections[1..].rotate_left(4);
    assert_eq!(CoreDump::parse(&sections.concat())?, described_by_hand());
    Ok(())
}

#[test]
fn other_files_are_told_apart() {
    assert!(error(b"").contains("it is no core dump"), "{}", error(b""));
    assert!(error(b"(module)").contains("core dumps begin like"), "{}", error(b"(module)"));
    let message = error(&module("(module (func) (memory 1))"));
    assert!(
        message.contains("another WebAssembly module: it has no section \"core\""),
        "{message}"
    );
    let message = error(&module("(component)"));
    assert!(message.contains("but a component"), "{message}");
    let message = error(&module(r#"(module (import "a" "b" (memory 1)))"#));
    assert!(message.contains("it has imports"), "{message}");
}

#[test]
fn damage_is_named() {
    let with = |index: usize, section: Vec<u8>| {
        let mut sections = by_hand();
        sections[index] = section;
        error(&sections.concat())
    };
    let cases = [
        (1, custom("core", b"\x01\x00"), "its section \"core\" is damaged: invalid start byte"),
        (2, custom("core", b"\x00\x00"), "its section \"core\" is damaged: there is more than one"),
        (
            4,
            custom("corestack", b"\x00\x00\x01"),
            "its section \"corestack\" is damaged: unexpected",
        ),
        (4, custom("corestack", b"\x00\x00\xff\xff\xff\xff\x0f"), "\"corestack\" is damaged"),
        (5, section(5, b"\x01\x00\x81\x80\x04"), "its memory 0: has 65537 pages"),
        (6, section(6, b"\x01\x7e\x00\x42\x00\x42\x00\x7c\x0b"), "global 0: is not a constant"),
        (7, section(11, b"\x01\x01\x00"), "its data segment 0: is passive"),
        (7, section(11, b"\x01\x02\x01\x41\x00\x0b\x00"), "is for memory 1, and there is none"),
        (7, section(11, b"\x01\x00\x42\x00\x0b\x00"), "an address that does not fit"),
        (7, section(11, b"\x01\x00\x41\x7f\x0b\x01a"), "ends behind the end of memory 0"),
        (
            7,
            section(11, b"\x02\x00\x41\x01\x0b\x02ab\x00\x41\x02\x0b\x01c"),
            "overlap in memory 0, at 0x2",
        ),
    ];
    for (index, section, expected) in cases {
        let message = with(index, section);
        assert!(message.contains(expected), "{message}\nand not: {expected}");
    }
    let whole = by_hand().concat();
    let message = error(&whole[..whole.len() - 1]);
    assert!(message.starts_with("it is damaged: unexpected end"), "{message}");
}

#[test]
fn segments_of_others_can_be_in_any_order() -> Result<()> {
    let mut sections = by_hand();
    sections[7] =
        section(11, b"\x03\x00\x41\x08\x0b\x02cd\x00\x41\x06\x0b\x02ab\x00\x41\x00\x0b\x00");
    let bytes = sections.concat();
    let dump = CoreDump::parse(&bytes)?;
    let mut read = [0; 6];
    assert!(dump.memories[0].read(5, &mut read));
    assert_eq!(&read, b"\0abcd\0");
    Ok(())
}

/// A damaged byte must not become a panic, nor a number in it memory. What can still be read can
/// also be printed and written.
#[test]
fn damaged_dumps_are_refused_or_read() -> Result<()> {
    let wasm = module("(module (func (local i32)))");
    let symbols = ModuleSymbols::parse(&wasm)?;
    let contents = sample_contents();
    for whole in [by_hand().concat(), sample(&contents).to_bytes()?] {
        for at in 0..whole.len() {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let Ok(dump) = CoreDump::parse(&bytes) else { continue };
                let mut printer = dump.printer();
                let _ = printer.module(0, &symbols);
                let printed = printer.to_string();
                assert!(printed.len() < 100 * bytes.len(), "{printed}");
                for memory in &dump.memories {
                    memory.hex_dump(memory.size().saturating_sub(8), 100)?.to_string();
                }
                let written = dump.to_bytes()?;
                assert_eq!(CoreDump::parse(&written)?, dump, "{change:#x} at {at:#x}");
            }
            let _ = CoreDump::parse(&whole[..at]);
        }
    }
    Ok(())
}

#[test]
fn zeros_are_left_out_of_memories() {
    let mut contents = vec![0; 4 * PAGE];
    contents[10] = 1;
    contents[4100] = 2;
    contents[PAGE] = 3;
    contents[4 * PAGE - 1] = 4;
    let memory = Memory::new(false, None, &contents);
    let kept: Vec<_> =
        memory.segments().iter().map(|part| (part.offset, part.bytes.len())).collect();
    // Neighbouring blocks make one segment.
    assert_eq!(kept, [(10, 4091), (PAGE as u64, 1), (4 * PAGE as u64 - 1, 1)]);
    assert_eq!((memory.pages(), memory.size(), memory.maximum()), (4, 4 * PAGE as u64, None));
    let mut copy = vec![9; contents.len()];
    assert!(memory.read(0, &mut copy));
    assert!(copy == contents);
    assert!(Memory::new(false, None, &[0; PAGE]).segments().is_empty());
}

#[test]
fn reads_stay_in_the_memory() {
    let mut contents = vec![0; PAGE];
    contents[PAGE - 2..].copy_from_slice(b"ab");
    let memory = Memory::new(true, None, &contents);
    let mut read = *b"....";
    assert!(!memory.read(PAGE as u64 - 3, &mut read));
    assert!(!memory.read(u64::MAX, &mut read));
    assert_eq!(&read, b"....", "nothing is touched");
    assert!(memory.read(PAGE as u64 - 4, &mut read));
    assert_eq!(&read, b"\0\0ab");
    assert!(memory.read(PAGE as u64, &mut []));
}

#[test]
fn large_memories_have_a_bounded_number_of_segments() {
    assert_eq!(block_size(0), 4096);
    assert_eq!(block_size(256 << 20), 4096);
    assert_eq!(block_size(1 << 32), PAGE);
    assert_eq!(block_size((1 << 32) + 1), PAGE);
    // The worst memory: every other block has something.
    let len = 64 * PAGE;
    let mut contents = vec![0; len];
    contents.iter_mut().step_by(2 * 4096).for_each(|byte| *byte = 1);
    assert_eq!(segments(&contents, block_size(len)).len(), len / 4096 / 2);
}

/// What is written is what the encoder of data sections would write.
#[test]
fn contents_are_written_as_a_data_section() -> Result<()> {
    let contents = sample_contents();
    let dump = sample(&contents);
    let mut expected = wasm_encoder::DataSection::new();
    for (memory, index) in dump.memories.iter().zip(0..) {
        for segment in memory.segments() {
            let offset = match memory.is_64() {
                true => wasm_encoder::ConstExpr::i64_const(segment.offset as i64),
                false => wasm_encoder::ConstExpr::i32_const(segment.offset as i32),
            };
            expected.active(index, &offset, segment.bytes.iter().copied());
        }
    }
    let mut module = wasm_encoder::Module::new();
    module.section(&expected);
    let bytes = dump.to_bytes()?;
    assert!(bytes.ends_with(&module.finish()[8..]));
    Ok(())
}
