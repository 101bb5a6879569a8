//! A program that was stopped, seen with the command: frozen stacks, Ctrl-C, core dumps.

mod scene;

use scene::{BUSY, Scene};
use std::fs;
use std::time::{Duration, Instant};

/// Values of all types, and operands below a call and a trap. `$leaf` is function 0.
const VALUES: &str = r#"
    (module $values
      (table 1 funcref)
      (elem (i32.const 0) $leaf)
      (func $leaf (param $whole i32) (param i32) (result i32)
        (local $pointer i32) (local $large i64) (local $single f32) (local $double f64)
        (local $lanes v128) (local $none externref) (local $function funcref)
        (local.set $pointer (i32.const 65528))
        (local.set $large (i64.const -1))
        (local.set $single (f32.const 0x1p100))
        (local.set $double (f64.const 0.1))
        (local.set $lanes (v128.const i32x4 1 2 3 4))
        (local.set $function (table.get (i32.const 0)))
        (f64.const -0.0)
        (i32.const 5)
        (unreachable))
      (func $outer (export "outer") (param $x i32) (result i32)
        (i32.add (i32.const 3) (call $leaf (i32.const 100) (local.get $x))))
      (func $deep (export "deep") (param $depth i32) (result i32)
        (if (result i32) (i32.eqz (local.get $depth))
          (then (call $leaf (i32.const 1) (i32.const 2)))
          (else
            (i32.add (i32.const 1) (call $deep (i32.sub (local.get $depth) (i32.const 1)))))))
      (func $divide (export "divide") (param $a i32) (param $b i32) (result i32)
        (i32.div_s (local.get $a) (local.get $b))))
"#;

#[test]
fn trap_shows_functions_locals_and_operands() {
    let scene = Scene::new(&[("values.wat", VALUES)]);
    let ended = scene.stillframe(&["run", "--frames", "--invoke", "outer", "values.wat", "7"]);
    assert_eq!((ended.code, &*ended.stdout), (134, ""));
    assert_eq!(
        ended.words(),
        [
            "trap: UnreachableCodeReached: unreachable",
            "frozen stack, innermost first:",
            "0 values!leaf",
            "whole i32 100",
            "local 1 i32 7",
            "pointer i32 65528 (0xfff8)",
            "large i64 -1",
            // 2^100, and the shortest text that is read as it.
            "single f32 1.2676506e30",
            "double f64 0.1",
            "lanes v128 0x00000004000000030000000200000001",
            "none externref null",
            "function funcref func 0",
            "operand 0 f64 -0.0",
            "operand 1 i32 5",
            "1 values!outer",
            "x i32 7",
            "operand 0 i32 3",
        ],
        "{}",
        ended.stderr
    );
    // In columns, and not coloured: standard error is no terminal.
    assert!(ended.stderr.contains("\n                    whole      i32        100\n"));
    assert!(ended.stderr.contains("\n                    operand 0  f64        -0.0\n"));
    assert!(!ended.stderr.contains('\x1b'));
}

#[test]
fn source_positions_stand_between_functions_and_values() {
    let source = "(module\n (func (export \"f\") (param $n i32)\n  i32.const 1\n  unreachable))";
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Full);
    let wasm = parser.parse_str(Some("guest.wat".as_ref()), source).unwrap();
    let scene = Scene::new(&[]);
    fs::write(scene.path("guest.wasm"), wasm).unwrap();
    let ended = scene.stillframe(&["run", "--frames", "--invoke", "f", "guest.wasm", "6"]);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    // `unreachable` is on line 4, behind two spaces.
    assert!(lines[3].starts_with("                  at "), "{}", ended.stderr);
    assert!(lines[3].ends_with("guest.wat:4:3"), "{}", ended.stderr);
    assert_eq!(lines[4].trim(), "n          i32  6");
    assert_eq!(lines[5].trim(), "operand 0  i32  1");
    assert_eq!(lines.len(), 6, "{}", ended.stderr);
}

