//! A folder, the command run in it, and what became of that.

#![allow(dead_code, missing_docs, reason = "each test binary uses its part")]

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// A folder for one test, and the command run in it.
pub struct Scene {
    pub dir: tempfile::TempDir,
}

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    fn of(output: Output) -> Ended {
        let Output { status, stdout, stderr } = output;
        Ended {
            code: status.code().unwrap_or_else(|| panic!("ended by a signal: {status}")),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// The lines of standard error, with words one space apart, and without offsets in the module.
    pub fn words(&self) -> Vec<String> {
        let line = |line: &str| {
            let frame = line.split_once(" - ").filter(|(before, _)| before.contains(": "));
            let words = match frame {
                Some((before, after)) => format!("{} {after}", &before[..before.find(':')?]),
                None => line.to_string(),
            };
            Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        self.stderr.lines().map(|text| line(text).unwrap()).collect()
    }
}

impl Scene {
    pub fn new(files: &[(&str, &str)]) -> Scene {
        let scene = Scene { dir: tempfile::tempdir().unwrap() };
        for (name, contents) in files {
            fs::write(scene.path(name), contents).unwrap();
        }
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillframe"));
        command.args(args).current_dir(self.dir.path()).env_remove("NO_COLOR");
        command
    }

    pub fn stillframe(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    /// Runs a program that writes a byte when it has begun, and sends it SIGINT then, and again
    /// after each of `pauses`.
    pub fn interrupted(&self, args: &[&str], pauses: &[Duration]) -> Ended {
        let mut command = self.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut begun = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
        let pid = child.id().to_string();
        let interrupt = || {
            let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
            assert!(sent.success());
        };
        interrupt();
        for pause in pauses {
            thread::sleep(*pause);
            interrupt();
        }
        Ended::of(child.wait_with_output().unwrap())
    }
}

/// Programs that write a byte, and then count, or wait for an hour, for ever.
pub const BUSY: &str = r#"
    (module $busy
      (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\10\00\00\00\01\00\00\00")
      (func $begin (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func $count (export "count") (param $from i64) (local $seven i32)
        (local.set $seven (i32.const 7))
        (call $begin)
        (loop
          (local.set $from (i64.add (local.get $from) (i64.const 1)))
          (br 0)))
      (func (export "wait")
        (call $begin)
        (i64.store (i32.const 88) (i64.const 3600000000000))
        (i32.store (i32.const 80) (i32.const 1))
        (loop
          (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
          (br 0))))
"#;
