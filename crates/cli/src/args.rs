//! The command line: what can be asked, and the help that a newcomer can work from.

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs WebAssembly programs, with limits that hold and errors that say where.
#[derive(Parser, Debug)]
#[command(name = "stillframe", version, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  stillframe demo                                   see what it does, in a few seconds
  stillframe run prog.wasm --its-own-option a b     run a WASI program; the rest is its arguments
  stillframe run --dir . prog.wasm in.txt           let it use the files of this folder
  stillframe run --fuel 1000000 prog.wasm           let it execute so many operators, and no more
  stillframe run --fuel 1000000 --resume prog.wasm  see where it is after each million
  stillframe run --timeout 500ms prog.wat           stop it after half a second
  stillframe run --frames prog.wasm                 see its locals when it traps, or at Ctrl-C
  stillframe run --coredump core.wasm prog.wasm     keep them in a file, with its memory
  stillframe run --profile fuel.svg prog.wasm       see where its fuel goes
  stillframe run --invoke add math.wat 1 2          call an export and print its results
  stillframe compile prog.wasm -o prog.elf          compile once ...
  stillframe run prog.elf                           ... and start without compiling
  stillframe inspect core.wasm --module prog.wasm   see where a program stood, by its core dump

'stillframe help run' says more about a command.";

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a program, or call one of a module's functions
    Run(RunArgs),
    /// Run script files of the WebAssembly test suite
    Wast(WastArgs),
    /// Compile a module to native code on disk
    Compile(CompileArgs),
    /// Print a core dump: threads, frames, locals, globals, memories
    Inspect(InspectArgs),
    /// Show the main job: compile, meter, suspend and resume, interrupt, read a trap
    Demo,
}

/// Arguments of `stillframe run`.
#[derive(Args, Debug)]
#[command(override_usage = "stillframe run [OPTIONS] FILE [ARGS]...")]
#[command(after_help = "\
The program's exit code is the command's. A trap is reported on standard error, with a backtrace, \
and exits with 134; whatever keeps the program from running exits with 1.

Without --invoke the module must export '_start', as WASI commands do. With it, a module that \
exports '_initialize' is initialized first, and the arguments are read by the function's type: \
integers in decimal or with 0x, floats, v128 as an integer, references as 'null'.

With --frames, the program's stack is shown in place of the backtrace: functions, source lines if \
the module has DWARF, and locals and operands with their values; of more than 80 frames the \
innermost 64 and the outermost 16. A value that was in a register alone when a trap came from the \
processor is shown as '-'. So that all values are there, the program runs slower than without; \
with --frames=live it does not, but what it would not have read again may be missing: after a \
panic that can be everything. The same holds for --coredump.

With --frames, --coredump or --profile, Ctrl-C ends the program at its next loop or call, so that \
it can be looked at, and the exit code is 130. The second Ctrl-C ends the command at once.

With --profile, the program is stopped for a moment each time that it has consumed \
--profile-interval units of fuel, and its stack is counted. The clock is fuel, so the same run \
gives the same picture. OUT can be a flame graph (.svg) or the stacks as text (.folded or .txt). A \
start function is not counted.

With --resume, the program is stopped each time that it has consumed --fuel, and a line on standard \
error says where it stands: the function, the offset in the module and, if the module has DWARF, the \
source line. The first ten pauses are shown, and then one a second; --verbose shows all, with all \
frames. The last line says how many pauses and how much fuel there were and, if not all were shown, \
in which functions the program stood most often. Results, exit codes, traps and --timeout are as \
without. A start function is not paused.

Compiled files hold native code that runs as it is, with all rights of this process: run only \
those that you compiled yourself or would run without a sandbox.")]
pub struct RunArgs {
    /// Stop the program when it has consumed this much fuel (about 1 per operator)
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// Do not end the program when it has consumed --fuel: say where it stands, give it as much
    /// again, and let it go on
    #[arg(long, requires = "fuel")]
    pub resume: bool,
    /// With --resume: show every pause, and all its frames
    #[arg(long, requires = "resume")]
    pub verbose: bool,
    /// Stop the program after this long: 500ms, 2s, 1.5s, 3m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Show the frozen stack, with locals and operands, when the program traps, runs out of fuel or
    /// gets Ctrl-C; with --resume --verbose, at each pause too
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "all")]
    pub frames: Option<FramesShown>,
    /// Write a core dump to FILE when the program traps, runs out of fuel or gets Ctrl-C;
    /// 'stillframe inspect' prints it
    #[arg(long, value_name = "FILE")]
    pub coredump: Option<PathBuf>,
    /// Draw a flame graph of where the program consumes fuel; .svg, or as text .folded or .txt
    #[arg(long, value_name = "OUT", conflicts_with = "resume")]
    pub profile: Option<PathBuf>,
    /// Units of fuel between two samples of --profile
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "profile")]
    pub profile_interval: u64,
    /// Call this exported function with ARGS, and print its results, one a line
    #[arg(long, value_name = "FUNC")]
    pub invoke: Option<String>,
    /// Let the program use a folder; GUEST is its name there (the same, unless given)
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = parse_dir)]
    pub dirs: Vec<(PathBuf, String)>,
    /// Set a variable in the program's environment, which is empty otherwise
    #[arg(long = "env", value_name = "K=V", value_parser = parse_env)]
    pub env: Vec<(String, String)>,
    /// The module: .wasm, .wat, or what 'stillframe compile' made of one. Everything after it is
    /// for the program
    #[arg(required = true, trailing_var_arg = true, value_name = "FILE")]
    file_and_args: Vec<OsString>,
}

