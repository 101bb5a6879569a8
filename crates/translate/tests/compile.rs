//! Compiling whole modules: every metering, determinism, layout, errors, extremes.

mod common;

use common::{METERINGS, calling_compiler, compiler, position, rows, trap, wasm};
use std::fmt::Write as _;
use stillframe_abi::Trap;
use stillframe_abi::artifact::FrameState;
use stillframe_abi::frame_table::{RowKind, WasmPc};
use stillframe_abi::types::{FuncType, ValType};
use stillframe_translate::{Compiler, CompilerOptions, OperatorCosts, OptLevel, Progress};

const CONTROL: &str = r#"(module
    (type $binary (func (param i32 i32) (result i32)))
    (type $pair (func (param i32) (result i32 i64)))
    (import "host" "log" (func $log (param i32)))
    (import "host" "pair" (func $host_pair (param i32) (result i32 i64)))
    (memory 1)
    (table 4 funcref)
    (elem (i32.const 0) $add $sub)
    (func $add (type $binary) (i32.add (local.get 0) (local.get 1)))
    (func $sub (type $binary) (i32.sub (local.get 0) (local.get 1)))

    ;; Nested constructs with parameters and several results, left in every way.
    (func $blocks (export "blocks") (param i32) (result i32 i64)
        (block $out (result i32 i64)
            (local.get 0)
            (block (type $pair)
                (br_if $out (i64.const 1) (local.get 0))
                drop
                (if (type $pair) (local.get 0)
                    (then i64.const 5)
                    (else drop i32.const 3 (i64.const 7) (br $out)))
                (br_table 0 $out 0 $out 1 (local.get 0)))
            (br 1)))

    ;; An `if` whose parameters are its results, and loops with parameters.
    (func $loops (param i32) (result i32)
        (local.get 0)
        (loop $again (param i32) (result i32)
            (if (param i32) (result i32) (local.get 0)
                (then (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br $again)))
            (if (param i32) (result i32) (i32.const 0) (then unreachable)))
        (loop (br_if 0 (local.get 0)))
        (block $exit
            (loop $outer (loop $inner (br_table $inner $outer $exit (local.get 0))))))

    ;; Code that cannot be reached, with constructs of every kind in it.
    (func $dead (param i32) (result i32)
        (return (local.get 0))
        (block (result i32)
            (loop (br 0))
            (if (result i32) (i32.const 1) (then (i32.const 2)) (else (br 1 (i32.const 3))))
            (br_table 0 0 0 (i32.const 1)))
        (br_if 0 (i32.const 0))
        (call $add (i32.const 1)))

    (func $calls (param i32) (result i32 i64)
        (call $log (local.get 0))
        (drop (call_indirect (type $binary) (i32.const 1) (i32.const 2) (local.get 0)))
        (call $host_pair (call $add (local.get 0) (local.get 0))))

    (func $tail_calls (param i32 i32) (result i32)
        (if (local.get 0) (then (return_call $add (local.get 0) (local.get 1))))
        (return_call_indirect (type $binary) (local.get 0) (local.get 1) (local.get 1)))

    (func $tail_call_host (param i32) (result i32 i64) (return_call $host_pair (local.get 0)))

    (func $vectors (param v128 i32) (result v128)
        (local.get 0)
        (loop $again (param v128) (result v128)
            (i32x4.add (local.get 0))
            (br_if $again (i32.load8_u offset=3 (local.get 1)))))

    (func $bulk (param i32)
        (memory.copy (local.get 0) (i32.const 0) (local.get 0))
        (memory.fill (local.get 0) (i32.const 0) (i32.const 64))
        (drop (memory.grow (local.get 0)))
        (drop (table.get (local.get 0)))))"#;

#[test]
fn every_metering_and_optimisation_level_compiles_every_kind_of_control() {
    let module = wasm(CONTROL);
    for (fuel, epochs) in METERINGS {
        for opt_level in [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize] {
            let options = CompilerOptions { fuel, epochs, opt_level, ..CompilerOptions::default() };
            let compiler = Compiler::new(options).unwrap();
            let artifact = compiler.compile(&module, &()).unwrap();
            assert_eq!(artifact.info.code.len(), 10);
            assert_eq!(&artifact.settings, compiler.settings());
            assert_eq!((artifact.settings.fuel, artifact.settings.epochs), (fuel, epochs));
        }
    }
}

