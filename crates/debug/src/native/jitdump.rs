//! jitdump files: what `perf inject --jit` reads.
//!
//! The format is the kernel's, `tools/perf/Documentation/jitdump-specification.txt`; numbers are
//! in the machine's own byte order:
//!
//! ```text
//!   header   "JiTD" version size machine padding process  u32 each;  time flags          u64
//!   record   kind, size of it all                         u32 each;  time                u64
//!     0  a function:   process thread                     u32 each;  address address
//!                      size number                        u64 each;  name 0;  code
//!     2  its lines:    address, how many                  u64 each;  each: address u64,
//!                      line column                        u32 each;  file name 0
//! ```
//!
//! A function's lines come before the function. There is one file for a process, whatever the
//! number of its engines; it stays open until the process ends.

use super::NativeCode;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use stillframe_runtime::{PerfMarker, monotonic_nanos, thread_id};

/// `JiTD` as perf writes it.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_SIZE: u32 = 40;
const MACHINE: u32 = object::elf::EM_X86_64 as u32;
const CODE_LOAD: u32 = 0;
const CODE_DEBUG_INFO: u32 = 2;

/// The process's jitdump file.
#[derive(Debug)]
pub struct JitDump {
    path: PathBuf,
    state: Mutex<State>,
    /// By this `perf record` learns of the file.
    _marker: PerfMarker,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Functions written so far: each has a number.
    functions: u64,
}

/// The file once it is open.
static PROCESS: Mutex<Option<Arc<JitDump>>> = Mutex::new(None);

impl JitDump {
    /// The process's file: `jit-<process id>.dump` in the directory that the environment variable
    /// `JITDUMPDIR` names, or in the current one. It is made when first asked for.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn of_process() -> Result<Arc<JitDump>> {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dump) = &*process {
            return Ok(dump.clone());
        }
        let directory = std::env::var_os("JITDUMPDIR").map_or_else(PathBuf::new, PathBuf::from);
        let path = directory.join(format!("jit-{}.dump", std::process::id()));
        let dump = JitDump::create(&path)
            .with_context(|| format!("making the jitdump file `{}`", path.display()))?;
        Ok(process.insert(Arc::new(dump)).clone())
    }

    fn create(path: &Path) -> Result<JitDump> {
        // Appending, in case another JIT in the process writes there too, as wasmtime does. What
        // is there already is of a process that had this id before.
        let file = File::options().read(true).append(true).create(true).open(path)?;
        file.set_len(0).context("emptying it")?;
        let mark = "mapping a page of it executable (perf wants that; `noexec` forbids it)";
        let marker = PerfMarker::new(&file).context(mark)?;
        let mut state = State { file, functions: 0 };
        state.file.write_all(&header()).context("writing it")?;
        Ok(JitDump { path: path.into(), state: Mutex::new(state), _marker: marker })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down the functions of this code.
    ///
    /// # Errors
    ///
    /// If they cannot be written. Then the file can end with a record that is cut off.
    pub fn add(&self, code: &NativeCode<'_>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut records, first) = (Vec::new(), state.functions);
        let time = monotonic_nanos();
        let mut write = |records: &mut Vec<u8>| -> Result<()> {
            let written = state.file.write_all(records);
            records.clear();
            written.with_context(|| format!("writing to `{}`", self.path.display()))
        };
        for (function, number) in code.functions.iter().zip(first..) {
            let address = code.address_of(function);
            let lines = function.lines.iter().filter_map(|line| Some((line.offset, line.place?)));
            // perf takes the last line for one without code, unless told where the code ends.
            let end =
                lines.clone().next_back().map(|(_, place)| (function.code.len() as u32, place));
            let lines = lines.chain(end);
            let count = lines.clone().count();
            if count > 0 {
                push_record(&mut records, CODE_DEBUG_INFO, time, |record| {
                    push(record, [address, count as u64]);
                    for (offset, place) in lines {
                        push(record, [address + u64::from(offset)]);
                        push32(record, [place.line, place.column]);
                        push_name(record, &code.files.names()[place.file]);
                    }
                })?;
            }
            push_record(&mut records, CODE_LOAD, time, |record| {
                let bytes = code.code_of(function);
                push32(record, [std::process::id(), thread_id()]);
                push(record, [address, address, bytes.len() as u64, number]);
                push_name(record, &function.name);
                record.extend_from_slice(bytes);
            })?;
            // Whole records at a time, and few of them.
            if records.len() >= 1 << 20 {
                write(&mut records)?;
            }
        }
        write(&mut records)?;
        state.functions += code.functions.len() as u64;
        Ok(())
    }
}

