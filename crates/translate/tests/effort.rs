//! Functions that are too heavy for their size are compiled in the plain way, and others are not.

mod common;

use common::wasm;
use stillframe_abi::artifact::FrameState;
use stillframe_translate::{Compiler, CompilerOptions};

/// A module with a function with this body, a function `$inc`, a memory and a table.
fn module(body: &str) -> Vec<u8> {
    wasm(&format!(
        "(module (memory 1) (table 1 funcref)
        (func (param i32) (result i32) (local i32 i32 i32 i32 i32 i32 i32 i32) {body})
        (func $inc (param i32) (result i32) loop end local.get 0 i32.const 1 i32.add))"
    ))
}

/// The code of each function.
fn code(options: CompilerOptions, module: &[u8]) -> Vec<Vec<u8>> {
    let artifact = Compiler::new(options).unwrap().compile(module, &()).unwrap();
    let of_function = |range: &std::ops::Range<u32>| {
        artifact.text[range.start as usize..range.end as usize].to_vec()
    };
    artifact.info.code.iter().map(of_function).collect()
}

/// Whether its first function is compiled in the plain way, without and with fuel.
fn is_plain(module: &[u8]) -> [bool; 2] {
    [false, true].map(|fuel| {
        let first = |plain| {
            code(CompilerOptions { fuel, plain, ..CompilerOptions::default() }, module).remove(0)
        };
        first(false) == first(true)
    })
}

#[test]
fn what_compilers_write_is_compiled_as_usual() {
    let body = "local.get 0 call $inc local.tee 1 if
        loop local.get 1 i32.load offset=8 local.get 2 i32.add local.set 2
            local.get 1 i32.const 1 i32.sub local.tee 1 br_if 0 end
        local.get 2 local.set 3 else local.get 0 local.set 4 end
        block local.get 3 local.get 4 i32.lt_u br_if 0 local.get 4 local.set 3 end\n";
    for times in [1, 20, 400] {
        let module = module(&format!("{} local.get 3", body.repeat(times)));
        assert_eq!(is_plain(&module), [false; 2], "{times}");
    }
}

/// Each with a size that is within the bounds, and one that is not.
#[test]
fn what_takes_the_square_of_something_is_compiled_in_the_plain_way_beyond_a_size() {
    type Shape = fn(usize) -> String;
    let shapes: [(&str, Shape, usize, usize, [bool; 2]); 6] = [
        (
            "values that are looked for up the dominator tree",
            |n| {
                let step =
                    "local.get 0 i32.eqz br_if 0 local.get 0 i32.const 3 i32.add local.set 0\n";
                format!("block {} end local.get 0", step.repeat(n))
            },
            2_000,
            12_000,
            [true; 2],
        ),
        (
            "one local that many branches join",
            |n| "local.get 0 if i32.const 7 local.set 0 end\n".repeat(n) + "local.get 0",
            1_000,
            8_000,
            [true; 2],
        ),
        (
            "locals in nested loops",
            |n| {
                let round = |i: usize| {
                    let i = 1 + i % 8;
                    format!("local.get {i} i32.const 1 i32.add local.tee {i} br_if 0 end\n")
                };
                "loop ".repeat(n) + &(0..n).map(round).collect::<String>() + "local.get 0"
            },
            40,
            2_000,
            [true; 2],
        ),
        (
            "operands that live across calls",
            |n| "local.get 0 call $inc\n".repeat(n + 1) + &"i32.add\n".repeat(n),
            500,
            5_000,
            [true; 2],
        ),
        (
            "a chain that each checkpoint computes again",
            |n| format!("local.get 0 {}", "i32.const 1 i32.rotl ".repeat(n)),
            1_000,
            12_000,
            [false, true],
        ),
        (
            "a chain that each trap computes again",
            |n| {
                let step = "i32.const 1 i32.rotl i32.const 0 table.get 0 drop ";
                format!("local.get 0 {}", step.repeat(n))
            },
            100,
            2_000,
            [true; 2],
        ),
    ];
    for (what, shape, light, heavy, plain) in shapes {
        assert_eq!(is_plain(&module(&shape(light))), [false; 2], "{what}: {light}");
        assert_eq!(is_plain(&module(&shape(heavy))), plain, "{what}: {heavy}");
    }
}

#[test]
fn long_chains_of_blocks_have_their_registers_allocated_in_a_single_pass() {
    let compiled = |times: usize, plain, single_pass| {
        let steps = "i32.const 1 local.get 0 br_if 0 drop\n".repeat(times);
        let body = format!("block (result i32) i32.const 3 {steps} end");
        let options = CompilerOptions { plain, single_pass, ..CompilerOptions::default() };
        code(options, &module(&body)).remove(0)
    };
    for (times, is_long) in [(2_000, false), (50_000, true)] {
        let [any, single_pass] = [false, true].map(|only| compiled(times, true, only));
        assert_eq!(any == single_pass, is_long, "{times}");
    }
    // And one is not compiled as usual.
    assert_eq!(compiled(50_000, false, false), compiled(50_000, true, true));
}

