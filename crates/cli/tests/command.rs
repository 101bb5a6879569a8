//! The command as its users meet it: what it prints, and what it exits with.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder for one test, and the command run in it.
struct Scene {
    dir: tempfile::TempDir,
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Scene {
    fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn stillframe(&self, args: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_stillframe"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let Output { status, stdout, stderr } = output;
        Ended {
            code: status.code().unwrap_or_else(|| panic!("{args:?} ended by a signal: {status}")),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

/// A WASI program that prints its arguments and environment, and exits with 3.
const PROGRAM: &str = r#"
    (module
      (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "args_sizes_get"
        (func $args_sizes (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_sizes_get"
        (func $environ_sizes (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_get"
        (func $environ_get (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (memory (export "memory") 1)
      (func $print
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.load (i32.const 20)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "_start")
        (drop (call $args_sizes (i32.const 16) (i32.const 20)))
        (drop (call $args_get (i32.const 64) (i32.const 1024)))
        (call $print)
        (drop (call $environ_sizes (i32.const 16) (i32.const 20)))
        (drop (call $environ_get (i32.const 64) (i32.const 1024)))
        (call $print)
        (call $proc_exit (i32.const 3))))
"#;

/// Functions to call, and ways to end.
const LIBRARY: &str = r#"
    (module
      (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))
      (func (export "pair") (param f64) (result f64 i64)
        (f64.neg (local.get 0)) (i64.const -1))
      (func $divide (export "divide") (param i32 i32) (result i32)
        (i32.div_s (local.get 0) (local.get 1)))
      (func $halve (export "halve") (param i32) (result i32)
        (call $divide (local.get 0) (i32.const 0)))
      (func (export "spin") (loop $forever (br $forever))))
"#;

#[test]
fn program_gets_its_arguments_and_its_exit_code_is_the_commands() {
    let scene = Scene::new();
    scene.write("prog.wat", PROGRAM);
    let ended = scene.stillframe(&["run", "--env", "K=V", "prog.wat", "--flag", "x"]);
    assert_eq!((ended.code, &*ended.stderr), (3, ""));
    assert_eq!(ended.stdout, "prog.wat\0--flag\0x\0K=V\0");
}

#[test]
fn invoked_function_prints_its_results() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    let ended = scene.stillframe(&["run", "--invoke", "add", "lib.wat", "40", "-2"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "38\n"));
    let ended = scene.stillframe(&["run", "--invoke", "pair", "lib.wat", "1.5"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "-1.5\n-1\n"));
}

#[test]
fn wrong_invocations_say_what_is_there() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    let ended = scene.stillframe(&["run", "--invoke", "sub", "lib.wat"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("it exports add, pair, divide, halve, spin"), "{}", ended.stderr);
    let ended = scene.stillframe(&["run", "--invoke", "add", "lib.wat", "1"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("takes 2 arguments, and 1 is given"), "{}", ended.stderr);
    let ended = scene.stillframe(&["run", "lib.wat"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("no '_start'"), "{}", ended.stderr);
}

#[test]
fn trap_has_a_name_a_backtrace_and_its_own_exit_code() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    let ended = scene.stillframe(&["run", "--invoke", "halve", "lib.wat", "1"]);
    assert_eq!((ended.code, &*ended.stdout), (134, ""));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "trap: IntegerDivisionByZero: integer divide by zero");
    assert_eq!(lines[1], "wasm backtrace, innermost first:");
    let frame = |line: &str, depth: &str, name: &str| {
        line.trim_start().starts_with(depth) && line.contains("0x") && line.ends_with(name)
    };
    assert!(frame(lines[2], "0: ", " - divide"), "{}", ended.stderr);
    assert!(frame(lines[3], "1: ", " - halve"), "{}", ended.stderr);
}

#[test]
fn limits_end_a_runaway_program() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    let ended = scene.stillframe(&["run", "--fuel", "100000", "--invoke", "spin", "lib.wat"]);
    assert_eq!(ended.code, 134);
    assert!(ended.stderr.starts_with("trap: OutOfFuel: "), "{}", ended.stderr);
    let ended = scene.stillframe(&["run", "--timeout", "50ms", "--invoke", "spin", "lib.wat"]);
    assert_eq!(ended.code, 134);
    assert!(ended.stderr.starts_with("trap: Interrupt: "), "{}", ended.stderr);
    let ended =
        scene.stillframe(&["run", "--timeout", "10m", "--invoke", "add", "lib.wat", "1", "2"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "3\n"));
}

#[test]
fn program_that_sleeps_through_its_timeout_is_ended() {
    let scene = Scene::new();
    // Subscribes to a clock event in an hour.
    scene.write(
        "sleep.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "poll_oneoff"
               (func $poll (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (func (export "_start")
               (i64.store (i32.const 24) (i64.const 3600000000000))
               (i32.store (i32.const 16) (i32.const 1))
               (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#,
    );
    let ended = scene.stillframe(&["run", "--timeout", "50ms", "sleep.wat"]);
    assert_eq!(ended.code, 134);
    assert!(ended.stderr.contains("waits in a host function"), "{}", ended.stderr);
}

/// With a loop of 5 units a round (get, const, sub, tee, br_if) after 1 for entering; the loop is
/// the first operator, at 0x1f: header 8, types 7, functions 4, exports 7, the code section's head 3,
/// the body's size and number of locals 2.
const COUNT: &str = r#"
    (module (func (export "f") (param i32)
      (loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0)))
"#;

#[test]
fn program_that_is_resumed_says_where_it_stands_and_ends_as_without() {
    let scene = Scene::new();
    scene.write("count.wat", COUNT);
    let run = |fuel: &str| {
        let ended = scene.stillframe(&[
            "run",
            "--fuel",
            fuel,
            "--resume",
            "--invoke",
            "f",
            "count.wat",
            "5",
        ]);
        assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
        ended.stderr
    };
    // Five rounds are 26 units; the loop is tested at 1, 6, 11, 16 and 21.
    assert_eq!(
        run("10"),
        "pause 1 after 11 units: 0x1f - <wasm function 0>\n\
         pause 2 after 21 units: 0x1f - <wasm function 0>\n\
         2 pauses, 26 units in all\n"
    );
    assert_eq!(
        run("21"),
        "pause 1 after 21 units: 0x1f - <wasm function 0>\n1 pause, 26 units in all\n"
    );
    // The last test is passed with one unit left; the rest is overdrawn, and counted.
    assert_eq!(run("22"), "0 pauses, 26 units in all\n");
    // Pieces that are smaller than a round are added up.
    let text = run("1");
    assert!(text.starts_with("pause 1 after 1 unit: 0x1f - "), "{text}");
    assert!(text.contains("\npause 5 after 21 units: "), "{text}");
    assert!(text.ends_with("\n5 pauses, 26 units in all\n"), "{text}");
}

#[test]
fn paused_programs_exit_and_trap_as_others_do() {
    let scene = Scene::new();
    scene.write("prog.wat", PROGRAM);
    scene.write("lib.wat", LIBRARY);
    let ended = scene.stillframe(&["run", "--fuel", "4", "--resume", "prog.wat", "x"]);
    assert_eq!((ended.code, &*ended.stdout), (3, "prog.wat\0x\0"), "{}", ended.stderr);
    // _start: entry 1, four calls of 3, two of 1 and one of 2. print, twice: entry 1, stores of 3 and
    // 4, a call of 5. 17 + 2 · 13.
    assert!(ended.stderr.ends_with(" pauses, 43 units in all\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);

    let ended =
        scene.stillframe(&["run", "--fuel", "4", "--resume", "--invoke", "halve", "lib.wat", "1"]);
    assert_eq!(ended.code, 134);
    // halve: entry 1, get const call 3; divide: entry 1, get get div 3. It has no checkpoint.
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "trap: IntegerDivisionByZero: integer divide by zero");
    assert_eq!((lines.len(), lines[4]), (5, "0 pauses, 8 units in all"), "{}", ended.stderr);
}

#[test]
fn many_pauses_are_few_lines_unless_all_are_wanted() {
    let scene = Scene::new();
    scene.write("count.wat", COUNT);
    let run = |flags: &[&str]| {
        let flags = [&["run", "--fuel", "5", "--resume"], flags].concat();
        let ended = scene.stillframe(&[&*flags, &["--invoke", "f", "count.wat", "3000"]].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stderr
    };
    // 3000 rounds are 15,001 units. Every test but the first, which finds 4 units left, finds none.
    let total = "2,999 pauses, 15,001 units in all";
    let text = run(&[]);
    let lines: Vec<&str> = text.lines().collect();
    assert!((12..30).contains(&lines.len()), "{text}");
    assert_eq!(lines[9], "pause 10 after 51 units: 0x1f - <wasm function 0>");
    assert_eq!(lines[lines.len() - 2], format!("{total}; it stood most often in:"));
    assert_eq!(lines[lines.len() - 1], "  100.0 %  <wasm function 0>");
    let text = run(&["--verbose"]);
    let lines: Vec<&str> = text.lines().collect();
    // Each is a line, and one for its only frame.
    assert_eq!((lines.len(), lines[2 * 2999]), (2 * 2999 + 1, total));
    assert_eq!(lines[2 * 2998], "pause 2,999 after 14,996 units:");
    assert_eq!(lines[2 * 2998 + 1].trim(), "0:     0x1f - <wasm function 0>");
}

#[test]
fn paused_program_ends_at_its_timeout() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    // With pieces of one unit the loop's only checkpoint finds no fuel, and never looks at epochs.
    for fuel in ["1", "1000", "1000000000000"] {
        let flags = ["run", "--fuel", fuel, "--resume", "--timeout", "50ms"];
        let ended = scene.stillframe(&[&flags[..], &["--invoke", "spin", "lib.wat"]].concat());
        assert_eq!(ended.code, 134);
        assert!(ended.stderr.contains("trap: Interrupt: "), "{}", ended.stderr);
        assert!(!ended.stderr.contains("waits in a host function"), "{}", ended.stderr);
    }
}

#[test]
fn initialization_is_paused_and_a_start_function_counted() {
    let scene = Scene::new();
    scene.write(
        "lib.wat",
        r#"(module
             (func $start nop)
             (func (export "_initialize") (local i32)
               (loop (br_if 0 (i32.eqz (local.tee 0 (i32.eqz (local.get 0)))))))
             (func (export "f"))
             (start $start))"#,
    );
    let ended = scene.stillframe(&["run", "--fuel", "1", "--resume", "--invoke", "f", "lib.wat"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // start 1. _initialize: 1, and one round of get eqz tee eqz br_if; its loop is tested at 1. f: 1.
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("pause 1 after 2 units: "), "{}", ended.stderr);
    assert_eq!(lines[lines.len() - 1], "1 pause, 8 units in all", "{}", ended.stderr);
}

#[test]
fn resuming_wants_fuel() {
    let scene = Scene::new();
    scene.write("count.wat", COUNT);
    let ended = scene.stillframe(&["run", "--resume", "--invoke", "f", "count.wat", "5"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--fuel <N>"), "{}", ended.stderr);
    let ended =
        scene.stillframe(&["run", "--fuel", "0", "--resume", "--invoke", "f", "count.wat", "5"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("at least 1"), "{}", ended.stderr);
}

#[test]
fn folders_are_there_under_their_guest_names_and_no_others() {
    let scene = Scene::new();
    fs::create_dir(scene.path("data")).unwrap();
    scene.write(
        "name.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
               (func $name (param i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write"
               (func $fd_write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start") (local $errno i32)
               (local.set $errno (call $name (i32.const 3) (i32.const 64) (i32.const 6)))
               (if (local.get $errno) (then (call $proc_exit (local.get $errno))))
               (i32.store (i32.const 0) (i32.const 64))
               (i32.store (i32.const 4) (i32.const 6))
               (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let ended = scene.stillframe(&["run", "--dir", "data::/guest", "name.wat"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "/guest"), "{}", ended.stderr);
    assert_ne!(scene.stillframe(&["run", "name.wat"]).code, 0);
    let ended = scene.stillframe(&["run", "--dir", "nowhere", "name.wat"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("nowhere"), "{}", ended.stderr);
}

#[test]
fn files_that_are_no_modules_are_refused_with_a_reason() {
    let scene = Scene::new();
    let refused = |name: &str, contents: &[u8]| {
        scene.write(name, contents);
        let ended = scene.stillframe(&["run", name]);
        assert_eq!(ended.code, 1, "{name}");
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(name),
            "{}",
            ended.stderr
        );
        ended.stderr
    };
    refused("empty.wasm", b"");
    refused("noise.wasm", b"\xff\xfe\x00");
    refused("cut.wasm", b"\0asm\x01\0\0\0\x01\x05");
    refused("text.wat", b"(module (func (result i32)))");
    let said = refused("typo.wat", b"(module\n  (func $f\n    i32.addd))");
    assert!(said.contains("3:5") || said.contains(":3"), "no line: {said}");
    let ended = scene.stillframe(&["run", "missing.wasm"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("missing.wasm"), "{}", ended.stderr);
}

#[test]
fn compiled_file_runs_as_the_module_does() {
    let scene = Scene::new();
    scene.write("prog.wat", PROGRAM);
    let ended = scene.stillframe(&["compile", "prog.wat", "-o", "prog.elf"]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(fs::read(scene.path("prog.elf")).unwrap().starts_with(b"\x7fELF"));
    let ended = scene.stillframe(&["run", "prog.elf", "x"]);
    assert_eq!((ended.code, &*ended.stdout), (3, "prog.elf\0x\0"), "{}", ended.stderr);
}

#[test]
fn compiled_file_takes_the_limits_that_it_was_compiled_for() {
    let scene = Scene::new();
    scene.write("lib.wat", LIBRARY);
    let compile = |out: &str, flags: &[&str]| {
        let ended = scene.stillframe(&[&["compile", "lib.wat", "-o", out], flags].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    compile("bare.elf", &[]);
    compile("metered.elf", &["--fuel", "--epochs"]);
    let spin = |flags: &[&str], file: &str| {
        scene.stillframe(&[&["run"], flags, &["--invoke", "spin", file]].concat())
    };
    assert_eq!(spin(&["--fuel", "1000"], "metered.elf").code, 134);
    assert_eq!(spin(&["--timeout", "50ms"], "metered.elf").code, 134);
    assert_eq!(spin(&["--fuel", "9", "--resume", "--timeout", "50ms"], "metered.elf").code, 134);
    let ended = spin(&["--fuel", "1000"], "bare.elf");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("compiled with fuel false"), "{}", ended.stderr);
    // Without limits, code that could be limited just runs.
    let ended = scene.stillframe(&["run", "--invoke", "add", "metered.elf", "1", "2"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "3\n"), "{}", ended.stderr);
}

#[test]
fn damaged_compiled_file_is_refused() {
    let scene = Scene::new();
    scene.write("prog.wat", PROGRAM);
    assert_eq!(scene.stillframe(&["compile", "prog.wat", "-o", "prog.elf"]).code, 0);
    let mut bytes = fs::read(scene.path("prog.elf")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.write("prog.elf", bytes);
    let ended = scene.stillframe(&["run", "prog.elf"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("damaged"), "{}", ended.stderr);
}

#[test]
fn scripts_are_counted_and_failures_located() {
    let scene = Scene::new();
    scene.write("good.wast", "(module (func (export \"f\") (result i32) (i32.const 1)))\n(assert_return (invoke \"f\") (i32.const 1))");
    scene.write("bad.wast", "(module (func (export \"f\") (result i32) (i32.const 1)))\n\n  (assert_return (invoke \"f\") (i32.const 2))");
    let ended = scene.stillframe(&["wast", "good.wast"]);
    assert_eq!(
        (ended.code, &*ended.stdout),
        (0, "good.wast: 2 passed, 0 failed\n2 passed, 0 failed\n")
    );
    let ended = scene.stillframe(&["wast", "good.wast", "bad.wast"]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stdout,
        "good.wast: 2 passed, 0 failed\nbad.wast: 1 passed, 1 failed\n3 passed, 1 failed\n"
    );
    assert_eq!(ended.stderr, "bad.wast:3:4: assert_return: expected i32 2, got i32 1\n");
}

#[test]
fn script_that_cannot_be_read_fails() {
    let scene = Scene::new();
    scene.write("bad.wast", "(module)\n(assert_nothing)");
    let ended = scene.stillframe(&["wast", "bad.wast"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("bad.wast:2:2: script: "), "{}", ended.stderr);
    scene.write("noise.wast", b"\xff\xfe");
    let ended = scene.stillframe(&["wast", "noise.wast"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("noise.wast is not UTF-8"), "{}", ended.stderr);
}

#[test]
fn help_names_every_command() {
    let scene = Scene::new();
    let ended = scene.stillframe(&["--help"]);
    assert_eq!(ended.code, 0);
    for command in ["run", "wast", "compile", "demo", "Examples:"] {
        assert!(ended.stdout.contains(command), "{}", ended.stdout);
    }
}

#[test]
fn demo_shows_the_main_job() {
    let ended = Scene::new().stillframe(&["demo"]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    for shown in [
        "OutOfFuel",
        "Suspend",
        "Interrupt",
        "IntegerDivisionByZero",
        "on_item",
        "total  i32  1275",
    ] {
        assert!(ended.stdout.contains(shown), "{shown} is missing:\n{}", ended.stdout);
    }
}