#[test]
fn code_is_the_same_in_every_compilation() {
    // Enough functions that the pool's threads take turns.
    let mut many = String::from("(module (memory 1) (table 1 funcref)");
    for i in 0..200 {
        write!(
            many,
            "(func $f{i} (param i32) (result i32) (local i32 i64 f64)
                (loop (br_if 0 (i32.load offset={i} (local.get 0))))
                (block (block (block (br_table 0 1 0 2 1 (local.get 0)))))
                (i32.add (call $f{} (local.get 0)) (call_indirect (result i32) (i32.const 0))))",
            (i * 7 + 1) % 200
        )
        .unwrap();
    }
    many.push(')');
    for module in [wasm(CONTROL), wasm(&many)] {
        for (fuel, epochs) in METERINGS {
            let options = CompilerOptions { fuel, epochs, ..CompilerOptions::default() };
            let serial = CompilerOptions { parallel: false, ..options.clone() };
            let first = Compiler::new(serial).unwrap().compile(&module, &()).unwrap();
            for _ in 0..3 {
                let again = Compiler::new(options.clone()).unwrap().compile(&module, &()).unwrap();
                assert!(again == first, "fuel {fuel}, epochs {epochs}");
            }
        }
    }
}

#[test]
fn functions_are_aligned_and_call_each_other() {
    let module = wasm("(module (func $a) (func (call $a) (call $b)) (func $b (call $a)))");
    let artifact = calling_compiler(false, false).compile(&module, &()).unwrap();
    let code = &artifact.info.code;
    assert_eq!(artifact.text.len(), code[2].end as usize);
    for pair in code.windows(2) {
        assert_eq!(pair[1].start % 16, 0);
        let between = &artifact.text[pair[0].end as usize..pair[1].start as usize];
        assert!(between.iter().all(|&byte| byte == 0xcc));
    }
    let callees = |defined: usize| -> Vec<u32> {
        let calls = rows(&artifact, defined).into_iter().filter(|row| row.kind == RowKind::Call);
        calls
            .map(|row| {
                let returns = (code[defined].start + row.native.0) as usize;
                assert_eq!(artifact.text[returns - 5], 0xe8, "call rel32");
                let bytes = artifact.text[returns - 4..returns].try_into().unwrap();
                (returns as u32).wrapping_add_signed(i32::from_le_bytes(bytes))
            })
            .collect()
    };
    assert_eq!(callees(0), []);
    assert_eq!(callees(1), [code[0].start, code[2].start]);
    assert_eq!(callees(2), [code[0].start]);
}

#[test]
fn only_functions_that_call_or_have_large_frames_test_the_stack() {
    let mut large = String::from("(func (param i32) (result v128)");
    large.push_str(&"(local v128)".repeat(300));
    for i in 0..300 {
        write!(large, "(local.set {} (v128.load offset={} (local.get 0)))", i + 1, 16 * i).unwrap();
    }
    large.push_str("(local.get 1)");
    for i in (0..300).rev() {
        write!(large, "(f32x4.mul (local.get {}))", i + 1).unwrap();
    }
    large.push(')');
    let module = wasm(&format!(
        "(module (memory 1)
            (func (param i32) (loop (br_if 0 (i32.load (local.get 0)))))
            (func $calls (call $calls))
            (func $tail_calls (return_call $tail_calls))
            {large})"
    ));
    for (fuel, epochs) in METERINGS {
        let artifact = compiler(fuel, epochs).compile(&module, &()).unwrap();
        let tests: Vec<bool> = (0..4)
            .map(|defined| {
                let start = WasmPc(artifact.info.bodies[defined].start);
                let overflow = (start, trap(Trap::StackOverflow, 0));
                rows(&artifact, defined).iter().any(|row| (row.wasm_pc, row.kind) == overflow)
            })
            .collect();
        assert_eq!(tests, [false, true, true, true], "fuel {fuel}, epochs {epochs}");
    }
}

/// What the charges in the IR of a module's first function add to the counter, in their order.
fn charges(module: &[u8], costs: &OperatorCosts) -> Vec<i64> {
    let options = CompilerOptions {
        fuel: true,
        costs: costs.clone(),
        opt_level: OptLevel::None,
        ..CompilerOptions::default()
    };
    let (clif, _) = Compiler::new(options).unwrap().disassemble(module, 0).unwrap();
    let mut amounts = Vec::new();
    for (line, next) in clif.lines().zip(clif.lines().skip(1)) {
        if let Some((_, amount)) = line.split_once("iconst.i64 ")
            && next.contains("iadd")
        {
            // Large numbers are in groups of four hexadecimal digits.
            let amount = amount.replace('_', "");
            amounts.push(match amount.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16).unwrap(),
                None => amount.parse().unwrap(),
            });
        }
    }
    // A checkpoint's cold block takes its charge back, and charges again.
    let checkpoints = clif.matches(" cold:").count();
    assert_eq!(amounts.len() + 2 * checkpoints, clif.matches("set_pinned_reg").count(), "{clif}");
    amounts
}

