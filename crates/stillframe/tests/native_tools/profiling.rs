//! The files that profilers read. Each test is a process of its own, since there is one such file
//! for a process.

use crate::list::{alone, listed};
use crate::{FIRST_LINE, NAMES, child, guest, is_child, linker};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use stillframe::{Config, Engine, Module, ProfilingStrategy, Store};

fn engine(strategy: ProfilingStrategy) -> stillframe::Result<Engine> {
    Engine::new(Config::new().profiler(strategy))
}

/// Runs the guest, so that there are trampolines.
fn run(engine: &Engine) {
    let module = Module::new(engine, guest()).unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker(engine).instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 3).unwrap(), 6);
}

/// A directory that is removed afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("stillframe-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().path()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a jitdump file says of a function.
#[derive(Debug)]
struct Function {
    name: String,
    address: u64,
    code: Vec<u8>,
    /// Address and line.
    lines: Vec<(u64, u32)>,
}

/// Reads a jitdump file, by the kernel's specification.
fn read_jitdump(path: &Path) -> Vec<Function> {
    let bytes = std::fs::read(path).unwrap();
    let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let name_at = |at: usize| {
        let end = at + bytes[at..].iter().position(|&byte| byte == 0).unwrap();
        (String::from_utf8(bytes[at..end].to_vec()).unwrap(), end + 1)
    };
    assert_eq!((u32_at(0), u32_at(4), u32_at(12)), (0x4a69_5444, 1, 62));
    let process = u32_at(20);
    assert!(path.ends_with(format!("jit-{process}.dump")));
    let (mut at, mut time) = (u32_at(8) as usize, u64_at(24));
    let (mut functions, mut lines, mut numbers) = (Vec::new(), None, HashSet::new());
    while at < bytes.len() {
        let (kind, end) = (u32_at(at), at + u32_at(at + 4) as usize);
        assert!(u64_at(at + 8) >= time);
        time = u64_at(at + 8);
        at += 16;
        if kind == 2 {
            let (address, count) = (u64_at(at), u64_at(at + 8));
            let mut entries = Vec::new();
            at += 16;
            for _ in 0..count {
                let (file, next) = name_at(at + 16);
                assert_eq!(file, "/src/guest.c");
                entries.push((u64_at(at), u32_at(at + 8)));
                at = next;
            }
            assert!(lines.replace((address, entries)).is_none(), "lines of a function, twice");
        } else {
            assert_eq!((kind, u32_at(at)), (0, process));
            let (address, size) = (u64_at(at + 16), u64_at(at + 24) as usize);
            assert_eq!(u64_at(at + 8), address);
            assert!(numbers.insert(u64_at(at + 32)));
            let (name, code) = name_at(at + 40);
            let lines = lines.take().map_or_else(Vec::new, |(of, lines)| {
                assert_eq!(of, address);
                lines
            });
            functions.push(Function {
                name,
                address,
                code: bytes[code..code + size].into(),
                lines,
            });
            at = code + size;
        }
        assert_eq!(at, end);
    }
    functions
}

const JITDUMP: &str = "profiling::a_jitdump_file_has_the_functions_of_all_engines";

#[test]
fn a_jitdump_file_has_the_functions_of_all_engines() {
    if is_child() {
        let first = engine(ProfilingStrategy::JitDump).unwrap();
        run(&first);
        drop(first);
        run(&engine(ProfilingStrategy::JitDump).unwrap());
        // By this mapping perf finds the file.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let name = format!("/jit-{}.dump", std::process::id());
        let marks: Vec<_> = maps.lines().filter(|line| line.ends_with(&name)).collect();
        assert!(matches!(marks[..], [mark] if mark.contains(" r-xp ")), "{maps}");
        return;
    }
    let directory = Directory::new("jitdump");
    let output = child(JITDUMP).env("JITDUMPDIR", &directory.0).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let [file] = &directory.files()[..] else { panic!("{:?}", directory.files()) };
    let functions = read_jitdump(file);
    let mut expected: Vec<_> = NAMES.map(String::from).to_vec();
    for way in ["host-to-wasm", "wasm-to-host"] {
        expected.push(format!("stillframe trampoline {way} (i32) -> (i32)"));
    }
    expected.extend(expected.clone());
    let mut seen: Vec<_> = functions.iter().map(|function| function.name.clone()).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    for function in &functions {
        assert!(function.code.starts_with(&[0x55, 0x48, 0x89, 0xe5]), "{function:x?}");
        let end = function.address + function.code.len() as u64;
        assert!(function.lines.is_sorted_by_key(|line| line.0));
        assert_eq!(function.lines.is_empty(), function.name.contains("trampoline"));
        for &(address, line) in &function.lines {
            assert!((function.address..=end).contains(&address));
            assert!(u64::from(line) > FIRST_LINE, "{function:x?}");
        }
    }
}

const UNWRITABLE: &str = "profiling::an_engine_whose_profiler_has_no_file_is_an_error";

#[test]
fn an_engine_whose_profiler_has_no_file_is_an_error() {
    if is_child() {
        let error = engine(ProfilingStrategy::JitDump).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("making the jitdump file `/nowhere/jit-"), "{error}");
        assert!(error.contains("No such file or directory"), "{error}");
        // Other engines are no worse for it.
        run(&engine(ProfilingStrategy::None).unwrap());
        return;
    }
    let output = child(UNWRITABLE).env("JITDUMPDIR", "/nowhere").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

const PERF_MAP: &str = "profiling::a_perf_map_has_a_line_for_each_function";

#[test]
fn a_perf_map_has_a_line_for_each_function() {
    if is_child() {
        let engine = engine(ProfilingStrategy::PerfMap).unwrap();
        let module = Module::new(&engine, guest()).unwrap();
        // Debuggers were not asked for.
        assert_eq!(listed(&alone()).len(), 0);
        drop(module);
        run(&engine);
        let path = format!("/tmp/perf-{}.map", std::process::id());
        let map = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut names = Vec::new();
        for line in map.lines() {
            let mut words = line.splitn(3, ' ');
            let mut number = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
            assert!(number() > 4096 && number() > 4);
            names.push(words.next().unwrap().to_string());
        }
        // The module was made twice.
        assert_eq!(names[..NAMES.len()], NAMES);
        assert_eq!(names[NAMES.len()..2 * NAMES.len()], NAMES);
        assert_eq!(names[2 * NAMES.len()], "stillframe trampoline host-to-wasm (i32) -> (i32)");
        return;
    }
    let output = child(PERF_MAP).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
