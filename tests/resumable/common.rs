//! Guests that are run whole and in pieces, and what they leave behind.

use stillframe::{
    Caller, Config, Engine, Extern, FuncType, Instance, InstancePre, Linker, Module, Ref,
    ResumableCall, ResumeError, ResumeRefused, Store, Trap, Val, ValType,
};
use wast::core::WastArgCore;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke};

/// More fuel than any call here takes.
pub const PLENTY: u64 = 1 << 30;

/// A module and a call of one of its functions.
pub struct Case {
    pub name: String,
    pub wasm: Vec<u8>,
    pub func: String,
    pub args: Vec<Val>,
}

/// The calls that a script makes, each with the module that stands before it.
pub fn cases(script: &str, text: &str) -> Vec<Case> {
    let buffer = ParseBuffer::new(text).expect(script);
    let parsed: Wast<'_> = parser::parse(&buffer).expect(script);
    let (mut wasm, mut cases) = (Vec::new(), Vec::new());
    for directive in parsed.directives {
        match directive {
            WastDirective::Module(QuoteWat::Wat(mut wat)) => wasm = wat.encode().expect(script),
            WastDirective::Invoke(invoke)
            | WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), .. }
            | WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), .. }
            | WastDirective::AssertException { exec: WastExecute::Invoke(invoke), .. } => {
                cases.push(case(script, text, &wasm, &invoke));
            }
            _ => panic!("{script}: calls only"),
        }
    }
    cases
}

fn case(script: &str, text: &str, wasm: &[u8], invoke: &WastInvoke<'_>) -> Case {
    let arg = |arg: &WastArg<'_>| match arg {
        WastArg::Core(WastArgCore::I32(value)) => Val::I32(*value),
        WastArg::Core(WastArgCore::I64(value)) => Val::I64(*value),
        WastArg::Core(WastArgCore::F32(value)) => Val::F32(value.bits),
        WastArg::Core(WastArgCore::F64(value)) => Val::F64(value.bits),
        other => panic!("{script}: argument {other:?}"),
    };
    let args: Vec<Val> = invoke.args.iter().map(arg).collect();
    let (line, _) = invoke.span.linecol_in(text);
    let name = format!("{script}:{}: {}{args:?}", line + 1, invoke.name);
    Case { name, wasm: wasm.to_vec(), func: invoke.name.to_string(), args }
}

/// The data of a store: what host functions were asked.
#[derive(Default)]
pub struct Host {
    pub log: Vec<String>,
    /// They fail, and say in their error what they would have returned.
    pub fail: bool,
}

/// The error of a host function that fails: what it would have returned.
#[derive(Debug)]
pub struct Instead(pub Vec<Val>);

impl std::fmt::Display for Instead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "resume with {:?}", self.0)
    }
}

impl std::error::Error for Instead {}

/// What the host functions compute, here and in the oracle.
pub mod compute {
    pub fn next(x: i32) -> i32 {
        x.wrapping_mul(7).wrapping_add(1)
    }

    pub fn split(x: i64) -> (i32, i64, f32, f64, u128) {
        let wide = u128::from(x.cast_unsigned());
        (x as i32 ^ 5, !x, x as f32 * 0.5, x as f64 * 1.5, wide << 70 | wide)
    }

    pub fn mix(a: i32, b: i64, c: f32, d: f64, e: u128) -> i64 {
        let words =
            [a as u64, b as u64, c.to_bits().into(), d.to_bits(), e as u64, (e >> 64) as u64];
        words.iter().fold(17_u64, |sum, word| sum.wrapping_mul(31) ^ word) as i64
    }
}