#[test]
fn what_is_executed_in_any_case_is_charged_at_once() {
    let module = wasm(
        r#"(module (func (param i32) (result i32)
            (local.get 0)
            (block (drop (i32.const 1)) (nop))
            (i32.add (i32.const 3))
            (block (br_if 0 (local.get 0)) (nop))
            (return (i32.add (i32.const 4)))))"#,
    );
    // Entry, get, const, const, add, get, br_if; const, add behind the block. Nothing in between.
    let mut costs = OperatorCosts::default();
    assert_eq!(charges(&module, &costs), [7 + 2]);
    costs.set("i32.add", 5_000).unwrap().set("function entry", 50).unwrap();
    costs.set("nop", 7).unwrap().set("return", 3).unwrap().set("end", 1).unwrap();
    // The first `nop` and `end` are in the first run; the second ones are a run of their own.
    assert_eq!(charges(&module, &costs), [50 + 5 + 7 + 1 + 5_000 + (1 + 5_000 + 3), 7 + 1]);
    assert_eq!(charges(&module, &OperatorCosts::free()), []);
}

#[test]
fn of_two_arms_the_cheaper_is_charged_before_them() {
    let module = wasm(
        r#"(module (func (param i32) (result i32)
            (if (local.get 0)
                (then (drop (i32.const 1)) (drop (i32.const 2)))
                (else (drop (i32.const 3))))
            (i32.const 4)))"#,
    );
    // Entry, get, if, and one constant of either arm, and the last one; the dearer arm's rest.
    assert_eq!(charges(&module, &OperatorCosts::default()), [3 + 1 + 1, 1]);
}

#[test]
fn a_round_of_a_loop_is_charged_at_once_and_the_way_out_gives_back() {
    let module = wasm(
        r#"(module (func (param i32) (result i32)
            (block $out
                (loop $again
                    (br_if $out (local.get 0))
                    (drop (i32.const 1)) (drop (i32.const 2))
                    (br $again)))
            (i32.const 4)))"#,
    );
    // The entry. Get and `br_if`, two constants and `br`. On the way out these three were not
    // executed, and the constant behind will be.
    assert_eq!(charges(&module, &OperatorCosts::default()), [1, 2 + 3, -3 + 1]);
}

#[test]
fn nothing_is_charged_ahead_of_a_call_or_a_checkpoint() {
    let module = wasm(
        r#"(module (func $f (param i32)
            (if (local.get 0) (then (call $f (i32.const 1))))
            (drop (i32.const 2))
            (block (br_if 0 (local.get 0)) (loop (drop (i32.const 3))))
            (drop (i32.const 4))))"#,
    );
    let behind = 3 + 1; // constant, get, `br_if`; and the last constant, if the branch is taken
    let arm = 2; // constant, call
    let expected = [
        3 + arm,      // entry, get, `if`, and the arm: it is exact at the call
        behind,       // in the arm, behind the call
        behind - arm, // on the way around the arm
        -1,           // on the way to the loop, before its checkpoint: without the last constant
        1 + 1,        // in the loop: its constant and the last one
    ];
    assert_eq!(charges(&module, &OperatorCosts::default()), expected);
}

#[test]
fn a_table_of_100_000_labels_compiles() {
    let labels = |n: usize| -> String {
        let mut labels = String::new();
        for i in 0..n {
            write!(labels, " {}", (i * 7) % 4).unwrap();
        }
        labels
    };
    let module = wasm(&format!(
        "(module
            (func (param i32) (result i32) (local i32 i64 f32)
                (local.set 1 (local.get 0))
                (block (block (loop
                    (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                    (block (br_table {0} (local.get 0))))))
                (local.get 1))
            (func (param i32) (result i32)
                (block (result i32) (block (result i32) (block (result i32) (block (result i32)
                    (br_table {0} (local.get 0) (local.get 0)))))
                )))",
        labels(100_000).replace('3', "2")
    ));
    let artifact = compiler(true, true).compile(&module, &()).unwrap();
    // A table of 32-bit entries each, and little else.
    for code in &artifact.info.code {
        assert!((400_000..600_000).contains(&code.len()), "{}", code.len());
    }
}