fn header() -> Vec<u8> {
    let mut header = Vec::new();
    push32(&mut header, [MAGIC, VERSION, HEADER_SIZE, MACHINE, 0, std::process::id()]);
    push(&mut header, [monotonic_nanos(), 0]);
    header
}

fn push_record(
    out: &mut Vec<u8>,
    kind: u32,
    time: u64,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<()> {
    let start = out.len();
    push32(out, [kind, 0]);
    push(out, [time]);
    fill(out);
    let size = u32::try_from(out.len() - start).context("a function is too large for jitdump")?;
    out[start + 4..start + 8].copy_from_slice(&size.to_ne_bytes());
    Ok(())
}

fn push<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_ne_bytes()));
}

fn push32<const N: usize>(out: &mut Vec<u8>, numbers: [u32; N]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_ne_bytes()));
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sample, sample_text};
    use super::*;

    /// A reader by the specification, which knows nothing of the writer.
    struct Bytes<'a>(&'a [u8]);

    impl<'a> Bytes<'a> {
        fn take(&mut self, count: usize) -> &'a [u8] {
            let (taken, rest) = self.0.split_at(count);
            self.0 = rest;
            taken
        }

        fn u32(&mut self) -> u32 {
            u32::from_ne_bytes(self.take(4).try_into().unwrap())
        }

        fn u64(&mut self) -> u64 {
            u64::from_ne_bytes(self.take(8).try_into().unwrap())
        }

        fn name(&mut self) -> &'a str {
            let end = self.0.iter().position(|&byte| byte == 0).unwrap();
            let name = std::str::from_utf8(self.take(end)).unwrap();
            self.take(1);
            name
        }
    }

    #[test]
    fn the_file_is_as_the_specification_says() {
        let path = std::env::temp_dir().join(format!("stillframe-{}.dump", std::process::id()));
        std::fs::write(&path, "of a process that had the id before").unwrap();
        let start = monotonic_nanos();
        let dump = JitDump::create(&path).unwrap();
        let text = sample_text();
        dump.add(&sample(&text)).unwrap();
        dump.add(&sample(&text)).unwrap();
        let end = monotonic_nanos();
        let written = std::fs::read(dump.path()).unwrap();
        std::fs::remove_file(&path).unwrap();

        let mut bytes = Bytes(&written);
        assert_eq!(bytes.u32(), 0x4a69_5444);
        assert_eq!((bytes.u32(), bytes.u32()), (1, 40));
        assert_eq!((bytes.u32(), bytes.u32()), (62, 0)); // EM_X86_64
        assert_eq!(bytes.u32(), std::process::id());
        let created = bytes.u64();
        assert_eq!(bytes.u64(), 0);
        assert_eq!(written.len() - bytes.0.len(), 40);
        assert!((start..=end).contains(&created));

        let record = |bytes: &mut Bytes<'_>| {
            let left = bytes.0.len();
            let (kind, size, time) = (bytes.u32(), bytes.u32(), bytes.u64());
            assert!((created..=end).contains(&time));
            (kind, left - size as usize)
        };
        for round in 0..2 {
            let (kind, rest) = record(&mut bytes);
            assert_eq!((kind, bytes.u64(), bytes.u64()), (2, 0x10010, 5));
            let lines = [(0, 10), (4, 11), (9, 3), (24, 9000), (32, 9000)];
            for (address, line) in lines.map(|(offset, line)| (0x10010 + offset, line)) {
                assert_eq!((bytes.u64(), bytes.u32(), bytes.u32()), (address, line, 7));
                assert_eq!(bytes.name(), "/src/main.c");
            }
            assert_eq!(bytes.0.len(), rest);
            for (number, name, code) in [(0, "main::run", 16..48), (1, "entry", 64..80)] {
                let (kind, rest) = record(&mut bytes);
                assert_eq!((kind, bytes.u32(), bytes.u32()), (0, std::process::id(), thread_id()));
                let address = 0x10000 + code.start as u64;
                assert_eq!((bytes.u64(), bytes.u64()), (address, address));
                assert_eq!((bytes.u64(), bytes.u64()), (code.len() as u64, 2 * round + number));
                assert_eq!(bytes.name(), name);
                // perf finds the code by the record's end.
                assert_eq!(bytes.0.len() - code.len(), rest);
                assert_eq!(bytes.take(code.len()), &text[code]);
            }
        }
        assert!(bytes.0.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        let error = JitDump::create(Path::new("/nowhere/jit-1.dump")).unwrap_err();
        assert!(format!("{error:#}").contains("No such file"), "{error:#}");
    }
}