#[test]
fn a_function_that_has_been_too_large_does_not_make_the_next_one_so() {
    // One worker compiles both. The branches pass all locals.
    let locals = "i32 ".repeat(6_000);
    let branches: String =
        (1..6_000).map(|i| format!("local.get 0 br_if 0 i32.const {i} local.set {i}\n")).collect();
    let reads: String = (1..6_000).map(|i| format!("local.get {i} i32.add\n")).collect();
    let large = format!(
        "(func (param i32) (result i32) (local {locals}) block {branches} end i32.const 0 {reads})"
    );
    let small =
        "(func (param i32) (result i32) local.get 0 if i32.const 3 local.set 0 end local.get 0)";
    let text = |plain: bool, functions: &str| {
        let options = CompilerOptions { plain, parallel: false, ..CompilerOptions::default() };
        code(options, &wasm(&format!("(module {functions})")))
    };
    let both = text(false, &format!("{large} {small}"));
    assert_eq!(both[0], text(true, &large)[0], "it is too large");
    assert_eq!(both[1], text(false, small)[0]);
    assert_ne!(both[1], text(true, small)[0]);
}

/// The bytes of its first function's frame below the frame pointer.
fn frame(options: &CompilerOptions, module: &[u8]) -> u64 {
    let compiler = Compiler::new(options.clone()).unwrap();
    let (_, code) = compiler.disassemble(module, 0).unwrap();
    let grows = |line: &str| {
        let size = line.trim().strip_prefix("subq $0x")?.strip_suffix(", %rsp")?;
        Some(u64::from_str_radix(size, 16).unwrap())
    };
    code.lines().find_map(grows).expect("a frame")
}

#[test]
fn the_frame_of_plain_code_does_not_grow_with_the_code() {
    let shapes = [
        ("calls", "local.get 0 call $inc local.get 0 call $inc i32.add local.set 0"),
        ("results of blocks", "block (result i32) local.get 0 end local.set 0"),
        (
            "results of ifs",
            "local.get 0 if (result i32) i32.const 1 else i32.const 2 end local.set 0",
        ),
        (
            "parameters of ifs",
            "local.get 0 local.get 1 if (param i32) (result i32) i32.eqz else i32.clz end local.set 0",
        ),
        (
            "parameters of loops",
            "local.get 0 loop (param i32) (result i32) i32.eqz local.get 0 br_if 0 end local.set 0",
        ),
        (
            "branches over operands",
            "block (result i32) local.get 0 local.get 1 local.get 2 br_if 0
            br 0 end local.set 1",
        ),
        (
            "tables of branches",
            "block (result i32) block (result i32) i32.const 5 local.get 1 local.get 0
            br_table 0 1 0 end i32.eqz end local.set 1",
        ),
        ("returns", "local.get 0 if local.get 1 local.get 2 return end"),
        ("divisions", "local.get 0 local.get 1 i32.div_s local.get 2 i32.rem_u local.set 0"),
        (
            "memory",
            "local.get 0 local.get 1 i32.load offset=70000 local.get 2 i32.add i32.store offset=8",
        ),
        (
            "tables",
            "local.get 0 local.get 0 table.get 0 table.set 0
            local.get 1 local.get 2 call_indirect (param i32) (result i32) local.set 3",
        ),
        ("bulk operations", "local.get 0 i32.const 7 local.get 1 memory.fill"),
        ("globals", "global.get 0 i64.const 3 i64.mul i64.const 5 i64.rotl global.set 0"),
        (
            "deep operands",
            "local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6
            local.get 7 local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5
            local.get 6 local.get 7 local.get 8 local.get 8 i32.add i32.add i32.add i32.add i32.add
            i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add
            i32.add local.set 0",
        ),
        (
            "conversions",
            "local.get 0 f64.convert_i32_u f64.sqrt i32.trunc_f64_s local.get 1 i32.shl local.set 0",
        ),
        (
            "vectors",
            "local.get 0 i8x16.splat local.get 1 i32x4.splat i8x16.swizzle
            i8x16.bitmask local.set 2",
        ),
        (
            "exceptions",
            "block (result i32) try_table (catch $e 0) local.get 0 throw $e end unreachable end
            local.set 0",
        ),
    ];
    for (what, step) in shapes {
        let module = |times: usize| {
            let body = format!("{step}\n").repeat(times);
            wasm(&format!(
                "(module (memory 1) (table 1 funcref) (global (mut i64) (i64.const 1))
                (tag $e (param i32))
                (func (param i32) (result i32) (local i32 i32 i32 i32 i32 i32 i32 i32)
                    {body} local.get 0)
                (func $inc (param i32) (result i32) loop end local.get 0 i32.const 1 i32.add))"
            ))
        };
        let modules = [20, 400].map(module);
        for frame_state in [FrameState::Off, FrameState::All] {
            for (fuel, epochs) in common::METERINGS {
                let settings = CompilerOptions { fuel, epochs, frame_state, ..Default::default() };
                let options = CompilerOptions { plain: true, ..settings };
                let [small, large] = modules.each_ref().map(|module| frame(&options, module));
                // Alignment, and registers that are saved because they are used.
                assert!(large <= small + 64, "{what}, {options:?}: {small}, {large}");
            }
        }
    }
}
