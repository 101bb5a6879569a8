//! `stillframe inspect` as its users meet it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use stillframe::coredump::{CoreDump, CoreValue, Frame, GlobalValue, Instance, Memory, Thread};

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    /// Exit code, standard output, standard error.
    fn stillframe(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_stillframe"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("it must not end by a signal");
        (code, text(output.stdout), text(output.stderr))
    }

    /// What `inspect` prints, which must succeed.
    fn inspect(&self, args: &[&str]) -> String {
        let (code, out, err) = self.stillframe(&[&["inspect"], args].concat());
        assert_eq!((code, &*err), (0, ""), "{args:?}");
        out
    }

    /// What `inspect` says when it fails.
    fn refusal(&self, args: &[&str]) -> String {
        let (code, out, err) = self.stillframe(&[&["inspect"], args].concat());
        assert!(code != 0 && out.is_empty(), "{args:?}: {code}, {out}");
        err
    }
}

/// The program that [`dump`] is of.
const PROGRAM: &str = r#"
    (module $prog
      (func $leaf (param $count i32) (result i64) (local f64) unreachable)
      (func $main (drop (call $leaf (i32.const 7))))
      (memory 1 4)
      (global $counter (mut i32) (i32.const 0)))
"#;

/// `main` called `leaf`, and that trapped.
fn dump(contents: &[u8]) -> CoreDump<'_> {
    let leaf = Frame {
        instance: 0,
        func_index: 0,
        code_offset: 3,
        locals: vec![CoreValue::I32(-7), CoreValue::Missing],
        stack: vec![],
    };
    let main = Frame { instance: 0, func_index: 1, code_offset: 3, locals: vec![], stack: vec![] };
    CoreDump {
        executable_name: "prog.wasm".into(),
        modules: vec!["prog".into()],
        instances: vec![Instance { module: 0, memories: vec![0], globals: vec![0] }],
        threads: vec![Thread { name: "main".into(), frames: vec![leaf, main] }],
        memories: vec![Memory::new(false, Some(4), contents)],
        globals: vec![GlobalValue::I32(3)],
    }
}

fn contents() -> Vec<u8> {
    let mut contents = vec![0; 1 << 16];
    contents[0x400..0x405].copy_from_slice(b"hello");
    contents
}

/// A scene with `core.wasm` and `prog.wat`.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("core.wasm", dump(&contents()).to_bytes().unwrap());
    scene.write("prog.wat", PROGRAM);
    scene
}

#[test]
fn dump_is_printed_by_indices() {
    assert_eq!(
        scene().inspect(&["core.wasm"]),
        "\
core dump of prog.wasm

thread main: 2 frames, youngest first
  #0   function 0
       function 0 + 0x3, instance 0 of module 0 (prog)
         local 0  i32  -7 (0xfffffff9)
         local 1  ?    missing
  #1   function 1
       function 1 + 0x3, instance 0 of module 0 (prog)

instances
  0  module 0 (prog), memory 0, global 0

memories
  0  1 page of 65536 bytes, at most 4; 5 bytes are in the dump, all others are zero

globals
  0  i32  3
"
    );
}

#[test]
fn module_adds_names() {
    let scene = scene();
    let out = scene.inspect(&["core.wasm", "--module", "prog.wat"]);
    for line in [
        "  #0   leaf",
        "         local 0  count  i32  -7 (0xfffffff9)",
        "         local 1         ?    missing",
        "  #1   main",
        "  0  counter  i32  3",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line:?} is not in\n{out}");
    }
    assert_eq!(scene.inspect(&["--module", "0=prog.wat", "core.wasm"]), out);
}