/// The host functions `next`, `split`, `mix` and `note` of the module `host`.
pub fn linker(engine: &Engine) -> Linker<Host> {
    use ValType::{F32, F64, I32, I64, V128};
    type Compute = fn(&[Val]) -> Vec<Val>;
    let functions: [(&str, &[ValType], &[ValType], Compute); 4] = [
        ("next", &[I32], &[I32], |p| vec![compute::next(p[0].unwrap_i32()).into()]),
        ("split", &[I64], &[I32, I64, F32, F64, V128], |p| {
            let (a, b, c, d, e) = compute::split(p[0].unwrap_i64());
            vec![a.into(), b.into(), c.into(), d.into(), e.into()]
        }),
        ("mix", &[I32, I64, F32, F64, V128], &[I64], |p| {
            let e = p[4].unwrap_v128().as_u128();
            let (a, b, c, d) =
                (p[0].unwrap_i32(), p[1].unwrap_i64(), p[2].unwrap_f32(), p[3].unwrap_f64());
            vec![compute::mix(a, b, c, d, e).into()]
        }),
        ("note", &[I64], &[], |_| vec![]),
    ];
    let mut linker = Linker::new(engine);
    for (name, params, results, compute) in functions {
        let ty = FuncType::new(params.iter().copied(), results.iter().copied());
        let host = move |mut caller: Caller<'_, Host>, params: &[Val], results: &mut [Val]| {
            let answer = compute(params);
            caller.data_mut().log.push(format!("{name}{params:?}"));
            if caller.data().fail {
                return Err(Instead(answer).into());
            }
            results.copy_from_slice(&answer);
            Ok(())
        };
        linker.func_new("host", name, ty, host).unwrap();
    }
    linker
}

/// An engine that counts fuel, with further settings.
pub fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(config.consume_fuel(true));
    Engine::new(&config).unwrap()
}

/// A store that counts fuel, with an instance of a module without imports, and `PLENTY`.
pub fn guest(wat: &str) -> (Store<()>, Instance) {
    let engine = engine(|_| ());
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(PLENTY).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// The call has finished.
#[track_caller]
pub fn finished(call: ResumableCall) {
    assert!(matches!(call, ResumableCall::Finished), "{call:?}");
}

/// The call, which must have run out of fuel.
#[track_caller]
pub fn out_of_fuel(call: ResumableCall) -> stillframe::ResumableCallOutOfFuel {
    match call {
        ResumableCall::OutOfFuel(call) => call,
        other => panic!("expected OutOfFuel, found {other:?}"),
    }
}

/// The call, which must stand in a host function.
#[track_caller]
pub fn host_trap(call: ResumableCall) -> stillframe::ResumableCallHostTrap {
    match call {
        ResumableCall::HostTrap(call) => call,
        other => panic!("expected HostTrap, found {other:?}"),
    }
}

/// The call, which must have reached the epoch deadline.
#[track_caller]
pub fn interrupted(call: ResumableCall) -> stillframe::ResumableCallInterrupted {
    match call {
        ResumableCall::Interrupted(call) => call,
        other => panic!("expected Interrupted, found {other:?}"),
    }
}

/// The call, which must have been refused, and why.
#[track_caller]
pub fn refused<C, T: std::fmt::Debug>(resumed: Result<T, ResumeError<C>>) -> (C, ResumeRefused) {
    let error = resumed.expect_err("a refusal");
    let Some(&reason) = error.reason() else { panic!("expected a refusal, it ended: {error:?}") };
    (error.into_call().expect("it was refused"), reason)
}

/// The error of a call, which must have gone on and ended in it.
#[track_caller]
pub fn ended<C, T: std::fmt::Debug>(resumed: Result<T, ResumeError<C>>) -> stillframe::Error {
    let error = resumed.expect_err("an error");
    assert_eq!(error.reason(), None);
    error.into_error()
}

/// The trap in an error.
#[track_caller]
pub fn trap_of(error: &stillframe::Error) -> Trap {
    *error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("not a trap: {error:?}"))
}

/// Bytes that are compared and not printed.
#[derive(PartialEq)]
struct Bytes(Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = self.0.iter().fold(0_u64, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte));
        write!(f, "{} bytes ({sum:#x})", self.0.len())
    }
}

