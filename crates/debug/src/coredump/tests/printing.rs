//! What people see of a dump: text, hexadecimal, and names from modules.

use super::*;

#[test]
fn hexadecimal_folds_zeros() -> Result<()> {
    let mut contents = vec![0; PAGE];
    contents[16..22].copy_from_slice(b"hello\n");
    contents[0x1000] = 0xff;
    let memory = Memory::new(false, None, &contents);
    let zeros = "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|";
    assert_eq!(
        memory.hex_dump(0, u64::MAX)?.to_string(),
        format!(
            "00000000  {zeros}\n\
             00000010  68 65 6c 6c 6f 0a 00 00  00 00 00 00 00 00 00 00  |hello...........|\n\
             00000020  {zeros}\n\
             *\n\
             00001000  ff 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
             00001010  {zeros}\n\
             *\n\
             00010000"
        )
    );
    assert_eq!(
        memory.hex_dump(0x11, 6)?.to_string(),
        "00000011  65 6c 6c 6f 0a 00                                 |ello..|\n00000017"
    );
    assert_eq!(memory.hex_dump(PAGE as u64, 5)?.to_string(), "00010000");
    let message = memory.hex_dump(PAGE as u64 + 1, 5).unwrap_err().to_string();
    assert!(message.contains("it has 0x10000 bytes"), "{message}");
    Ok(())
}

/// A memory can be said to have any size, and printing it must not take as long.
#[test]
fn hexadecimal_of_nothing_is_short() -> Result<()> {
    let wasm = module("(module (memory i64 0x7fffffffffff))");
    let bytes = [&wasm[..], &custom("core", b"\x00\x00")].concat();
    let dump = CoreDump::parse(&bytes)?;
    let printed = dump.memories[0].hex_dump(3, u64::MAX)?.to_string();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(printed.ends_with("\n*\n7fffffffffff0000"), "{printed}");
    Ok(())
}

#[test]
fn dump_on_its_own_prints_indices() -> Result<()> {
    let contents = sample_contents();
    let mut dump = sample(&contents);
    dump.threads[1].name = "\u{1b}[2J".into();
    dump.instances[0].module = 7;
    let expected = "\
core dump of /bin/prögram.wasm

thread main: 2 frames, youngest first
  #0   function 300
       function 300 + 0x1234, instance 1 of module 1 ()
         local 0  ?    missing
         local 1  i32  -2147483648 (0x80000000)
         local 2  i32  7
         local 3  i64  -9223372036854775808 (0x8000000000000000)
         local 4  i64  -1 (0xffffffffffffffff)
         local 5  f32  -0.0
         local 6  f32  NaN (0x7fa00001)
         local 7  f64  1.5
         local 8  f64  NaN (0xfff00000deadbeef)
  #1   function 0
       function 0 at an unknown offset, instance 0 of module 7, which is not in the dump
         stack 0  ?    missing
         stack 1  i32  -2147483648 (0x80000000)
         stack 2  i32  7

thread \\u{1b}[2J: 0 frames

instances
  0  module 7, which is not in the dump, memory 0, globals 0-4
  1  module 1 (), memories 0-2, globals 4-9

memories
  0  3 pages of 65536 bytes, at most 20; 5 bytes are in the dump, all others are zero
  1  1 page of 65536 bytes, 64-bit; 4 bytes are in the dump, all others are zero
  2  0 pages of 65536 bytes; 0 bytes are in the dump, all others are zero

globals
  0  i32        -1 (0xffffffff)
  1  i64        9223372036854775807 (0x7fffffffffffffff)
  2  f32        NaN (0x7fc00000)
  3  f64        -2.5
  4  v128       0x0123456789abcdef00000000ffff0000
  5  funcref    not in the dump
  6  externref  not in the dump
  7  exnref     not in the dump
  8  anyref     not in the dump
  9  contref    not in the dump";
    assert_eq!(dump.printer().to_string(), expected);
    Ok(())
}

/// A module with the DWARF of the fixture, whose function `outer` is in its only body, which
/// begins 3 bytes behind the beginning of the code section's contents.
fn with_dwarf() -> Vec<u8> {
    let mut wasm = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    wasm.section(&types);
    let mut functions = wasm_encoder::FunctionSection::new();
    functions.function(0);
    wasm.section(&functions);
    let mut code = wasm_encoder::CodeSection::new();
    // One byte for the number of functions, two for the body's size.
    let mut body = wasm_encoder::Function::new([(7, wasm_encoder::ValType::I32)]);
    for _ in 0..200 {
        body.instructions().nop();
    }
    body.instructions().end();
    code.function(&body);
    wasm.section(&code);
    let mut wasm = wasm.finish();
    for (name, bytes) in crate::dwarf::fixture::sections() {
        let data = Cow::Borrowed(&bytes[..]);
        let section = wasm_encoder::CustomSection { name: name.into(), data };
        wasm_encoder::Section::append_to(&section, &mut wasm);
    }
    wasm
}

#[test]
fn dwarf_gives_positions_and_names() -> Result<()> {
    let wasm = with_dwarf();
    let symbols = ModuleSymbols::parse(&wasm)?;
    // DWARF counts from the code section's contents.
    let frame = Frame {
        code_offset: 40 - 3,
        locals: (0..7).map(CoreValue::I32).collect(),
        ..Frame::default()
    };
    let dump = CoreDump {
        executable_name: "a".into(),
        modules: vec!["m".into()],
        instances: vec![Instance::default()],
        threads: vec![Thread { name: "main".into(), frames: vec![frame] }],
        ..CoreDump::default()
    };
    let mut printer = dump.printer();
    printer.module(0, &symbols)?;
    let expected = "\
core dump of a

thread main: 1 frame
  #0   foo::inner()  at dir/main.c:3:7
       inlined in outer  at dir/main.c:11
       function 0 + 0x25, instance 0 of module 0 (m)
         local 0  foreign     i32  0
         local 1              i32  1
         local 2  moving      i32  2
         local 3  &passed     i32  3
         local 4  kept        i32  4
         local 5  argument    i32  5
         local 6  everywhere  i32  6

instances
  0  module 0 (m)";
    assert_eq!(printer.to_string(), expected);
    Ok(())
}

#[test]
fn name_section_and_exports_give_names() -> Result<()> {
    let symbols = ModuleSymbols::parse(&module(
        r#"(module $m
            (import "a" "f" (func))
            (import "a" "g" (global i32))
            (func $_ZN3foo3barEi (param $first i32) (local i32) (local $third i64))
            (global $g i32 (i32.const 1))
            (global (export "exported") i32 (i32.const 1)))"#,
    ))?;
    assert_eq!(symbols.name(), Some("m"));
    assert_eq!(symbols.func_name(1), Some("_ZN3foo3barEi"));
    assert_eq!(symbols.global_name(1), Some("g"));
    assert_eq!(symbols.global_name(2), Some("exported"));
    let dump = CoreDump {
        executable_name: "a".into(),
        modules: vec!["m".into()],
        instances: vec![Instance { module: 0, memories: vec![], globals: vec![1, 0, 2] }],
        threads: vec![Thread {
            name: "main".into(),
            frames: vec![Frame {
                func_index: 1,
                code_offset: 3,
                locals: vec![CoreValue::I32(1), CoreValue::Missing, CoreValue::I64(3)],
                ..Frame::default()
            }],
        }],
        globals: vec![GlobalValue::I32(4), GlobalValue::I32(5), GlobalValue::I32(6)],
        ..CoreDump::default()
    };
    let mut printer = dump.printer();
    printer.module(0, &symbols)?;
    let printed = printer.to_string();
    for line in [
        "  #0   foo::bar(int)",
        "         local 0  first  i32  1",
        "         local 1         ?    missing",
        "         local 2  third  i64  3",
        "  0  g         i32  4",
        "  1            i32  5",
        "  2  exported  i32  6",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in\n{printed}");
    }
    Ok(())
}

