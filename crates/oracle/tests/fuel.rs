//! Fuel counted by hand: each number is the sum in the comment beside its program. Many of them are
//! the JIT's own (`tests/fuel/by_hand.rs`, `docs/fuel.md`).

use std::sync::Arc;
use stillframe_oracle::{
    Activation, Extern, FuncId, FuncType, Machine, Module, Outcome, Step, TrapKind, ValType, Value,
};

const I32: fn(u32) -> Value = Value::I32;

fn module(wat: &str) -> Arc<Module> {
    Module::shared(&wat::parse_str(wat).unwrap()).unwrap()
}

/// A machine with one instance; all its imports are host functions of type `i32 ->`.
fn instantiate(wat: &str) -> (Machine, FuncId) {
    let mut machine = Machine::new();
    let module = module(wat);
    let imports: Vec<Extern> = module
        .imports
        .iter()
        .map(|_| Extern::Func(machine.host_func(FuncType::new([ValType::I32], []))))
        .collect();
    let instance = machine.instantiate(&module, &imports).unwrap();
    let Some(Extern::Func(f)) = machine.export(instance, "f") else { panic!("no function f") };
    (machine, f)
}

/// Calls `f`: how it ended, and what it consumed.
fn run(wat: &str, args: &[Value]) -> (Outcome, u64) {
    let (mut machine, f) = instantiate(wat);
    let ended = machine.call(f, args.to_vec(), |_, _, _| Vec::new()).unwrap();
    (ended, machine.fuel_consumed())
}

#[track_caller]
fn expect_trap(wat: &str, args: &[Value], trap: TrapKind, consumed: u64) {
    assert_eq!(run(wat, args), (Outcome::Trapped(trap), consumed), "{wat}");
}

#[track_caller]
fn expect(wat: &str, args: &[Value], consumed: u64) {
    let (ended, fuel) = run(wat, args);
    assert!(matches!(ended, Outcome::Finished(_)), "{ended:?}: {wat}");
    assert_eq!(fuel, consumed, "{wat}");
}

#[test]
fn the_operator_that_traps_is_charged_and_what_follows_is_not() {
    // entry 1, const const div_u 3.
    let wat = "(module (func (export \"f\") (result i32)
        i32.const 1 i32.const 0 i32.div_u i32.const 5 i32.add))";
    expect_trap(wat, &[], TrapKind::IntegerDivisionByZero, 4);
    // entry 1, const trunc 2.
    let wat = "(module (func (export \"f\") (result i32) f32.const nan i32.trunc_f32_s))";
    expect_trap(wat, &[], TrapKind::BadConversionToInteger, 3);
    // entry 1, nop 0, const 1, drop 0, unreachable 0.
    let wat = "(module (func (export \"f\") nop i32.const 1 drop unreachable))";
    expect_trap(wat, &[], TrapKind::UnreachableCodeReached, 2);
    // entry 1, const const store 3, get load 2; then const load add 3, const add 2.
    let wat = "(module (memory 1) (func (export \"f\") (param i32) (result i32)
        i32.const 0 i32.const 7 i32.store local.get 0 i32.load
        i32.const 8 i32.load i32.add i32.const 1 i32.add))";
    expect_trap(wat, &[I32(65536)], TrapKind::MemoryOutOfBounds, 6);
    expect(wat, &[I32(0)], 11);
}