#[test]
fn values_that_are_not_live_are_counted_where_the_program_is_to_be_fast() {
    let scene = Scene::new(&[("values.wat", VALUES)]);
    let flags = ["run", "--frames=live", "--invoke", "outer", "values.wat", "7"];
    let ended = scene.stillframe(&flags);
    let words = ended.words();
    // Nothing is read after `unreachable`, nor `$x` after its call; operands always may be.
    let frame = words.iter().position(|line| line == "1 values!outer").unwrap();
    assert_eq!(words[frame + 1..], ["operand 0 i32 3", "(1 local not live here)"]);
    assert!(words[frame - 1].ends_with("locals not live here)"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("local 1"), "{}", ended.stderr);
}

#[test]
fn trap_of_the_processor_shows_the_stack_too() {
    let scene = Scene::new(&[("values.wat", VALUES)]);
    let flags = ["run", "--frames", "--invoke", "divide", "values.wat", "1", "0"];
    let ended = scene.stillframe(&flags);
    let words = ended.words();
    assert_eq!(words[0], "trap: IntegerDivisionByZero: integer divide by zero");
    assert_eq!(words[2], "0 values!divide");
    // Each is known or says that it is not.
    assert!(words[3] == "a i32 1" || words[3] == "a i32 -", "{}", ended.stderr);
    assert!(words[4] == "b i32 0" || words[4] == "b i32 -", "{}", ended.stderr);
    assert_eq!(words.len(), 5);
}

#[test]
fn deep_stacks_are_shown_from_both_ends() {
    let scene = Scene::new(&[("values.wat", VALUES)]);
    let ended = scene.stillframe(&["run", "--frames", "--invoke", "deep", "values.wat", "5000"]);
    let words = ended.words();
    // leaf, and deep for 0 to 5000: 5002 frames, of which 64 and 16 are shown.
    assert!(words.iter().any(|line| line == "(4,922 frames left out)"), "{}", ended.stderr);
    let of = |depth: usize| {
        let frame = words.iter().position(|line| *line == format!("{depth} values!deep"));
        frame.map(|at| words[at + 1].clone())
    };
    assert_eq!(of(1).as_deref(), Some("depth i32 0"));
    assert_eq!(of(63).as_deref(), Some("depth i32 62"));
    assert_eq!(of(64), None);
    assert_eq!(of(4985), None);
    assert_eq!(of(4986).as_deref(), Some("depth i32 4985 (0x1379)"));
    assert_eq!(of(5001).as_deref(), Some("depth i32 5000 (0x1388)"));
}

/// A loop of 5 units a round (get, const, add, set, br) after 1 for entering.
const SPIN: &str = r#"
    (module (func $spin (export "spin") (local $n i64)
      (loop (local.set $n (i64.add (local.get $n) (i64.const 1))) (br 0))))
"#;

#[test]
fn program_without_fuel_shows_where_it_stands() {
    let scene = Scene::new(&[("spin.wat", SPIN)]);
    let flags = ["run", "--frames", "--fuel", "1000", "--invoke", "spin", "spin.wat"];
    let ended = scene.stillframe(&flags);
    assert_eq!(ended.code, 134);
    // The loop is tested at 1, 6, 11, ... 1001, which is after 200 rounds.
    let stack = ["frozen stack, innermost first:", "0 spin", "n i64 200"];
    assert_eq!(ended.words()[1..], stack, "{}", ended.stderr);
}

#[test]
fn pauses_show_the_stack_if_everything_is_wanted() {
    let scene = Scene::new(&[("spin.wat", SPIN)]);
    let flags = ["run", "--frames", "--fuel", "1000000", "--resume", "--verbose"];
    let flags = [&flags[..], &["--timeout", "500ms", "--invoke", "spin", "spin.wat"]].concat();
    let ended = scene.stillframe(&flags);
    assert_eq!(ended.code, 134);
    let words = ended.words();
    // 1,000,001 = 1 + 5 · 200,000, and 2,000,001 twice as many rounds.
    let first = ["pause 1 after 1,000,001 units:", "0 spin", "n i64 200000 (0x30d40)"];
    let second = ["pause 2 after 2,000,001 units:", "0 spin", "n i64 400000 (0x61a80)"];
    assert_eq!(words[..6], [first, second].concat(), "{}", ended.stderr);
    let end = words.iter().position(|line| line == "trap: Interrupt: interrupt").unwrap();
    let stack = ["frozen stack, innermost first:", "0 spin"];
    assert_eq!(words[end + 1..end + 3], stack, "{}", ended.stderr);
}

#[test]
fn interrupt_shows_the_stack_and_ends_the_program() {
    let scene = Scene::new(&[("busy.wat", BUSY)]);
    let pieces: [&[&str]; 3] = [&[], &["--timeout", "10m"], &["--fuel", "100000", "--resume"]];
    for flags in pieces {
        let flags = [&["run", "--frames"], flags].concat();
        let flags =
            [&flags[..], &["--invoke", "count", "busy.wat", "1000000000000000000"]].concat();
        let ended = scene.interrupted(&flags, &[]);
        assert_eq!(ended.code, 130, "{}", ended.stderr);
        let words = ended.words();
        let at = words.iter().position(|line| line == "interrupted: stopped by SIGINT");
        let at = at.unwrap_or_else(|| panic!("{}", ended.stderr));
        assert_eq!(words[at + 1..at + 3], ["frozen stack, innermost first:", "0 busy!count"]);
        assert!(words[at + 3].starts_with("from i64 1000"), "{}", ended.stderr);
        assert_eq!(words[at + 4], "seven i32 7");
    }
}

#[test]
fn program_that_waits_is_ended_by_an_interrupt_or_at_once_by_two() {
    let scene = Scene::new(&[("busy.wat", BUSY)]);
    let flags = ["run", "--frames", "--invoke", "wait", "busy.wat"];
    let ended = scene.interrupted(&flags, &[]);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let started = Instant::now();
    let ended = scene.interrupted(&flags, &[Duration::from_millis(50)]);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn compiled_file_shows_what_it_keeps() {
    let scene = Scene::new(&[("spin.wat", SPIN)]);
    let ended = scene.stillframe(&["compile", "spin.wat", "-o", "spin.elf", "--fuel"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // Without epochs in it Ctrl-C ends it as any program.
    let flags = ["run", "--frames", "--fuel", "1000", "--invoke", "spin", "spin.elf"];
    let ended = scene.stillframe(&flags);
    assert_eq!(ended.words()[2..], ["0 spin", "n i64 200"], "{}", ended.stderr);
}

#[test]
fn what_cannot_be_written_is_said_before_the_program_runs() {
    let scene = Scene::new(&[("busy.wat", BUSY)]);
    let refused = |flags: &[&str], why: &str| {
        let flags = [&["run"], flags, &["--invoke", "count", "busy.wat", "0"]].concat();
        let ended = scene.stillframe(&flags);
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    };
    refused(&["--profile", "nowhere/out.svg"], "cannot write nowhere/out.svg");
    refused(&["--profile", "out.png"], "use .svg");
    refused(&["--profile", "out.svg", "--profile-interval", "0"], "at least 1");
    refused(&["--coredump", "nowhere/core"], "cannot write nowhere/core");
    assert_eq!(fs::read_dir(scene.dir.path()).unwrap().count(), 1, "nothing was left behind");
}

/// Stores 0x01020304 at 16 and traps in `$inner`, which is function 0; its body is at least as long
/// as to its `unreachable`.
const CRASH: &str = r#"
    (module $crash
      (memory 2 9)
      (global $counter (mut i64) (i64.const 41))
      (func $inner (param $x i32) (result i32) (local $half f64)
        (local.set $half (f64.const 0.5))
        (i32.store (i32.const 16) (i32.const 0x01020304))
        (global.set $counter (i64.const 42))
        (i32.const 5)
        (unreachable))
      (func $outer (export "outer") (param i64) (result i32)
        (i32.add (i32.const 3) (call $inner (i32.const -2)))))
"#;

#[test]
fn core_dump_has_frames_with_values_memory_and_globals() {
    use wasmparser::{CoreDumpValue, KnownCustom, Parser, Payload};
    let scene = Scene::new(&[("crash.wat", CRASH)]);
    let flags = ["run", "--coredump", "core.wasm", "--invoke", "outer", "crash.wat", "9"];
    let ended = scene.stillframe(&flags);
    assert_eq!(ended.code, 134);
    assert!(ended.stderr.contains("wasm backtrace"), "{}", ended.stderr);
    let said = ended.stderr.lines().last().unwrap();
    assert_eq!(said, "core dump with 2 frames: core.wasm");

    let bytes = fs::read(scene.path("core.wasm")).unwrap();
    let (mut stacks, mut data, mut memory) = (Vec::new(), Vec::new(), None);
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            Payload::CustomSection(section) => {
                if let KnownCustom::CoreDumpStack(stack) = section.as_known() {
                    stacks.push(stack);
                }
            }
            Payload::MemorySection(memories) => {
                memory = memories.into_iter().next().map(|ty| ty.unwrap());
            }
            Payload::DataSection(segments) => {
                data.extend(segments.into_iter().map(|data| data.unwrap().data.to_vec()));
            }
            _ => {}
        }
    }
    let memory = memory.unwrap();
    assert_eq!((memory.initial, memory.maximum), (2, Some(9)));
    // Little-endian, and nothing else is not zero.
    assert_eq!(data, [[4, 3, 2, 1]]);
    let [stack] = &stacks[..] else { panic!("{} stacks", stacks.len()) };
    assert_eq!((stack.name, stack.frames.len()), ("main", 2));
    let (inner, outer) = (&stack.frames[0], &stack.frames[1]);
    assert_eq!((inner.funcidx, outer.funcidx), (0, 1));
    use CoreDumpValue::{F64, I32, I64};
    assert!(matches!(inner.locals[..], [I32(-2), F64(half)] if half.bits() == 0.5f64.to_bits()));
    assert!(matches!(inner.stack[..], [I32(5)]), "{:?}", inner.stack);
    assert!(matches!(outer.locals[..], [I64(9)]), "{:?}", outer.locals);
    assert!(matches!(outer.stack[..], [I32(3)]), "{:?}", outer.stack);

    let ended = scene.stillframe(&["inspect", "core.wasm", "--module", "crash.wat"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for shown in ["inner", "outer", "half", "counter", "42", "0.5", "4 bytes are in the dump"] {
        assert!(ended.stdout.contains(shown), "{shown} is missing:\n{}", ended.stdout);
    }
}

#[test]
fn core_dump_is_written_at_an_interrupt_and_without_fuel() {
    let scene = Scene::new(&[("busy.wat", BUSY), ("spin.wat", SPIN)]);
    let flags = ["run", "--coredump", "core.wasm", "--invoke", "count", "busy.wat", "0"];
    let ended = scene.interrupted(&flags, &[]);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(ended.stderr.ends_with("core dump with 1 frame: core.wasm\n"), "{}", ended.stderr);
    let inspected = scene.stillframe(&["inspect", "core.wasm", "--module", "busy.wat"]);
    assert!(inspected.stdout.contains("seven"), "{}", inspected.stdout);

    let flags = ["run", "--coredump", "spin.core", "--fuel", "1000", "--invoke", "spin"];
    let ended = scene.stillframe(&[&flags[..], &["spin.wat"]].concat());
    assert_eq!(ended.code, 134);
    let inspected = scene.stillframe(&["inspect", "spin.core"]);
    assert!(inspected.stdout.contains("i64  200"), "{}", inspected.stdout);
}

#[test]
fn program_that_ends_well_leaves_no_core_dump() {
    let exit = r#"
        (module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (func (export "_start") (call $exit (i32.const 3))))"#;
    let scene = Scene::new(&[("exit.wat", exit)]);
    let pieces: [&[&str]; 2] = [&[], &["--fuel", "9", "--resume"]];
    for flags in pieces {
        let flags = [&["run", "--frames", "--coredump", "core"], flags, &["exit.wat"]].concat();
        let ended = scene.stillframe(&flags);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(!ended.stderr.contains("frozen"), "{}", ended.stderr);
        assert!(!scene.path("core").exists());
    }
}