#[test]
fn nesting_of_5_000_constructs_compiles() {
    const DEPTH: usize = 5_000;
    let inside = "local.get 0 local.get 0 br_if 4998 local.get 0 br_if 17";
    for (open, inside, close) in [
        ("block (result i32)", inside, "end"),
        ("loop (result i32)", "local.get 0", "end"),
        ("local.get 0 if (result i32)", inside, "else local.get 0 end"),
        ("unreachable block (result i32)", "unreachable", "end"),
    ] {
        let (open, close) = (format!("{open} ").repeat(DEPTH), format!("{close} ").repeat(DEPTH));
        let module =
            wasm(&format!("(module (func (param i32) (result i32) {open}{inside} {close}))"));
        compiler(true, true).compile(&module, &()).unwrap();
    }
}

#[test]
fn errors_name_the_first_bad_function_and_the_offset() {
    let module = wasm(
        r#"(module (func) (func $good (result i32) i32.const 0)
            (func $bad (result i32) i64.const 0x77) (func $worse (result i32) f32.const 0))"#,
    );
    let at = position(&module, &[0x42, 0xf7, 0]);
    for parallel in [true, false] {
        let options = CompilerOptions { parallel, ..CompilerOptions::default() };
        let compiler = Compiler::new(options).unwrap();
        let compiled = compiler.compile(&module, &()).unwrap_err();
        let validated = compiler.validate(&module).unwrap_err();
        for error in [compiled, validated] {
            let message = format!("{error:#}");
            assert!(message.contains("function 2 (`bad`)"), "{message}");
            assert!(message.contains("type mismatch"), "{message}");
            // Found at the `end` behind the constant.
            assert!(message.contains(&format!("(at offset {:#x})", at.0 + 3)), "{message}");
        }
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let good = wasm("(module (func (block (nop))))");
    let body = position(&good, &[0x02, 0x40, 0x01, 0x0b, 0x0b]).0 as usize;
    let with = |bytes: [u8; 5]| {
        let mut module = good.clone();
        module[body..body + 5].copy_from_slice(&bytes);
        module
    };
    let compiler = compiler(true, false);
    compiler.compile(&good, &()).unwrap();
    for bytes in [
        [0x02, 0x40, 0x01, 0x01, 0x0b], // the function is not ended
        [0x01, 0x0b, 0x01, 0x01, 0x0b], // operators after the end
        [0x02, 0x40, 0x05, 0x0b, 0x0b], // `else` of a block
        [0x0c, 0x01, 0x01, 0x01, 0x0b], // a label that is not there
        [0x10, 0x05, 0x01, 0x01, 0x0b], // a function that is not there
        [0x20, 0x00, 0x1a, 0x01, 0x0b], // a local that is not there
        [0xff, 0x01, 0x01, 0x01, 0x0b], // no operator
        [0x06, 0x40, 0x01, 0x0b, 0x0b], // `try`: a proposal that is not supported
    ] {
        let module = with(bytes);
        let message = format!("{:#}", compiler.compile(&module, &()).unwrap_err());
        assert!(message.contains("function 0"), "{bytes:02x?}: {message}");
        assert!(message.contains("at offset 0x"), "{bytes:02x?}: {message}");
        assert!(compiler.validate(&module).is_err(), "{bytes:02x?}");
    }
    for cut in body - 4..good.len() {
        assert!(compiler.compile(&good[..cut], &()).is_err(), "cut at {cut}");
    }
}

#[test]
fn locals_that_are_not_there_are_refused_wherever_the_liveness_of_others_is_asked_for() {
    // Liveness looks ahead: at the call and at the loop's header it sees what is not valid, before
    // validation has come to it. 5 is in the same word of a set as the one local, 65 is not.
    for local in [5, 65, 70_000] {
        for (at, write) in [
            (format!("(drop (local.get {local}))"), String::new()),
            (String::new(), format!("(local.set {local} (i32.const 1))")),
            (String::new(), format!("(drop (local.tee {local} (i32.const 1)))")),
        ] {
            let module = wasm(&format!(
                "(module (func $f (param i32)
                    (call $f (local.get 0))
                    {at}
                    (loop (call $f (local.get 0)) {write} (br 0))))"
            ));
            for frame_state in [FrameState::Live, FrameState::All, FrameState::Off] {
                for fuel in [false, true] {
                    let options = CompilerOptions { frame_state, fuel, ..Default::default() };
                    let compiler = Compiler::new(options).unwrap();
                    let message = format!("{:#}", compiler.compile(&module, &()).unwrap_err());
                    assert!(message.contains(&format!("unknown local {local}")), "{message}");
                }
            }
        }
    }
}

