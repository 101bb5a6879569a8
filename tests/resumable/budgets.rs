//! Every budget, however cut: small modules with every kind of checkpoint, run whole, then cut in two
//! at each unit, in pieces, at each checkpoint, and at each call of the host.

use super::common::{Case, Left, PLENTY, Prepared, Run, Stop, cases, compute, engine};
use stillframe::{Config, Engine, OptLevel, Val};

/// The engines that cases run in.
pub struct Engines {
    fuel: Engine,
    fuel_and_epochs: Engine,
    unoptimised: Engine,
    unmetered: Engine,
}

impl Engines {
    pub fn new() -> Engines {
        let mut unoptimised = Config::new();
        unoptimised.consume_fuel(true).cranelift_opt_level(OptLevel::None);
        Engines {
            fuel: engine(|_| ()),
            fuel_and_epochs: engine(|config| {
                config.epoch_interruption(true);
            }),
            unoptimised: Engine::new(&unoptimised).unwrap(),
            unmetered: Engine::default(),
        }
    }

    /// Runs a case in every way in which it can be cut. Returns what it leaves and where it stops.
    pub fn check(&self, case: &Case) -> (Left, Vec<Stop>) {
        let name = &case.name;
        let fuel = Prepared::new(&self.fuel, case);
        let mut run = fuel.run();
        run.give(PLENTY);
        let ended = run.call();
        let whole = run.left(ended);

        let uncut = carried(&fuel, PLENTY, |_, stop| panic!("{name}: {stop:?}"));
        assert_eq!(uncut, whole, "{name}: resumable, and not suspended");

        // From one checkpoint to the next.
        let mut stops = Vec::new();
        let least = carried(&fuel, 0, |run, stop| {
            stops.push(stop);
            run.give(stop.required - stop.left);
        });
        assert_eq!(least, whole, "{name}: with what is required");
        assert!(stops.is_sorted_by(|a, b| a.at < b.at), "{name}: {stops:?}");

        let consumed = u64::try_from(whole.consumed).unwrap();
        for budget in 0..=consumed {
            let mut first = None;
            let cut = carried(&fuel, budget, |run, stop| {
                first = Some(stop);
                run.give(PLENTY);
            });
            assert_eq!(cut, whole, "{name}: cut at {budget}");
            assert_eq!(first, expected_stop(&stops, budget), "{name}: cut at {budget}");
        }
        for piece in [1, 7, 1000] {
            let cut = carried(&fuel, piece, |run, _| run.give(piece));
            assert_eq!(cut, whole, "{name}: in pieces of {piece}");
        }
        let unoptimised = Prepared::new(&self.unoptimised, case);
        let cut = carried(&unoptimised, 0, |run, stop| run.give(stop.required - stop.left));
        assert_eq!(cut, whole, "{name}: not optimised");

        // The deadline has passed all the time, so each checkpoint suspends, for one reason or both.
        let both = Prepared::new(&self.fuel_and_epochs, case);
        for piece in [PLENTY, 3] {
            let mut run = both.run();
            run.store.epoch_deadline_suspend();
            run.give(piece);
            let ended = run.carry_on(|run, _| run.give(piece));
            assert_eq!(run.left(ended), whole, "{name}: interrupted, in pieces of {piece}");
        }

        // Host functions fail, and the call goes on as if they had not.
        for piece in [PLENTY, 5] {
            let mut run = fuel.run();
            run.store.data_mut().fail = true;
            run.give(piece);
            let ended = run.carry_on(|run, _| run.give(piece));
            assert_eq!(run.left(ended), whole, "{name}: the host fails, in pieces of {piece}");
        }
        let unmetered = Prepared::new(&self.unmetered, case);
        let mut run = unmetered.run();
        run.store.data_mut().fail = true;
        let ended = run.carry_on(|_, stop| panic!("{name}: {stop:?}"));
        let mut left = run.left(ended);
        left.consumed = whole.consumed;
        assert_eq!(left, whole, "{name}: the host fails, not metered");
        (whole, stops)
    }
}

/// Runs a case with a first budget, and whatever `stopped` gives at each stop.
fn carried(prepared: &Prepared<'_>, budget: u64, stopped: impl FnMut(&mut Run<'_>, Stop)) -> Left {
    let mut run = prepared.run();
    run.give(budget);
    let ended = run.carry_on(stopped);
    run.left(ended)
}