/// What a call leaves behind: all that must not depend on where it was cut.
#[derive(PartialEq, Debug)]
pub struct Left {
    /// The results, or what it ended in.
    pub ended: Result<Vec<String>, String>,
    pub consumed: i128,
    pub log: Vec<String>,
    memories: Vec<Bytes>,
    globals: Vec<String>,
    tables: Vec<Vec<String>>,
}

/// A case, compiled by an engine.
pub struct Prepared<'a> {
    case: &'a Case,
    pre: InstancePre<Host>,
}

impl<'a> Prepared<'a> {
    pub fn new(engine: &Engine, case: &'a Case) -> Prepared<'a> {
        let module = Module::new(engine, &case.wasm).expect(&case.name);
        Prepared { case, pre: linker(engine).instantiate_pre(&module).expect(&case.name) }
    }

    /// A fresh store and instance for one call.
    pub fn run(&self) -> Run<'a> {
        let engine = self.pre.module().engine();
        let metered = engine_counts_fuel(engine);
        let mut store = Store::new(engine, Host::default());
        if metered {
            store.set_fuel(PLENTY).unwrap();
        }
        let instance = self.pre.instantiate(&mut store).expect(&self.case.name);
        if metered {
            store.set_fuel(0).unwrap();
        }
        let func = instance.get_func(&mut store, &self.case.func).expect(&self.case.name);
        let results = vec![Val::I32(0); func.ty(&store).results().len()];
        let before = store.fuel_consumed().unwrap_or(0);
        Run { case: self.case, store, instance, results, given: 0, before, metered }
    }
}

fn engine_counts_fuel(engine: &Engine) -> bool {
    Store::new(engine, ()).get_fuel().is_ok()
}

/// One call in a store of its own.
pub struct Run<'a> {
    pub case: &'a Case,
    pub store: Store<Host>,
    instance: Instance,
    results: Vec<Val>,
    given: u64,
    /// Units consumed by the store before the call.
    before: u64,
    metered: bool,
}

