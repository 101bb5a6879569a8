//! Fuel counted by hand: each expected number is the sum in the comment beside its program.

use stillframe::{
    Caller, Config, Engine, Func, Instance, Linker, Module, OperatorCosts, Store, Trap, Val,
};

const PLENTY: u64 = 1_000_000;

fn engine() -> Engine {
    Engine::new(Config::new().consume_fuel(true)).unwrap()
}

fn instantiate(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, ());
    store.set_fuel(PLENTY).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.set_fuel(PLENTY).unwrap();
    (store, instance)
}

/// Calls `f` with `args`; returns the trap, if any, and the fuel consumed.
fn run(wat: &str, args: &[Val]) -> (Option<Trap>, u64) {
    let (mut store, instance) = instantiate(&engine(), wat);
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = vec![Val::I32(0); f.ty(&store).results().len()];
    let trap = f
        .call(&mut store, args, &mut results)
        .err()
        .map(|error| *error.downcast_ref::<Trap>().expect("a trap"));
    (trap, PLENTY - store.get_fuel().unwrap())
}

#[track_caller]
fn expect(wat: &str, args: &[Val], trap: Trap, consumed: u64) {
    assert_eq!(run(wat, args), (Some(trap), consumed), "{wat}");
}

#[test]
fn a_trap_gives_back_what_its_run_had_charged_and_not_executed() {
    // entry 1, const 1, const 1, div_u 1; the rest is not executed.
    expect(
        "(module (func (export \"f\") (result i32)
            i32.const 1 i32.const 0 i32.div_u i32.const 5 i32.add i32.const 6 i32.add))",
        &[],
        Trap::IntegerDivisionByZero,
        4,
    );
    // entry 1, const 1, const 1, div_s 1.
    expect(
        "(module (func (export \"f\") (result i32)
            i32.const 0x80000000 i32.const -1 i32.div_s i32.const 5 i32.add))",
        &[],
        Trap::IntegerOverflow,
        4,
    );
    // entry 1, const 1, trunc 1.
    expect(
        "(module (func (export \"f\") (result i32) f32.const nan i32.trunc_f32_s i32.const 1 i32.add))",
        &[],
        Trap::BadConversionToInteger,
        3,
    );
    // entry 1, const 1, trunc 1.
    expect(
        "(module (func (export \"f\") (result i32) f64.const 1e300 i32.trunc_f64_s i32.const 1 i32.add))",
        &[],
        Trap::IntegerOverflow,
        3,
    );
    // entry 1, nop 0, unreachable 0.
    expect("(module (func (export \"f\") nop unreachable))", &[], Trap::UnreachableCodeReached, 1);
    // entry 1, const 1, drop 0, unreachable 0; what follows is not reachable.
    expect(
        "(module (func (export \"f\") i32.const 1 drop unreachable i32.const 2 drop))",
        &[],
        Trap::UnreachableCodeReached,
        2,
    );
}

#[test]
fn memory_traps_are_settled_at_the_operator_that_faults() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32) (result i32)
        i32.const 0 i32.const 7 i32.store
        local.get 0 i32.load
        i32.const 8 i32.load i32.add
        i32.const 1 i32.add))";
    // entry 1, const const store 3, local.get load 2.
    expect(wat, &[Val::I32(65536)], Trap::MemoryOutOfBounds, 6);
    expect(wat, &[Val::I32(-1)], Trap::MemoryOutOfBounds, 6);
    // And all of it: 6, const load add 3, const add 2.
    assert_eq!(run(wat, &[Val::I32(0)]), (None, 11));
    // A store: entry 1, get 1, const 1, store 1.
    expect(
        "(module (memory 1) (func (export \"f\") (param i32)
            local.get 0 i32.const 1 i32.store offset=4 i32.const 2 drop))",
        &[Val::I32(65530)],
        Trap::MemoryOutOfBounds,
        4,
    );
    // A 64-bit memory: entry 1, get 1, load 1.
    expect(
        "(module (memory i64 1) (func (export \"f\") (param i64) (result i32)
            local.get 0 i32.load i32.const 1 i32.add))",
        &[Val::I64(65533)],
        Trap::MemoryOutOfBounds,
        3,
    );
}

/// Cranelift sinks the first load into the add, behind operators that cost something.
#[test]
fn a_load_that_is_sunk_into_a_later_operator_is_settled_where_it_stood() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32 i32 i32) (result i32)
        local.get 1 local.get 2 i32.mul
        local.get 0 i32.load
        local.get 1 local.get 2 i32.xor local.get 1 i32.and drop
        i32.add
        i32.const 3 i32.mul))";
    // entry 1, get get mul 3, get load 2.
    expect(wat, &[Val::I32(70000), Val::I32(1), Val::I32(2)], Trap::MemoryOutOfBounds, 6);
    // 6, get get xor get and 5, drop 0, add 1, const mul 2.
    assert_eq!(run(wat, &[Val::I32(0), Val::I32(1), Val::I32(2)]), (None, 14));
}

