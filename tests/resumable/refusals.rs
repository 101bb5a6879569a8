//! What is refused: a resume with a wrong store, wrong values or too little fuel gives the call back,
//! nothing has run, and the call then works.
//!
//! That a call is resumed twice need not be tested: `resume` takes it by value, and it is not `Clone`.

use super::common::{PLENTY, guest, host_trap, interrupted, out_of_fuel, refused};
use stillframe::{
    Caller, Config, Engine, ExternRef, Func, Instance, Linker, Module, ResumableCall,
    ResumeRefused, Store, TypedResumableCall, Val, ValType, bail,
};

const ASK: &str = r#"
(module
  (import "host" "ask" (func $ask (result i32 f64 externref funcref)))
  (global $asked (export "asked") (mut i32) (i32.const 0))
  (func (export "f") (result i32 i32) (local i32)
    (global.set $asked (i32.add (global.get $asked) (i32.const 1)))
    (call $ask) (drop) (drop)
    (i32.trunc_f64_s)
    (global.set $asked (i32.add (global.get $asked) (i32.const 1)))))
"#;

/// A store with a call in it that waits for `ask`'s results.
fn asking(engine: &Engine) -> (Store<u32>, Instance, stillframe::ResumableCallHostTrap) {
    let module = Module::new(engine, ASK).unwrap();
    let mut linker = Linker::new(engine);
    let ty = stillframe::FuncType::new(
        [],
        [ValType::I32, ValType::F64, ValType::ExternRef, ValType::FuncRef],
    );
    linker
        .func_new("host", "ask", ty, |mut caller: Caller<'_, u32>, _, _| {
            *caller.data_mut() += 1;
            bail!("ask")
        })
        .unwrap();
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0), Val::I32(0)];
    let call = host_trap(func.call_resumable(&mut store, &[], &mut results).unwrap());
    (store, instance, call)
}

fn answer() -> [Val; 4] {
    [Val::I32(1), Val::from(2.9), Val::ExternRef(None), Val::FuncRef(None)]
}

/// The call is as it was, and finishes with the right inputs.
fn finishes(
    store: &mut Store<u32>,
    instance: Instance,
    call: stillframe::ResumableCallHostTrap,
    asked_before: u32,
) {
    assert_eq!(call.host_error().to_string(), "ask");
    let asked = instance.get_global(&mut *store, "asked").unwrap();
    assert_eq!(asked.get(&mut *store).unwrap_i32(), 1, "nothing has run");
    let mut results = [Val::I32(0), Val::I32(0)];
    let done = call.resume(&mut *store, &answer(), &mut results).unwrap();
    assert!(matches!(done, ResumableCall::Finished));
    assert_eq!(results.map(|val| val.unwrap_i32()), [1, 2]);
    assert_eq!(asked.get(&mut *store).unwrap_i32(), 2);
    assert_eq!(*store.data(), asked_before, "not asked again");
}

#[test]
fn wrong_inputs_and_outputs() {
    let engine = Engine::default();
    let (mut store, instance, mut call) = asking(&engine);
    let [a, b, c, d] = answer();
    let input_type = |index, expected, found| ResumeRefused::InputType { index, expected, found };
    let cases: Vec<(Vec<Val>, usize, ResumeRefused)> = vec![
        (vec![], 2, ResumeRefused::InputCount { expected: 4, found: 0 }),
        (vec![a, b, c], 2, ResumeRefused::InputCount { expected: 4, found: 3 }),
        (vec![a, b, c, d, a], 2, ResumeRefused::InputCount { expected: 4, found: 5 }),
        (vec![a; 100], 2, ResumeRefused::InputCount { expected: 4, found: 100 }),
        (vec![b, b, c, d], 2, input_type(0, ValType::I32, ValType::F64)),
        (vec![a, Val::F32(0), c, d], 2, input_type(1, ValType::F64, ValType::F32)),
        (vec![a, b, d, c], 2, input_type(2, ValType::ExternRef, ValType::FuncRef)),
        (vec![a, b, c, c], 2, input_type(3, ValType::FuncRef, ValType::ExternRef)),
        // The outputs are looked at first.
        (vec![a, b, c, d], 1, ResumeRefused::OutputCount { expected: 2, found: 1 }),
        (vec![a, b, c, d], 3, ResumeRefused::OutputCount { expected: 2, found: 3 }),
        (vec![a], 0, ResumeRefused::OutputCount { expected: 2, found: 0 }),
    ];
    for (inputs, outputs, expected) in cases {
        let mut outputs = vec![Val::I64(-1); outputs];
        let (same, reason) = refused(call.resume(&mut store, &inputs, &mut outputs));
        assert_eq!(reason, expected);
        assert!(outputs.iter().all(|output| output.i64() == Some(-1)));
        call = same;
    }
    finishes(&mut store, instance, call, 1);
}