/// Where a call with this budget stops first, by the definition of a checkpoint: at the first whose
/// need is not left.
fn expected_stop(stops: &[Stop], budget: u64) -> Option<Stop> {
    let short = |stop: &&Stop| stop.at + i128::from(stop.need) > i128::from(budget);
    let stop = stops.iter().find(short)?;
    let over = stop.at - i128::from(budget);
    let overdraft = u64::try_from(over).unwrap_or(0);
    let left = u64::try_from(-over).unwrap_or(0);
    Some(Stop { required: stop.need + overdraft, overdraft, left, ..*stop })
}

/// Checks all cases of a script, against the oracle too. Returns what was consumed by those that end
/// in an error, by function.
fn check_script(script: &str, text: &str) -> Vec<(String, i128)> {
    let engines = Engines::new();
    let (mut failed, mut all_stops) = (Vec::new(), 0);
    for case in cases(script, text) {
        let (left, stops) = engines.check(&case);
        all_stops += stops.len();
        match &left.ended {
            Ok(results) => {
                let (theirs, consumed) = oracle(&case);
                assert_eq!(results, &theirs, "{}", case.name);
                assert_eq!(left.consumed, consumed, "{}", case.name);
            }
            Err(_) => failed.push((case.func, left.consumed)),
        }
    }
    assert!(all_stops > 20, "{script}: only {all_stops} stops");
    failed
}

/// What wasmtime 48 makes of a case: results and fuel.
fn oracle(case: &Case) -> (Vec<String>, i128) {
    let mut config = wasmtime::Config::new();
    config.consume_fuel(true).wasm_tail_call(true).wasm_multi_memory(true).wasm_memory64(true);
    config.wasm_exceptions(true);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let module = wasmtime::Module::new(&engine, &case.wasm).unwrap();
    let mut linker = wasmtime::Linker::new(&engine);
    linker.func_wrap("host", "next", compute::next).unwrap();
    linker
        .func_wrap("host", "split", |x: i64| {
            let (a, b, c, d, e) = compute::split(x);
            (a, b, c, d, wasmtime::V128::from(e))
        })
        .unwrap();
    let mix = |a, b, c, d, e: wasmtime::V128| compute::mix(a, b, c, d, e.as_u128());
    linker.func_wrap("host", "mix", mix).unwrap();
    linker.func_wrap("host", "note", |_: i64| ()).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    store.set_fuel(PLENTY).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.set_fuel(PLENTY).unwrap();
    let func = instance.get_func(&mut store, &case.func).unwrap();
    let arg = |arg: &Val| match *arg {
        Val::I32(value) => wasmtime::Val::I32(value),
        Val::I64(value) => wasmtime::Val::I64(value),
        Val::F32(bits) => wasmtime::Val::F32(bits),
        Val::F64(bits) => wasmtime::Val::F64(bits),
        ref other => panic!("{other:?}"),
    };
    let args: Vec<_> = case.args.iter().map(arg).collect();
    let mut results = vec![wasmtime::Val::I32(0); func.ty(&store).results().len()];
    func.call(&mut store, &args, &mut results).expect(&case.name);
    let result = |result: &wasmtime::Val| match *result {
        wasmtime::Val::I32(value) => Val::I32(value),
        wasmtime::Val::I64(value) => Val::I64(value),
        wasmtime::Val::F32(bits) => Val::F32(bits),
        wasmtime::Val::F64(bits) => Val::F64(bits),
        wasmtime::Val::V128(value) => Val::V128(value.as_u128().into()),
        ref other => panic!("{other:?}"),
    };
    let results = results.iter().map(|val| format!("{:?}", result(val))).collect();
    (results, i128::from(PLENTY - store.get_fuel().unwrap()))
}

#[test]
fn control_flow_calls_and_exceptions() {
    let failed = check_script("control.wast", include_str!("control.wast"));
    // Thrown through both functions; the rest returns.
    assert_eq!(failed.iter().map(|(func, _)| func.as_str()).collect::<Vec<_>>(), ["uncaught"]);
}

#[test]
fn operations_on_many_bytes_or_elements() {
    let failed = check_script("bulk.wast", include_str!("bulk.wast"));
    let expected = [
        // entry 1; const const store 3; const const get fill 4, 20 bytes.
        ("fill", 1 + 3 + 4 + 20),
        // entry 1; const const get and the operator 4; its bytes or elements.
        ("init", 1 + 4 + 6),
        ("table.fill", 1 + 4 + 5),
        ("table.init", 1 + 4 + 2),
        ("table.copy", 1 + 4 + 4),
    ];
    assert_eq!(failed, expected.map(|(func, consumed)| (func.to_string(), consumed)));
}