impl Run<'_> {
    /// Gives the store some fuel, as the contract of `required_fuel` says.
    pub fn give(&mut self, fuel: u64) {
        self.given += fuel;
        let left = self.store.get_fuel().unwrap();
        self.store.set_fuel(left + fuel).unwrap();
    }

    /// The fuel consumed so far: what the store says, which must be what it was given and has not
    /// any more. `overdraft` is what a suspended call has executed on credit.
    fn consumed(&self, overdraft: u64) -> i128 {
        if !self.metered {
            return 0;
        }
        let consumed = i128::from(self.store.fuel_consumed().unwrap() - self.before);
        // The store's: executed on credit before a call ended.
        let debt = i128::from(self.store.runtime_limits().fuel_consumed.max(0));
        let left = i128::from(self.store.get_fuel().unwrap());
        let expected = i128::from(self.given) - left + debt + i128::from(overdraft);
        assert_eq!(consumed, expected, "{}", self.case.name);
        consumed
    }

    pub fn call(&mut self) -> stillframe::Result<()> {
        let func = self.instance.get_func(&mut self.store, &self.case.func).unwrap();
        func.call(&mut self.store, &self.case.args, &mut self.results)
    }

    pub fn call_resumable(&mut self) -> stillframe::Result<ResumableCall> {
        let func = self.instance.get_func(&mut self.store, &self.case.func).unwrap();
        func.call_resumable(&mut self.store, &self.case.args, &mut self.results)
    }

    /// Calls, and carries the call on until it ends. `stopped` is told of each stop at which fuel
    /// has run out, and gives some more.
    pub fn carry_on(&mut self, mut stopped: impl FnMut(&mut Self, Stop)) -> stillframe::Result<()> {
        let mut call = self.call_resumable()?;
        loop {
            clobber_vector_registers();
            call = match call {
                ResumableCall::Finished => return Ok(()),
                ResumableCall::HostTrap(call) => {
                    let Instead(answer) = call.host_error().downcast_ref().expect("our error");
                    let answer = answer.clone();
                    call.resume(&mut self.store, &answer, &mut self.results)?
                }
                ResumableCall::Interrupted(call) => {
                    call.resume(&mut self.store, &mut self.results)?
                }
                ResumableCall::OutOfFuel(mut call) => loop {
                    let (required, overdraft) = (call.required_fuel(), call.overdraft());
                    let left = self.store.get_fuel().unwrap();
                    assert!(required > left, "{}: {required} needed of {left}", self.case.name);
                    let at = self.consumed(overdraft);
                    let need = required - overdraft;
                    stopped(self, Stop { at, need, required, overdraft, left });
                    let available = self.store.get_fuel().unwrap();
                    match call.resume(&mut self.store, &mut self.results) {
                        Ok(call) => break call,
                        Err(error) => {
                            let Some(&reason) = error.reason() else {
                                return Err(error.into_error());
                            };
                            assert!(available < required, "{}: {reason}", self.case.name);
                            let expected = ResumeRefused::NotEnoughFuel { required, available };
                            assert_eq!(reason, expected);
                            let same = error.into_call().expect("it was refused");
                            assert_eq!(same.required_fuel(), required);
                            assert_eq!(same.overdraft(), overdraft);
                            assert_eq!(self.store.get_fuel().unwrap(), available);
                            call = same;
                        }
                    }
                },
            };
        }
    }

    /// What the call has left behind.
    pub fn left(mut self, ended: stillframe::Result<()>) -> Left {
        let consumed = self.consumed(0);
        let ended = ended.map(|()| self.results.iter().map(|val| format!("{val:?}")).collect());
        let exports: Vec<(String, Extern)> = self
            .instance
            .exports(&self.store)
            .map(|export| (export.name().to_string(), export.into_extern()))
            .collect();
        let mut functions = Vec::new();
        for (name, export) in &exports {
            functions.extend((*export).into_func().map(|func| (func, name.clone())));
        }
        let (mut memories, mut globals, mut tables) = (vec![], vec![], vec![]);
        for (_, export) in exports {
            match export {
                Extern::Memory(memory) => memories.push(Bytes(memory.data(&self.store).to_vec())),
                Extern::Global(global) => {
                    globals.push(format!("{:?}", global.get(&mut self.store)));
                }
                Extern::Table(table) => {
                    let size = table.size(&self.store);
                    let element = |i| match table.get(&mut self.store, i).unwrap() {
                        Ref::Func(Some(func)) => {
                            let found = functions.iter().find(|(exported, _)| *exported == func);
                            found.map_or("a function".into(), |(_, name)| name.clone())
                        }
                        other => format!("{other:?}"),
                    };
                    tables.push((0..size).map(element).collect());
                }
                _ => {}
            }
        }
        let ended = ended.map_err(|error| error.root_cause().to_string());
        let log = std::mem::take(&mut self.store.data_mut().log);
        Left { ended, consumed, log, memories, globals, tables }
    }
}

/// Where a call stands that has run out of fuel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Units executed until there.
    pub at: i128,
    /// Units that the next step takes at least.
    pub need: u64,
    pub required: u64,
    pub overdraft: u64,
    /// What the store has.
    pub left: u64,
}

/// Puts numbers into the vector registers that no guest has there, so that what a resumed call does
/// not get back from its stack is not there by chance.
pub fn clobber_vector_registers() {
    macro_rules! fill {
        ($($register:tt)*) => {
            // SAFETY: writes registers only, and says which.
            unsafe {
                std::arch::asm!(
                    "movq xmm0, {0}",
                    "pshufd xmm0, xmm0, 0x44",
                    $(concat!("movdqa ", $register, ", xmm0"),)*
                    in(reg) 0x5eed_dead_5eed_dead_u64,
                    out("xmm0") _,
                    $(out($register) _,)*
                    options(nomem, nostack, preserves_flags),
                );
            }
        };
    }
    fill!("xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7" "xmm8" "xmm9" "xmm10" "xmm11" "xmm12"
        "xmm13" "xmm14" "xmm15");
}