#[test]
fn references_of_another_store() {
    let engine = Engine::default();
    let (mut store, instance, call) = asking(&engine);
    let mut other = Store::new(&engine, ());
    let (object, func) =
        (ExternRef::new(&mut other, 1).unwrap(), Func::wrap(&mut other, || -> i32 { 1 }));
    let [a, b, c, d] = answer();
    let mut outputs = [a, a];
    let inputs = [a, b, object.into(), d];
    let (call, reason) = refused(call.resume(&mut store, &inputs, &mut outputs));
    assert_eq!(reason, ResumeRefused::InputStore { index: 2 });
    let inputs = [a, b, c, func.into()];
    let (call, reason) = refused(call.resume(&mut store, &inputs, &mut outputs));
    assert_eq!(reason, ResumeRefused::InputStore { index: 3 });
    finishes(&mut store, instance, call, 1);
}

#[test]
fn another_store_is_seen_before_anything_else() {
    let engine = Engine::default();
    let (mut store, instance, call) = asking(&engine);
    let (mut other, other_instance, other_call) = asking(&engine);
    let before = (store.runtime_limits(), other.runtime_limits());
    // With everything else wrong as well.
    let (call, reason) = refused(call.resume(&mut other, &[], &mut []));
    assert_eq!(reason, ResumeRefused::WrongStore);
    let (call, reason) = refused(call.resume(&mut other, &answer(), &mut [Val::I32(0); 2]));
    assert_eq!(reason, ResumeRefused::WrongStore);
    assert!(call.backtrace(&other).is_err());
    assert_eq!((store.runtime_limits(), other.runtime_limits()), before);
    // Also a store of another engine.
    let (mut third, _, _) = asking(&Engine::default());
    let (call, reason) = refused(call.resume(&mut third, &answer(), &mut [Val::I32(0); 2]));
    assert_eq!(reason, ResumeRefused::WrongStore);
    finishes(&mut store, instance, call, 1);
    finishes(&mut other, other_instance, other_call, 1);
}

#[test]
fn the_store_is_gone_and_another_takes_its_place() {
    let engine = Engine::default();
    for _ in 0..50 {
        let (store, _, call) = asking(&engine);
        drop(store);
        // As likely as not at the same address.
        let (mut other, instance, other_call) = asking(&engine);
        let (call, reason) = refused(call.resume(&mut other, &answer(), &mut [Val::I32(0); 2]));
        assert_eq!(reason, ResumeRefused::WrongStore);
        assert_eq!(call.host_error().to_string(), "ask");
        assert!(call.backtrace(&other).is_err());
        assert_eq!(other.suspended_backtraces().len(), 1);
        drop(call);
        finishes(&mut other, instance, other_call, 1);
    }
}

