//! Unwinding out of host functions: the system's own unwinder steps from code that wasm has called
//! to the Rust code that entered wasm, and on to the end of the host's stack.

use crate::GUEST;
use std::sync::Mutex;
use stillframe::{
    Caller, Config, Engine, Instance, Linker, Module, ResourceLimiter, Result, Store, Trap,
    TypedResumableCall, UpdateDeadline, Val, bail,
};

unsafe extern "C" {
    fn _Unwind_Backtrace(step: extern "C" fn(*mut (), *mut ()) -> i32, argument: *mut ()) -> i32;
    fn _Unwind_GetIP(context: *mut ()) -> usize;
    fn _Unwind_FindEnclosingFunction(address: usize) -> usize;
}

extern "C" fn step(context: *mut (), addresses: *mut ()) -> i32 {
    // SAFETY: the unwinder's context, and the vector that `unwind` gave it.
    unsafe { (*addresses.cast::<Vec<usize>>()).push(_Unwind_GetIP(context)) };
    0 // go on
}

/// The functions whose frames the system's unwinder finds, innermost first, by their addresses.
#[inline(never)]
fn unwind() -> Vec<usize> {
    let mut addresses: Vec<usize> = Vec::new();
    // SAFETY: `step` gets the vector.
    let end = unsafe { _Unwind_Backtrace(step, (&raw mut addresses).cast()) };
    assert_eq!(end, 5, "the end of the stack, not a frame that cannot be understood");
    // The last can be 0, the return address of the thread's first function.
    addresses.retain(|&address| address != 0);
    let function = |&address: &usize| {
        // SAFETY: looks in tables of the program.
        let function = unsafe { _Unwind_FindEnclosingFunction(address - 1) };
        assert_ne!(function, 0, "{address:x} is in no function that the unwinder knows");
        function
    };
    addresses.iter().map(function).collect()
}