#[test]
fn structure_is_free_and_only_the_arm_that_is_taken_counts() {
    let wat = "(module (func (export \"f\") (param i32) (result i32)
        (block (loop nop))
        local.get 0
        if (result i32) i32.const 1 else i32.const 1 i32.const 2 i32.add end
        return))";
    // entry 1, get if 2, and const 1 or const const add 3.
    expect(wat, &[I32(1)], 4);
    expect(wat, &[I32(0)], 6);
    // The loop of `sum` in docs/fuel.md: 9 a round, and 6; the host function is free.
    let wat = "(module (import \"host\" \"log\" (func $log (param i32)))
        (func (export \"f\") (param $n i32) (result i32) (local $sum i32)
            (loop $again
                (local.set $sum (i32.add (local.get $sum) (local.get $n)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $log (local.get $sum))
            (i32.mul (local.get $sum) (i32.const 2))))";
    expect(wat, &[I32(3)], 33);
}

#[test]
fn calls_charge_the_operator_and_the_entry() {
    let wat = "(module
        (type $v (func)) (type $i (func (result i32)))
        (table 3 funcref) (elem (i32.const 1) $g $h)
        (func $g (type $i) i32.const 1)
        (func $h)
        (func (export \"f\") (param i32)
            i32.const 9 drop local.get 0 call_indirect (type $v) i32.const 9 drop))";
    // entry 1, const 1, get 1, call_indirect 1; then entry 1, const 1.
    expect_trap(wat, &[I32(0)], TrapKind::IndirectCallToNull, 4);
    expect_trap(wat, &[I32(1)], TrapKind::BadSignature, 4);
    expect_trap(wat, &[I32(3)], TrapKind::UndefinedElement, 4);
    expect(wat, &[I32(2)], 6);
    // A tail call is a call: entry 1, const return_call 2; entry 1, get 1.
    let wat = "(module (func $g (param i32) (result i32) local.get 0)
        (func (export \"f\") (result i32) i32.const 4 return_call $g))";
    expect(wat, &[], 5);
}

#[test]
fn bulk_operations_cost_their_length_also_when_they_trap() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32 i32)
        local.get 0 i32.const 1 local.get 1 memory.fill i32.const 1 drop))";
    // entry 1, get const get fill 4, 100 bytes, const 1.
    expect(wat, &[I32(0), I32(100)], 106);
    expect_trap(wat, &[I32(65500), I32(100)], TrapKind::MemoryOutOfBounds, 105);
    // entry 1, null const grow 3, 20 elements (refused), drop 0; const memory.grow 2.
    let wat = "(module (memory 1) (table 0 10 funcref) (func (export \"f\")
        ref.null func i32.const 20 table.grow drop i32.const 3 memory.grow drop))";
    expect(wat, &[], 26);
}

#[test]
fn throwing_costs_one_and_catching_nothing() {
    let wat = "(module (tag $t (param i32))
        (func $g (param i32) local.get 0 throw $t)
        (func (export \"f\") (result i32)
            (block $h (result i32)
                (try_table (catch $t $h) (call $g (i32.const 7)))
                i32.const 1 i32.const 1 i32.add)))";
    // entry 1, try_table 1, const call 2; entry 1, get throw 2.
    let (ended, fuel) = run(wat, &[]);
    assert_eq!((ended, fuel), (Outcome::Finished(vec![I32(7)]), 7));
}

#[test]
fn an_overflowing_call_is_charged_and_its_entry_is_not() {
    let (mut machine, f) =
        instantiate("(module (func $f (export \"f\") i32.const 1 drop call $f))");
    machine.max_depth = 10;
    let ended = machine.call(f, Vec::new(), |_, _, _| Vec::new()).unwrap();
    assert_eq!(ended, Outcome::Trapped(TrapKind::StackOverflow));
    // Ten times entry const call.
    assert_eq!(machine.fuel_consumed(), 30);
}

/// Steps to the next call of a host function.
fn to_host_call(call: &mut Activation, machine: &mut Machine) {
    loop {
        match call.step(machine) {
            Step::Running => {}
            Step::HostCall { .. } => return,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn fuel_is_exact_at_a_host_call_and_the_same_however_calls_are_interleaved() {
    let (mut machine, f) = instantiate(
        "(module (import \"\" \"h\" (func $h (param i32)))
            (func (export \"f\") i32.const 1 call $h i32.const 1 i32.const 1 drop call $h))",
    );
    let mut one = machine.start(f, Vec::new()).unwrap();
    to_host_call(&mut one, &mut machine);
    // entry const call.
    assert_eq!(machine.fuel_consumed(), 3);
    let mut two = machine.start(f, Vec::new()).unwrap();
    to_host_call(&mut two, &mut machine);
    assert_eq!(machine.fuel_consumed(), 6);
    one.host_returned(&machine, Vec::new()).unwrap();
    to_host_call(&mut one, &mut machine);
    // const const call.
    assert_eq!(machine.fuel_consumed(), 9);
}