#[test]
fn memories_are_printed_in_hexadecimal() {
    let scene = scene();
    let hello = "68 65 6c 6c 6f 00 00 00  00 00 00 00 00 00 00 00  |hello...........|";
    let zeros = "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|";
    assert_eq!(
        scene.inspect(&["core.wasm", "--memory", "0"]),
        format!("00000000  {zeros}\n*\n00000400  {hello}\n00000410  {zeros}\n*\n00010000\n")
    );
    let part = format!("00000400  {hello}\n00000410\n");
    assert_eq!(scene.inspect(&["core.wasm", "--memory", "0:0x400:16"]), part);
    let both = scene.inspect(&["core.wasm", "--memory", "0:1024:16", "--memory", "0:0xffff"]);
    let last = "0000ffff  00                                                |.|\n00010000\n";
    assert_eq!(both, format!("memory 0:\n{part}\nmemory 0:\n{last}"));
    for (range, expected) in [
        ("1", "the dump has no memory 1; the last is 0"),
        ("0:0x10001", "address 0x10001 is behind the end of the memory: it has 0x10000 bytes"),
        ("x", "\"x\" is not a number"),
    ] {
        let message = scene.refusal(&["core.wasm", "--memory", range]);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn modules_are_told_by_their_names_or_numbers() {
    let scene = scene();
    let contents = contents();
    let mut two = dump(&contents);
    two.modules.insert(0, "/lib/other.wasm".into());
    two.instances[0].module = 1;
    scene.write("two.wasm", two.to_bytes().unwrap());
    let numbered = scene.inspect(&["two.wasm", "--module", "1=prog.wat"]);
    assert!(numbered.contains("#0   leaf"), "{numbered}");
    assert_eq!(scene.inspect(&["two.wasm", "--module", "prog.wat"]), numbered);
    scene.write("other.wasm", "(module)");
    let both = ["two.wasm", "--module", "other.wasm", "--module", "prog.wat"];
    assert_eq!(scene.inspect(&both), numbered);
    scene.write("third.wat", "(module)");
    let message = scene.refusal(&["two.wasm", "--module", "third.wat"]);
    assert!(
        message.contains("--module 0=third.wat: 0 is \"/lib/other.wasm\", 1 is \"prog\""),
        "{message}"
    );
    let message = scene.refusal(&["two.wasm", "--module", "2=prog.wat"]);
    assert!(message.contains("the dump has no module 2; the last is 1"), "{message}");
}

#[test]
fn wrong_modules_are_refused() {
    let scene = scene();
    scene.write("empty.wat", "(module)");
    let message = scene.refusal(&["core.wasm", "--module", "empty.wat"]);
    assert!(
        message.contains(
            "cannot use empty.wat as --module: this is not the module 0 of the dump (prog): a frame \
             is in function 0, and the module has no such body"
        ),
        "{message}"
    );
    scene.write("bad.wat", "(module");
    let message = scene.refusal(&["core.wasm", "--module", "bad.wat"]);
    assert!(message.contains("bad.wat:1:"), "{message}");
    let (code, _, err) = scene.stillframe(&["compile", "prog.wat", "-o", "prog.elf"]);
    assert_eq!((code, &*err), (0, ""));
    let message = scene.refusal(&["core.wasm", "--module", "prog.elf"]);
    assert!(message.contains("cannot use prog.elf as --module: it is compiled"), "{message}");
}

#[test]
fn other_files_are_told_apart() {
    let scene = scene();
    let refusal = |name| scene.refusal(&[name]);
    assert!(refusal("missing").contains("cannot read missing"));
    let expected = "cannot inspect prog.wat: it is no core dump: core dumps begin like WebAssembly \
                    modules";
    assert!(refusal("prog.wat").contains(expected), "{}", refusal("prog.wat"));
    scene.write("prog.wasm", wat::parse_str(PROGRAM).unwrap());
    let expected = "it is no core dump, but another WebAssembly module";
    assert!(refusal("prog.wasm").contains(expected), "{}", refusal("prog.wasm"));
    scene.write("prog.elf", b"\x7fELF");
    assert!(refusal("prog.elf").contains("a compiled module"), "{}", refusal("prog.elf"));
    let whole = dump(&contents()).to_bytes().unwrap();
    scene.write("half.wasm", &whole[..whole.len() / 2]);
    let expected = "cannot inspect half.wasm: it is damaged: ";
    assert!(refusal("half.wasm").contains(expected), "{}", refusal("half.wasm"));
}

#[test]
fn reader_may_stop_reading() {
    let scene = Scene::new();
    // More than a pipe holds.
    scene.write("core.wasm", dump(&vec![1; 1 << 20]).to_bytes().unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_stillframe"))
        .args(["inspect", "core.wasm", "--memory", "0"])
        .current_dir(scene.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn help_says_what_the_options_take() {
    let help = Scene::new().inspect(&["--help"]);
    for part in ["[N=]FILE", "N[:ADDR[:LEN]]", "stillframe inspect core.wasm --module prog.wasm"] {
        assert!(help.contains(part), "{help}");
    }
}