/// Which values of a frozen stack there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FramesShown {
    /// All
    All,
    /// Those that the program may still read, and few others; the program is faster
    Live,
}

impl RunArgs {
    /// Whether Ctrl-C stops the program so that it can be looked at.
    pub fn stops_at_interrupt(&self) -> bool {
        self.frames.is_some() || self.coredump.is_some() || self.profile.is_some()
    }

    /// Units of fuel between two pauses, if the program is to be paused.
    ///
    /// # Errors
    ///
    /// If there are none: the program would stand still for ever.
    pub fn pause_every(&self) -> Result<Option<u64>> {
        let units = self.fuel.filter(|_| self.resume);
        ensure!(
            units != Some(0),
            "--resume needs a --fuel of at least 1: with 0 nothing would move"
        );
        Ok(units)
    }

    /// The module's file.
    pub fn file(&self) -> &Path {
        Path::new(&self.file_and_args[0])
    }

    /// What the program gets as its arguments, or the function as its parameters.
    ///
    /// # Errors
    ///
    /// If one is not UTF-8, as WASI's strings are.
    pub fn args(&self) -> Result<Vec<&str>> {
        let args = self.file_and_args[1..].iter();
        args.map(|arg| arg.to_str().with_context(|| format!("argument {arg:?} is not UTF-8")))
            .collect()
    }
}

/// Arguments of `stillframe wast`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each script is a line on standard output, 'FILE: N passed, M failed', and after all of them comes \
the total. What failed, where and why, goes to standard error. The command exits with 1 if a \
directive failed.")]
pub struct WastArgs {
    /// The scripts
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Arguments of `stillframe compile`.
#[derive(Args, Debug)]
#[command(after_help = "\
The file is ELF, and fits this version of Stillframe and processors that have what this one has. \
It ends with a checksum: a damaged file is refused. The checksum is no signature: a compiled file \
is native code, and running one means trusting whoever made it.

'run --fuel' and 'run --profile' need a file that was compiled with --fuel, and 'run --timeout' \
one with --epochs, as does Ctrl-C with 'run --frames'. The values that 'run --frames' shows are \
always those that are live.")]
pub struct CompileArgs {
    /// The module: .wasm or .wat
    pub file: PathBuf,
    /// Where the compiled file goes
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Count fuel in the code, so that it can be run with --fuel
    #[arg(long)]
    pub fuel: bool,
    /// Test epochs in the code, so that it can be run with --timeout
    #[arg(long)]
    pub epochs: bool,
}

/// Arguments of `stillframe inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
Core dumps are files in the format of WebAssembly's tool conventions, written by this runtime or \
another. They have indices and no names: with --module, names of functions, locals and globals are \
shown, and, if the module has DWARF, source lines.

With one module in the dump, --module is that one. With more of them, FILE is the one whose name \
is that in FILE's name section or FILE's own, or say which it is: --module 2=FILE. The option can \
be repeated.

With --memory, only memories are printed, in hexadecimal: 0 is all of the dump's memory 0, \
0:0x400 are the 256 bytes at that address, 0:0x400:64 are 64 bytes. Rows of zeros are shortened \
to '*'. Memories are counted as 'inspect' lists them. The option can be repeated.

Examples:
  stillframe inspect core.wasm
  stillframe inspect core.wasm --module prog.wasm
  stillframe inspect core.wasm --memory 0:0x10000:64")]
pub struct InspectArgs {
    /// The core dump
    pub file: PathBuf,
    /// A module of the program, .wasm or .wat, for names and source lines
    #[arg(long = "module", value_name = "[N=]FILE", value_parser = parse_dump_module)]
    pub modules: Vec<(Option<u32>, PathBuf)>,
    /// Print bytes of a memory instead
    #[arg(long, value_name = "N[:ADDR[:LEN]]", value_parser = parse_memory_range)]
    #[arg(conflicts_with = "modules")]
    pub memory: Vec<MemoryRange>,
}

/// Bytes of one of a dump's memories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRange {
    /// Which memory.
    pub memory: u32,
    /// The first byte's address.
    pub address: u64,
    /// How many bytes; there can be fewer.
    pub len: u64,
}