#[test]
fn the_other_kinds_of_calls_know_their_store_too() {
    let wat = "(module (func (export \"f\") (result i32) (loop (br 0)) (i32.const 1)))";
    let (mut store, instance) = guest(wat);
    let (mut other, _) = guest(wat);
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    store.set_fuel(10).unwrap();
    let TypedResumableCall::OutOfFuel(call) = f.call_resumable(&mut store, ()).unwrap() else {
        panic!("it loops for ever")
    };
    let (call, reason) = refused(call.resume(&mut other));
    assert_eq!(reason, ResumeRefused::WrongStore);
    assert_eq!(other.get_fuel().unwrap(), PLENTY, "nothing was charged");
    // The store is looked at before the outputs.
    let (call, reason) = refused(call.into_untyped().resume(&mut other, &mut []));
    assert_eq!(reason, ResumeRefused::WrongStore);
    // The outputs before the fuel.
    let (call, reason) = refused(call.resume(&mut store, &mut []));
    assert_eq!(reason, ResumeRefused::OutputCount { expected: 1, found: 0 });
    let (call, reason) = refused(call.resume(&mut store, &mut [Val::I32(0)]));
    assert_eq!(reason, ResumeRefused::NotEnoughFuel { required: 1, available: 0 });
    store.set_fuel(1).unwrap();
    drop(out_of_fuel(call.resume(&mut store, &mut [Val::I32(0)]).unwrap()));

    let mut config = Config::new();
    let engine = Engine::new(config.epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    let [(mut store, f), (mut other, _)] = [0, 1].map(|_| {
        let mut store = Store::new(&engine, ());
        store.epoch_deadline_suspend();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        (store, f)
    });
    let call = f.call_resumable(&mut store, &[], &mut [Val::I32(0)]).unwrap();
    let (call, reason) = refused(interrupted(call).resume(&mut other, &mut [Val::I32(0)]));
    assert_eq!(reason, ResumeRefused::WrongStore);
    drop(interrupted(call.resume(&mut store, &mut [Val::I32(0)]).unwrap()));
}

#[test]
fn a_refused_typed_call_is_given_back_typed() {
    let engine = Engine::default();
    let module = Module::new(&engine, ASK).unwrap();
    let mut store = Store::new(&engine, ());
    let ask = Func::wrap(
        &mut store,
        || -> stillframe::Result<(i32, f64, Option<ExternRef>, Option<Func>)> { bail!("ask") },
    );
    let instance = Instance::new(&mut store, &module, &[ask.into()]).unwrap();
    let f = instance.get_typed_func::<(), (i32, i32)>(&mut store, "f").unwrap();
    let TypedResumableCall::HostTrap(call) = f.call_resumable(&mut store, ()).unwrap() else {
        panic!("the host fails")
    };
    let error = call.resume(&mut store, &answer()[..2]).unwrap_err();
    assert_eq!(error.reason(), Some(&ResumeRefused::InputCount { expected: 4, found: 2 }));
    let call = error.into_call().unwrap();
    let TypedResumableCall::Finished(results) = call.resume(&mut store, &answer()).unwrap() else {
        panic!("it was answered")
    };
    assert_eq!(results, (1, 2));
}

#[test]
fn with_a_question_mark_the_reason_is_the_error_and_the_call_is_gone() {
    fn resume(
        store: &mut Store<u32>,
        call: stillframe::ResumableCallHostTrap,
    ) -> stillframe::Result<ResumableCall> {
        Ok(call.resume(store, &[], &mut [Val::I32(0); 2])?)
    }
    let (mut store, _, call) = asking(&Engine::default());
    let error = resume(&mut store, call).unwrap_err();
    let reason = ResumeRefused::InputCount { expected: 4, found: 0 };
    assert_eq!(error.downcast_ref(), Some(&reason));
    assert_eq!(
        error.to_string(),
        "the call was not resumed: the host function has 4 results, but there are 0 inputs"
    );
    assert!(store.suspended_backtraces().is_empty());
}

#[test]
fn calls_that_cannot_be_made_are_errors_as_ever() {
    let (mut store, instance) =
        guest("(module (func (export \"f\") (param i32) (result i32) (local.get 0)))");
    let f = instance.get_func(&mut store, "f").unwrap();
    for (params, results) in [(vec![], 1), (vec![Val::I64(0)], 1), (vec![Val::I32(0)], 2)] {
        let mut results = vec![Val::I32(0); results];
        f.call_resumable(&mut store, &params, &mut results).unwrap_err();
    }
    let call = f.call_resumable(&mut store, &[Val::I32(3)], &mut [Val::I32(0)]).unwrap();
    assert!(matches!(call, ResumableCall::Finished));
}