/// The names of those `functions` that are wanted, in their order.
fn order(functions: &[usize], wanted: &[(&'static str, usize)]) -> Vec<&'static str> {
    let named = |function: &usize| wanted.iter().find(|(_, address)| address == function);
    functions.iter().filter_map(named).map(|(name, _)| *name).collect()
}

/// What was found, each time that something unwound.
static FOUND: Mutex<Vec<Vec<&'static str>>> = Mutex::new(Vec::new());

/// Unwinds, and notes which of the functions below it came across.
#[inline(never)]
fn note() {
    let wanted = [
        ("note", note as *const () as usize),
        ("host", host as *const () as usize),
        ("call run", call_run as *const () as usize),
        ("begin spin", begin_spin as *const () as usize),
        ("resume spin", resume_spin as *const () as usize),
        ("call grow", call_grow as *const () as usize),
        ("call spin", call_spin as *const () as usize),
    ];
    FOUND.lock().unwrap().push(order(&unwind(), &wanted));
}

fn found() -> Vec<Vec<&'static str>> {
    std::mem::take(&mut FOUND.lock().unwrap())
}

/// A store's data: what the host function does.
#[derive(Clone, Copy)]
enum Data {
    Return,
    CallGrow(Instance),
    Fail,
}

struct Limiter;

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, _: usize, _: Option<usize>) -> Result<bool> {
        if current > 0 {
            note();
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

#[inline(never)]
fn host(caller: &mut Caller<'_, (Data, Limiter)>, x: i32) -> Result<i32> {
    note();
    match caller.data().0 {
        Data::Return => Ok(x),
        Data::CallGrow(instance) => Ok(call_grow(caller, instance)),
        Data::Fail => bail!("later"),
    }
}

// What comes after a call in these keeps it from being the last thing they do.

#[inline(never)]
fn call_run(store: &mut Store<(Data, Limiter)>, instance: Instance) -> i32 {
    let run = instance.get_typed_func::<i32, i32>(&mut *store, "run").unwrap();
    std::hint::black_box(run.call(store, 3).unwrap())
}

#[inline(never)]
fn call_grow(caller: &mut Caller<'_, (Data, Limiter)>, instance: Instance) -> i32 {
    let grow = instance.get_typed_func::<(), i32>(&mut *caller, "grow").unwrap();
    std::hint::black_box(grow.call(caller, ()).unwrap())
}

#[inline(never)]
fn begin_spin(store: &mut Store<(Data, Limiter)>, instance: Instance) -> TypedResumableCall<()> {
    let spin = instance.get_typed_func::<(), ()>(&mut *store, "spin").unwrap();
    std::hint::black_box(spin.call_resumable(store, ()).unwrap())
}

#[inline(never)]
fn resume_spin(
    store: &mut Store<(Data, Limiter)>,
    call: TypedResumableCall<()>,
) -> Result<TypedResumableCall<()>> {
    let TypedResumableCall::HostTrap(call) = call else { panic!("it should wait for the host") };
    std::hint::black_box(call.resume(store, &[Val::I32(1)]).map_err(Into::into))
}

#[inline(never)]
fn call_spin(store: &mut Store<(Data, Limiter)>, instance: Instance) {
    let spin = instance.get_typed_func::<(), ()>(&mut *store, "spin").unwrap();
    std::hint::black_box(spin.call(store, ()).unwrap_err());
}

/// One test, because they share what is found.
#[test]
fn unwinders_step_from_host_code_to_the_rust_code_that_entered_wasm() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::new(&engine);
    let function = |mut caller: Caller<'_, (Data, Limiter)>, x: i32| host(&mut caller, x);
    linker.func_wrap("host", "f", function).unwrap();
    let mut store = Store::new(&engine, (Data::Return, Limiter));
    store.limiter(|data| &mut data.1);
    store.set_epoch_deadline(1_000_000);
    let instance = linker.instantiate(&mut store, &module).unwrap();

    // `run` calls the host once.
    assert_eq!(call_run(&mut store, instance), 6);
    assert_eq!(found(), [["note", "host", "call run"]]);

    // From a host function into wasm and out again, this time by the stub of a builtin.
    store.data_mut().0 = Data::CallGrow(instance);
    assert_eq!(call_run(&mut store, instance), 4);
    let outer = ["note", "host", "call run"];
    assert_eq!(found(), [&outer[..], &["note", "call grow", "host", "call run"]]);

    // A call that was begun by one function goes on by another: `spin` calls the host until the
    // answer is 0.
    store.data_mut().0 = Data::Fail;
    let call = begin_spin(&mut store, instance);
    assert_eq!(found(), [["note", "host", "begin spin"]]);
    store.data_mut().0 = Data::Return;
    let end = resume_spin(&mut store, call).unwrap();
    assert!(matches!(end, TypedResumableCall::Finished(())));
    assert_eq!(found(), [["note", "host", "resume spin"]]);

    // Out of a checkpoint, of a call and of one that goes on.
    store.data_mut().0 = Data::Fail;
    let call = begin_spin(&mut store, instance);
    found();
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(|_| {
        note();
        Ok(UpdateDeadline::Interrupt)
    });
    assert_eq!(
        resume_spin(&mut store, call).unwrap_err().downcast::<Trap>().unwrap(),
        Trap::Interrupt
    );
    assert_eq!(found(), [["note", "resume spin"]]);
    call_spin(&mut store, instance);
    assert_eq!(found(), [["note", "call spin"]]);
}

#[inline(never)]
fn call_and_keep_the_trace(store: &mut Store<String>, instance: Instance) {
    let run = instance.get_typed_func::<i32, i32>(&mut *store, "run").unwrap();
    std::hint::black_box(run.call(store, 3).unwrap());
}

/// By name, as people see it.
#[test]
fn a_backtrace_of_the_standard_library_names_who_entered_wasm() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::new(&engine);
    let function = |mut caller: Caller<'_, String>, x: i32| {
        *caller.data_mut() = std::backtrace::Backtrace::force_capture().to_string();
        x
    };
    linker.func_wrap("host", "f", function).unwrap();
    let mut store = Store::new(&engine, String::new());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    call_and_keep_the_trace(&mut store, instance);
    let trace = store.data();
    let at = |name: &str| trace.find(name).unwrap_or_else(|| panic!("no {name} in {trace}"));
    assert!(at("x86_64::host_call") < at("call_and_keep_the_trace"), "{trace}");
    assert!(at("call_and_keep_the_trace") < at("run_test"), "{trace}");
    assert!(!trace.contains("<unknown>"), "{trace}");
}