#[test]
fn traps_after_resuming() {
    let failed = check_script("traps.wast", include_str!("traps.wast"));
    // `$count`: entry 1, and for each round get const add set 4, get const sub tee br_if 5.
    let count = |rounds: i128| 1 + 9 * rounds;
    let expected = [
        // entry, get, call, the callee; unreachable 0.
        ("unreachable", 3 + count(3)),
        // and const const store 3, const load 2.
        ("load", 3 + count(3) + 5),
        // and get const div 3.
        ("divide", 3 + count(3) + 3),
        // entry, get, call; drop 0, const load 2.
        ("after the host", 3 + 2),
        // and const call_indirect 2.
        ("null", 3 + count(3) + 2),
        // entry, const, call, the callee; get trunc 2.
        ("truncate", 3 + count(2) + 2),
    ];
    assert_eq!(failed, expected.map(|(func, consumed)| (func.to_string(), consumed)));
}

#[test]
fn programs_that_mix_everything() {
    check_script("mixed.wast", include_str!("../fuel/mixed.wast"));
}

#[test]
fn exceptions() {
    check_script("exceptions.wast", include_str!("../fuel/exceptions.wast"));
}

#[test]
fn every_stop_of_a_small_call_is_where_the_contract_says() {
    let case = Case {
        name: "by hand".into(),
        wasm: wat::parse_str(
            r#"(module
                (import "host" "note" (func $note (param i64)))
                (memory 1)
                (func $callee (param i32)
                    (loop $again (br_if $again (local.tee 0 (i32.shr_u (local.get 0) (i32.const 1))))))
                (func (export "f") (param i32)
                    (call $callee (local.get 0))
                    (call $note (i64.const 5))
                    (memory.fill (i32.const 0) (i32.const 0) (local.get 0))
                    (memory.fill (i32.const 0) (i32.const 0) (i32.const 3))))"#,
        )
        .unwrap(),
        func: "f".into(),
        args: vec![Val::I32(7)],
    };
    let (left, stops) = Engines::new().check(&case);
    let stops: Vec<_> = stops.iter().map(|stop| (stop.at, stop.need)).collect();
    let expected = [
        // f's entry.
        (0, 1),
        // entry 1, get call 2; $callee's entry.
        (3, 1),
        // entry 1; the loop's header, before each of three rounds of get const shr tee br_if 5.
        (4, 1),
        (9, 1),
        (14, 1),
        // the third round 5, const call 2; the host's trampoline.
        (21, 1),
        // const const get 3; seven bytes.
        (24, 7),
    ];
    assert_eq!(stops, expected);
    // 7 bytes, fill 1; const const const fill 4, 3 bytes, without a checkpoint.
    assert_eq!(left.consumed, 24 + 8 + 7);
}

/// A long call in the smallest pieces.
#[test]
fn two_hundred_thousand_units_one_by_one() {
    let case = Case {
        name: "long".into(),
        wasm: wat::parse_str(
            r#"(module
                (memory (export "memory") 1)
                (global $sum (export "sum") (mut i64) (i64.const 0))
                (func $mix (param $x i64) (result i64)
                    (global.set $sum (i64.add (global.get $sum) (local.get $x)))
                    (i64.rotl (i64.mul (local.get $x) (i64.const 0x9e3779b97f4a7c15))
                        (i64.const 23)))
                (func (export "f") (param $n i32) (result i64 f64) (local $x i64) (local $f f64)
                    (local.set $x (i64.const 1))
                    (loop $again
                        (local.set $x (call $mix (i64.add (local.get $x) (i64.const 1))))
                        (local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.5))
                            (f64.convert_i64_s (local.get $x))))
                        (i64.store (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x7ff8))
                            (i64.xor (local.get $x)
                                (i64.load (i32.and (i32.wrap_i64 (local.get $x))
                                    (i32.const 0x7ff8)))))
                        (memory.fill (i32.const 0x8000) (local.get $n)
                            (i32.and (local.get $n) (i32.const 15)))
                        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                    (local.get $x) (local.get $f)))"#,
        )
        .unwrap(),
        func: "f".into(),
        args: vec![Val::I32(5_000)],
    };
    let engines = Engines::new();
    let fuel = Prepared::new(&engines.fuel, &case);
    let mut run = fuel.run();
    run.give(PLENTY);
    let ended = run.call();
    let whole = run.left(ended);
    assert!(whole.consumed > 200_000, "{}", whole.consumed);
    let (theirs, consumed) = oracle(&case);
    assert_eq!((whole.ended.as_ref().unwrap(), whole.consumed), (&theirs, consumed));
    for piece in [1, 7, 1000] {
        let cut = carried(&fuel, piece, |run, _| run.give(piece));
        assert_eq!(cut, whole, "in pieces of {piece}");
    }
}