#[test]
fn long_runs_of_loads_are_settled_at_each_of_them() {
    // Load number n stands at address n·4; with a memory of 1 page and a base b, load n faults
    // when b + 4n + 4 > 65536.
    let loads: String =
        (0..450).map(|n| format!("local.get 0 i32.load offset={} drop\n", n * 4)).collect();
    let wat = format!("(module (memory 1) (func (export \"f\") (param i32) {loads}))");
    for n in [0, 1, 99, 100, 101, 199, 200, 201, 299, 300, 449] {
        let base = 65536 - 4 * n;
        // entry 1, and get + load for each of the n that succeed and the one that faults.
        let consumed = 1 + 2 * (n as u64 + 1);
        expect(&wat, &[Val::I32(base)], Trap::MemoryOutOfBounds, consumed);
    }
}

#[test]
fn indirect_calls_and_tables() {
    let wat = "(module
        (type $v (func)) (type $i (func (result i32)))
        (table 3 funcref) (elem (i32.const 1) $g)
        (func $g (type $i) i32.const 1)
        (func (export \"f\") (param i32)
            i32.const 9 drop
            local.get 0 call_indirect (type $v)
            i32.const 9 drop))";
    // entry 1, const 1, get 1, call_indirect 1.
    expect(wat, &[Val::I32(0)], Trap::IndirectCallToNull, 4);
    expect(wat, &[Val::I32(1)], Trap::BadSignature, 4);
    expect(wat, &[Val::I32(3)], Trap::UndefinedElement, 4);
    // entry 1, get 1, table.get 1.
    expect(
        "(module (table 3 funcref) (func (export \"f\") (param i32)
            local.get 0 table.get 0 drop i32.const 1 drop))",
        &[Val::I32(3)],
        Trap::TableOutOfBounds,
        3,
    );
}

#[test]
fn a_trap_in_a_callee_leaves_the_callers_count_as_it_is() {
    // f: entry 1, const 1, call 1; g: entry 1, get const div 3. The drop and const after the call
    // belong to a run that is never started.
    expect(
        "(module
            (func $g (param i32) (result i32) local.get 0 i32.const 0 i32.div_s)
            (func (export \"f\") i32.const 4 call $g drop i32.const 1 drop))",
        &[],
        Trap::IntegerDivisionByZero,
        7,
    );
}

#[test]
fn bulk_operations_cost_their_length_also_when_they_trap() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32 i32)
        local.get 0 i32.const 1 local.get 1 memory.fill i32.const 1 drop))";
    // entry 1, get const get fill 4, 100 bytes, const 1.
    assert_eq!(run(wat, &[Val::I32(0), Val::I32(100)]), (None, 106));
    // Out of bounds: all but the const after it.
    expect(wat, &[Val::I32(65500), Val::I32(100)], Trap::MemoryOutOfBounds, 105);
}

#[test]
fn stack_overflow_charges_the_functions_that_were_entered() {
    let (mut store, instance) = instantiate(
        &engine(),
        "(module (global $n (mut i64) (i64.const 0))
            (func $f (export \"f\") global.get $n i64.const 1 i64.add global.set $n call $f)
            (func (export \"n\") (result i64) global.get $n))",
    );
    store.set_fuel(PLENTY).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let error = f.call(&mut store, &[], &mut []).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    let consumed = PLENTY - store.get_fuel().unwrap();
    let n = instance.get_typed_func::<(), i64>(&mut store, "n").unwrap();
    let entered = n.call(&mut store, ()).unwrap() as u64;
    // Each: entry 1, get const add set 4, call 1.
    assert_eq!(consumed, entered * 6);
}

#[test]
fn out_of_fuel_stops_at_the_first_checkpoint_without_any_left_and_counts_the_overdraft() {
    // The loop's body: get const sub tee br_if = 5. Before it: entry 1. No checkpoint but the
    // function's entry and the loop's header.
    let wat = "(module (func (export \"f\") (param i32)
        (loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0)))";
    let module_engine = engine();
    for budget in 0..40u64 {
        let (mut store, instance) = instantiate(&module_engine, wat);
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
        store.set_fuel(budget).unwrap();
        let result = f.call(&mut store, 5);
        // Five rounds are 1 + 25; the last header test is before round 5, at 21 consumed.
        if budget >= 22 {
            result.unwrap();
            assert_eq!(store.get_fuel().unwrap(), budget.saturating_sub(26));
        } else {
            let error = result.unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
            // Stopped at the first of 0, 1, 6, 11, 16, 21 that is not below the budget.
            let consumed = [0, 1, 6, 11, 16, 21].into_iter().find(|c| *c >= budget).unwrap() as i64;
            let limits = store.runtime_limits();
            assert_eq!(limits.fuel_consumed, consumed - budget as i64, "budget {budget}");
            assert_eq!(store.get_fuel().unwrap(), 0);
        }
    }
}

#[test]
fn a_bulk_operation_needs_its_whole_cost_before_it_starts() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32)
        i32.const 0 i32.const 1 local.get 0 memory.fill)
        (func (export \"first\") (result i32) i32.const 0 i32.load8_u))";
    // entry 1, const const get 3; then the checkpoint wants 1000.
    for (budget, runs) in [(4 + 999, false), (4 + 1000, true)] {
        let (mut store, instance) = instantiate(&engine(), wat);
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
        store.set_fuel(budget).unwrap();
        let result = f.call(&mut store, 1000);
        assert_eq!(result.is_ok(), runs, "budget {budget}");
        let limits = store.runtime_limits();
        // Stopped: 4 were charged. Finished: 1 for the operator and 1000 more.
        assert_eq!(limits.fuel_consumed, if runs { 1 } else { 4 - budget as i64 });
        store.set_fuel(PLENTY).unwrap();
        let first = instance.get_typed_func::<(), i32>(&mut store, "first").unwrap();
        assert_eq!(first.call(&mut store, ()).unwrap(), i32::from(runs));
    }
}

#[test]
fn small_constant_bulk_operations_have_no_checkpoint() {
    let wat = |len: u32| {
        format!(
            "(module (memory 1) (func (export \"f\")
                i32.const 0 i32.const 1 i32.const {len} memory.fill))"
        )
    };
    for (len, runs) in [(128, true), (129, false)] {
        let (mut store, instance) = instantiate(&engine(), &wat(len));
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        store.set_fuel(1).unwrap();
        assert_eq!(f.call(&mut store, ()).is_ok(), runs, "{len} bytes");
    }
}