fn parse_dump_module(text: &str) -> Result<(Option<u32>, PathBuf)> {
    // Who has a file called 1=x can say ./1=x.
    let numbered = text.split_once('=').and_then(|(number, file)| {
        let number = number.parse().ok()?;
        Some((Some(number), file))
    });
    let (number, file) = numbered.unwrap_or((None, text));
    ensure!(!file.is_empty(), "the file is missing");
    Ok((number, PathBuf::from(file)))
}

fn parse_memory_range(text: &str) -> Result<MemoryRange> {
    let mut parts = text.split(':');
    let memory = parse_number(parts.next().unwrap_or_default())?;
    let address = parts.next().map(parse_number).transpose()?;
    let len = parts.next().map(parse_number).transpose()?;
    ensure!(parts.next().is_none(), "it must look like N, N:ADDR or N:ADDR:LEN");
    let Ok(memory) = u32::try_from(memory) else { bail!("there is no memory {memory}") };
    let all = if address.is_some() { 256 } else { u64::MAX };
    Ok(MemoryRange { memory, address: address.unwrap_or(0), len: len.unwrap_or(all) })
}

/// Decimal, or hexadecimal with 0x.
fn parse_number(text: &str) -> Result<u64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.with_context(|| format!("{text:?} is not a number; use 1234 or 0x4d2"))
}

fn parse_duration(text: &str) -> Result<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => bail!("a unit is missing: ms, s, m or h, as in 500ms or 2s"),
        _ => bail!("there is no unit {unit:?}; use ms, s, m or h, as in 500ms or 2s"),
    };
    let Ok(number) = number.parse::<f64>() else { bail!("{number:?} is not a number") };
    let duration = Duration::try_from_secs_f64(number * seconds_per_unit)?;
    ensure!(!duration.is_zero(), "it must be longer than 0");
    Ok(duration)
}

fn parse_dir(text: &str) -> Result<(PathBuf, String)> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    ensure!(!host.is_empty(), "the host's folder is missing");
    ensure!(!guest.is_empty(), "the guest's name for the folder is missing");
    Ok((PathBuf::from(host), guest.to_string()))
}

fn parse_env(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => bail!("it must look like NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit_and_a_length() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        for bad in ["", "5", "ms", "5 s", "-1s", "5parsecs", "1.2.3s", "0ms", "1e999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_have_the_same_name_unless_given() {
        assert_eq!(parse_dir("a/b").unwrap(), (PathBuf::from("a/b"), "a/b".to_string()));
        assert_eq!(parse_dir("a::/").unwrap(), (PathBuf::from("a"), "/".to_string()));
        assert!(parse_dir("::x").is_err() && parse_dir("x::").is_err());
    }

    #[test]
    fn memory_ranges_default_to_all_or_a_screenful() {
        let range = |memory, address, len| MemoryRange { memory, address, len };
        assert_eq!(parse_memory_range("1").unwrap(), range(1, 0, u64::MAX));
        assert_eq!(parse_memory_range("0:0x400").unwrap(), range(0, 0x400, 256));
        assert_eq!(parse_memory_range("0:1024:0x10").unwrap(), range(0, 1024, 16));
        for bad in ["", ":", "0:", "x", "0:1:2:3", "-1", "0:0xg", "4294967296", "0::1"] {
            assert!(parse_memory_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modules_of_dumps_can_be_numbered() {
        let parsed = |text| parse_dump_module(text).unwrap();
        assert_eq!(parsed("a.wasm"), (None, PathBuf::from("a.wasm")));
        assert_eq!(parsed("2=a=b"), (Some(2), PathBuf::from("a=b")));
        assert_eq!(parsed("a=b"), (None, PathBuf::from("a=b")));
        assert!(parse_dump_module("").is_err() && parse_dump_module("2=").is_err());
    }

    #[test]
    fn options_after_the_file_are_the_programs() {
        let parsed =
            Cli::parse_from(["stillframe", "run", "--fuel", "5", "p.wasm", "--fuel", "-x"]);
        let Command::Run(run) = parsed.command else { panic!("not run") };
        assert_eq!(run.fuel, Some(5));
        assert_eq!(run.file(), Path::new("p.wasm"));
        assert_eq!(run.args().unwrap(), ["--fuel", "-x"]);
        assert!(Cli::try_parse_from(["stillframe", "run", "--bogus", "p.wasm"]).is_err());
    }

    #[test]
    fn pauses_need_fuel() {
        let parse = |args: &str| {
            let words = ["stillframe", "run"].into_iter().chain(args.split(' '));
            match Cli::try_parse_from(words)?.command {
                Command::Run(run) => run.pause_every(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(parse("--fuel 5 p.wasm").unwrap(), None);
        assert_eq!(parse("--fuel 5 --resume p.wasm").unwrap(), Some(5));
        for bad in ["--resume p.wasm", "--fuel 0 --resume p.wasm", "--fuel 5 --verbose p.wasm"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