#[test]
fn trampolines_of_every_shape_compile_and_only_large_ones_test_the_stack() {
    use ValType::{ExternRef, F32, F64, FuncRef, I32, I64, V128};
    let all = [I32, I64, F32, F64, V128, FuncRef, ExternRef];
    let many = |n| all.into_iter().cycle().take(n);
    let ud2 = |text: &[u8]| text.windows(2).any(|bytes| bytes == [0x0f, 0x0b]);
    for (fuel, epochs) in METERINGS {
        let compiler = compiler(fuel, epochs);
        for (params, results) in [(0, 0), (1, 0), (0, 1), (7, 7), (100, 3), (3, 100), (100, 100)] {
            let ty = FuncType::new(many(params), many(results));
            let trampolines = compiler.trampolines(&ty).unwrap();
            assert!(!ud2(&trampolines.text), "{params} parameters, {results} results");
            assert_eq!(trampolines.host % 16, 0);
            assert_eq!(trampolines, compiler.trampolines(&ty).unwrap());
        }
        // The most that a function type can have.
        for (params, results) in [(1000, 0), (0, 1000), (1000, 1000)] {
            for ty in [
                FuncType::new(many(params), many(results)),
                FuncType::new(vec![V128; params], vec![V128; results]),
            ] {
                let trampolines = compiler.trampolines(&ty).unwrap();
                let host = trampolines.host as usize;
                assert!(!ud2(&trampolines.text[..host]), "entry, {params} and {results}");
                assert!(ud2(&trampolines.text[host..]), "host, {params} and {results}");
            }
        }
    }
}

#[test]
fn settings_tell_apart_what_code_depends_on() {
    let of = |options: CompilerOptions| Compiler::new(options).unwrap().settings().clone();
    let default = CompilerOptions::default;
    let mut costs = OperatorCosts::default();
    costs.set("i32.add", 2).unwrap();
    let base = of(default());
    assert_eq!(base.target, "x86_64-linux");
    assert!(base.flags.is_sorted());
    assert!(base.flags.contains(&"opt_level=speed".to_string()), "{:?}", base.flags);
    assert!(base.flags.iter().any(|flag| flag.starts_with("has_sse41=")));
    assert_eq!(base.costs, 0);
    // Costs bear on code only when it counts fuel.
    assert_eq!(of(CompilerOptions { costs: costs.clone(), ..default() }), base);
    assert_eq!(of(CompilerOptions { parallel: false, dwarf: false, ..default() }), base);
    let fuel = of(CompilerOptions { fuel: true, ..default() });
    assert!(fuel.mismatch(&base).is_some());
    assert!(of(CompilerOptions { fuel: true, costs, ..default() }).mismatch(&fuel).is_some());
    assert!(of(CompilerOptions { epochs: true, ..default() }).mismatch(&base).is_some());
    let none = of(CompilerOptions { opt_level: OptLevel::None, ..default() });
    assert!(none.mismatch(&base).is_some());
}

#[test]
fn progress_hears_of_every_function() {
    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize, std::sync::atomic::AtomicUsize);
    impl Progress for Count {
        fn functions(&self, total: usize) {
            self.0.fetch_add(total, std::sync::atomic::Ordering::Relaxed);
        }
        fn function_done(&self) {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let count = Count::default();
    compiler(false, false).compile(&wasm(CONTROL), &count).unwrap();
    assert_eq!((count.0.into_inner(), count.1.into_inner()), (10, 10));
}

#[test]
fn disassembly_is_of_the_function_asked_for() {
    let module =
        wasm(r#"(module (import "a" "b" (func)) (func) (func (result i64) i64.const 77))"#);
    let compiler = compiler(false, false);
    let (clif, asm) = compiler.disassemble(&module, 2).unwrap();
    assert!(clif.contains("function u0:2") && clif.contains("iconst.i64 77"), "{clif}");
    assert!(asm.contains("$0x4d"), "{asm}");
    for index in [0, 3] {
        let error = compiler.disassemble(&module, index).unwrap_err().to_string();
        assert!(error.contains(&format!("defines no function {index}")), "{error}");
    }
}

#[test]
fn a_compiler_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&compiler(false, false));
}