#[test]
fn host_functions_are_called_with_fuel_left_and_see_it_exactly() {
    let engine = engine();
    let module = Module::new(
        &engine,
        "(module (import \"\" \"h\" (func $h))
            (func (export \"f\") i32.const 1 drop call $h i32.const 1 drop call $h))",
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "h", |mut caller: Caller<'_, Vec<u64>>| {
            let left = caller.get_fuel().unwrap();
            caller.data_mut().push(left);
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    store.set_fuel(100).unwrap();
    f.call(&mut store, ()).unwrap();
    // entry const call 3; const call 2.
    assert_eq!(*store.data(), [97, 95]);
    assert_eq!(store.get_fuel().unwrap(), 95);
    // With 3 the trampoline of the first call finds none left.
    store.data_mut().clear();
    store.set_fuel(3).unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert!(store.data().is_empty());
}

#[test]
fn a_host_function_can_add_fuel() {
    let engine = engine();
    let module = Module::new(
        &engine,
        "(module (import \"\" \"h\" (func $h))
            (func (export \"f\") call $h (loop br 0)))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let refill =
        Func::wrap(&mut store, |mut caller: Caller<'_, ()>| caller.set_fuel(1000).unwrap());
    let instance = Instance::new(&mut store, &module, &[refill.into()]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    store.set_fuel(10).unwrap();
    f.call(&mut store, ()).unwrap_err();
    // The loop costs 1 a round (br), and stops with none left.
    assert_eq!(store.runtime_limits().fuel_consumed, 0);
}

#[test]
fn more_fuel_than_fits_an_i64_is_all_there() {
    let (mut store, instance) =
        instantiate(&engine(), "(module (func (export \"f\") i32.const 1 drop))");
    store.set_fuel(u64::MAX).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 2);
}

#[test]
fn a_cost_table_replaces_the_default() {
    let mut costs = OperatorCosts::free();
    costs.set("i32.add", 1_000).unwrap();
    costs.set("function entry", 7).unwrap();
    costs.set("memory.fill per byte", 3).unwrap();
    let engine = Engine::new(Config::new().consume_fuel(true).operator_costs(costs)).unwrap();
    let (mut store, instance) = instantiate(
        &engine,
        "(module (memory 1)
            (func $g (result i32) i32.const 1 i32.const 2 i32.add)
            (func (export \"f\") (param i32)
                call $g call $g i32.add drop
                i32.const 0 i32.const 0 local.get 0 memory.fill))",
    );
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    f.call(&mut store, 200).unwrap();
    // Three entries, three adds, 200 bytes.
    assert_eq!(PLENTY - store.get_fuel().unwrap(), 21 + 3_000 + 600);
}

#[test]
fn giant_costs_saturate_instead_of_wrapping() {
    let wat = "(module (memory i64 1) (func (export \"f\") (param i64)
        i64.const 0 i32.const 0 local.get 0 memory.fill))";
    let mut costs = OperatorCosts::default();
    costs.set("memory.fill per byte", u32::MAX).unwrap();
    let engine = Engine::new(Config::new().consume_fuel(true).operator_costs(costs)).unwrap();
    for len in [i64::MAX, -1, 1 << 40] {
        let (mut store, instance) = instantiate(&engine, wat);
        let f = instance.get_typed_func::<i64, ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, len).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel), "{len}");
        // entry const const get.
        assert_eq!(PLENTY - store.get_fuel().unwrap(), 4);
    }
}
