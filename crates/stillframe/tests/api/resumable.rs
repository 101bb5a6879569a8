//! Suspended calls as values: what they say of themselves, how they are converted, and what may be
//! done with them. How calls are suspended and resumed is tested in the package `stillframe-tests`.

use crate::{panic_of, text};
use stillframe::{
    Config, Engine, Error, Func, Instance, Module, ResumableCall, ResumableCallHostTrap,
    ResumableCallInterrupted, ResumableCallOutOfFuel, ResumeError, ResumeRefused, Store, Trap,
    TypedResumableCall, TypedResumableCallHostTrap, TypedResumableCallInterrupted,
    TypedResumableCallOutOfFuel, Val, ValType, bail,
};

// Whatever the results' type: a suspended call has none of them in it.
const _: () = {
    const fn sendable<C: Send + Sync + Unpin + 'static>() {}
    type NotSend = *const u8;
    sendable::<ResumableCallHostTrap>();
    sendable::<ResumableCallOutOfFuel>();
    sendable::<ResumableCallInterrupted>();
    sendable::<TypedResumableCallHostTrap<NotSend>>();
    sendable::<TypedResumableCallOutOfFuel<NotSend>>();
    sendable::<TypedResumableCallInterrupted<NotSend>>();
    sendable::<ResumeError<ResumableCallOutOfFuel>>();
    sendable::<ResumeError<TypedResumableCallOutOfFuel<NotSend>>>();
    sendable::<ResumeRefused>();
    // A call that is given back does not make every result large.
    assert!(size_of::<ResumeError<ResumableCallHostTrap>>() == size_of::<usize>());
    assert!(size_of::<ResumableCall>() <= 2 * size_of::<usize>());
};

/// A store whose call of `f` runs out of fuel, is interrupted, or waits.
fn suspended(fuel: u64, deadline: u64) -> (Store<()>, ResumableCall) {
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h (result i32)))
            (func (export "f") (result i32)
                (drop (i32.const 1)) (drop (i32.const 2)) (loop) (call $h)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let h = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("no answer yet") });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    store.set_fuel(fuel).unwrap();
    store.epoch_deadline_suspend();
    store.set_epoch_deadline(deadline);
    let call = f.call_resumable(&mut store, &[], &mut [Val::I32(0)]).unwrap();
    (store, call)
}

#[test]
fn each_kind_says_what_it_is() {
    let shown = |fuel, deadline| format!("{:?}", suspended(fuel, deadline).1);
    // entry const const 3: 2 of them on credit at the loop.
    assert_eq!(
        shown(1, 1),
        "OutOfFuel(ResumableCallOutOfFuel { required_fuel: 3, overdraft: 2, .. })"
    );
    assert_eq!(shown(100, 0), "Interrupted(ResumableCallInterrupted { .. })");
    assert_eq!(
        shown(100, 1),
        "HostTrap(ResumableCallHostTrap { host_error: \"no answer yet\", .. })"
    );
    assert_eq!(format!("{:?}", ResumableCall::Finished), "Finished");
    assert_eq!(format!("{:?}", TypedResumableCall::Finished(7)), "Finished(7)");
}

#[test]
fn reasons_say_what_is_wrong_and_what_would_be_right() {
    let reasons = [
        (ResumeRefused::WrongStore, "it is of another store"),
        (
            ResumeRefused::NotEnoughFuel { required: 10, available: 3 },
            "it needs 10 units of fuel, and the store has 3",
        ),
        (
            ResumeRefused::InputCount { expected: 2, found: 0 },
            "the host function has 2 results, but there are 0 inputs",
        ),
        (
            ResumeRefused::InputType { index: 1, expected: ValType::F32, found: ValType::V128 },
            "input 1: expected `f32`, found `v128`",
        ),
        (ResumeRefused::InputStore { index: 4 }, "input 4: the reference is of another store"),
        (
            ResumeRefused::OutputCount { expected: 1, found: 2 },
            "expected room for 1 results, found room for 2",
        ),
        (
            ResumeRefused::NestedTooDeep,
            "too many calls are nested, or too little is left of this thread's stack",
        ),
    ];
    for (reason, what) in reasons {
        assert_eq!(reason.to_string(), format!("the call was not resumed: {what}"));
        let error: Error = reason.into();
        assert_eq!(error.downcast_ref(), Some(&reason));
    }
}

#[test]
fn a_refusal_is_shown_as_its_reason_and_an_end_as_its_error() {
    let (mut store, call) = suspended(1, 1);
    let ResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    let refused = call.resume(&mut store, &mut [Val::I32(0)]).unwrap_err();
    let reason = ResumeRefused::NotEnoughFuel { required: 3, available: 0 };
    assert_eq!(refused.reason(), Some(&reason));
    assert_eq!(refused.to_string(), reason.to_string());
    assert_eq!(format!("{refused:?}"), format!("Refused({reason:?})"));
    let call = refused.into_call().unwrap();
    store.set_fuel(50).unwrap();
    store.epoch_deadline_trap();
    store.set_epoch_deadline(0);
    let ended = call.resume(&mut store, &mut [Val::I32(0)]).unwrap_err();
    assert_eq!(ended.reason(), None);
    assert!(ended.to_string().contains("interrupt"), "{ended}");
    assert!(format!("{ended:?}").starts_with("Ended("));
    let error: Error = ended.into();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));

    let (mut store, call) = suspended(100, 1);
    let ResumableCall::HostTrap(call) = call else { panic!("{call:?}") };
    let ended = call.resume(&mut store, &[Val::I32(0)], &mut []).unwrap_err();
    assert!(ended.into_call().is_some());
}

#[test]
fn a_backtrace_through_another_store_is_an_error() {
    let (_, call) = suspended(1, 1);
    let (other, _) = suspended(1, 1);
    let ResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    assert_eq!(text(call.backtrace(&other)), "the call is of another store");
}

#[test]
fn a_function_of_another_store_panics_as_in_other_calls() {
    let (store, call) = suspended(1, 1);
    let ResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    let func = call.func();
    assert_eq!(func.ty(&store).results(), [ValType::I32]);
    let (mut other, _) = suspended(1, 1);
    let message = panic_of(|| func.call_resumable(&mut other, &[], &mut [Val::I32(0)]));
    assert!(message.contains("store"), "{message}");
}

#[test]
fn fuel_that_is_added_pays_what_was_executed_on_credit() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let module = Module::new(
        &engine,
        "(module (func (export \"f\") (loop) (drop (i32.const 1)) (drop (i32.const 2))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    store.set_fuel(2).unwrap();
    // entry const const 3.
    f.call(&mut store, ()).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 0);
    store.add_fuel(0).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 0);
    store.add_fuel(10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 9);
    store.add_fuel(u64::MAX - 9).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    store.add_fuel(5).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    store.set_fuel(2).unwrap();
    f.call(&mut store, ()).unwrap();
    // What is set is what is there.
    store.set_fuel(10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 10);

    let mut unmetered = Store::new(&Engine::default(), ());
    assert!(text(unmetered.add_fuel(1)).contains("Config::consume_fuel"));
}