#[test]
fn wrong_modules_are_refused() -> Result<()> {
    let symbols = ModuleSymbols::parse(&module("(module (func) (func nop nop))"))?;
    let mut dump = CoreDump {
        modules: vec!["m".into()],
        instances: vec![Instance::default()],
        threads: vec![Thread { name: "main".into(), frames: vec![Frame::default()] }],
        ..CoreDump::default()
    };
    let refusal = |dump: &CoreDump<'_>, index| {
        let mut printer = dump.printer();
        printer.module(index, &symbols).err().map(|error| format!("{error:#}"))
    };
    assert_eq!(refusal(&dump, 0), None);
    let frame = |dump: &mut CoreDump<'_>, func_index, code_offset| {
        (dump.threads[0].frames[0].func_index, dump.threads[0].frames[0].code_offset) =
            (func_index, code_offset);
    };
    frame(&mut dump, 1, 3);
    assert_eq!(refusal(&dump, 0), None);
    frame(&mut dump, 1, 4);
    let message = refusal(&dump, 0).unwrap();
    assert!(message.contains("not the module 0 of the dump (m): a frame stands at"), "{message}");
    frame(&mut dump, 2, 0);
    let message = refusal(&dump, 0).unwrap();
    assert!(message.contains("a frame is in function 2"), "{message}");
    let message = refusal(&dump, 1).unwrap();
    assert!(message.contains("the dump has no module 1; the last is 0"), "{message}");
    Ok(())
}

#[test]
fn damaged_modules_are_refused_or_read() -> Result<()> {
    let named = module(
        r#"(module $m (func $f (param $p i32) (local $l i64)) (global $g i32 (i32.const 1)))"#,
    );
    let frame = Frame { code_offset: 3, locals: vec![CoreValue::Missing; 3], ..Frame::default() };
    for whole in [named, with_dwarf()] {
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let Ok(symbols) = ModuleSymbols::parse(&bytes) else { continue };
            symbols.symbols(&frame);
            symbols.local_names(&frame);
        }
    }
    Ok(())
}
