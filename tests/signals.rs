//! Signals: handlers of the host that know nothing of wasm stacks, and faults that are not ours.
//!
//! Tests that end the process run in a child, which is told which part to play.

use libc::{c_int, c_void, siginfo_t};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillframe::{Config, Engine, Func, Instance, Module, Store, Trap};
use stillframe_tests::child;

const SPIN: &str = r#"
(module
  (func $deep (export "deep") (param i32 i32) (result i64)
    (local i64)
    (if (local.get 0) (then
      (return (i64.add (i64.const 1)
        (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))))
    (loop $l
      (local.set 2 (i64.add (local.get 2) (i64.const 3)))
      (br_if $l (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
    (local.get 2))
  (func $forever (export "forever") (result i32) (i32.add (call $forever) (i32.const 1)))
  (memory 1)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load))
"#;

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Uses a good deal of whatever stack it is run on.
extern "C" fn on_usr1(_: c_int) {
    let mut block = [1u8; 8 << 10];
    std::hint::black_box(&mut block);
    HANDLED.fetch_add(u64::from(block[4096]), Ordering::Relaxed);
}

/// Installs a handler; without `SA_ONSTACK` it runs on the stack that is current.
fn install(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: a valid action; the handlers of this file are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

fn instance() -> (Store<()>, Instance) {
    let engine = Engine::new(Config::new().max_wasm_stack(256 << 10)).unwrap();
    let module = Module::new(&engine, SPIN).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn a_handler_without_an_alternate_stack_harms_nothing_at_any_depth() {
    install(libc::SIGUSR1, on_usr1 as *const () as usize, libc::SA_RESTART);
    let (mut store, instance) = instance();
    let deep = instance.get_typed_func::<(i32, i32), i64>(&mut store, "deep").unwrap();
    // The deepest recursion that does not overflow.
    let (mut fits, mut overflows) = (0, 1 << 20);
    while overflows - fits > 1 {
        let middle = (fits + overflows) / 2;
        match deep.call(&mut store, (middle, 1)) {
            Ok(_) => fits = middle,
            Err(_) => overflows = middle,
        }
    }
    assert!(fits > 100);
    // SAFETY: the calling thread's own id.
    let this_thread = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread lives: it joins this one at the end of the scope.
                unsafe { libc::pthread_kill(this_thread, libc::SIGUSR1) };
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        });
        for depth in [0, 1, fits / 2, fits - 1, fits] {
            let before = HANDLED.load(Ordering::Relaxed);
            while HANDLED.load(Ordering::Relaxed) < before + 50 {
                let rounds = 100_000;
                let result = deep.call(&mut store, (depth, rounds)).unwrap();
                assert_eq!(result, 3 * i64::from(rounds) + i64::from(depth));
            }
        }
        // Also while calls trap.
        for _ in 0..2000 {
            let forever = instance.get_typed_func::<(), i32>(&mut store, "forever").unwrap();
            let error = forever.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        }
        done.store(true, Ordering::Relaxed);
    });
}

extern "C" fn exit_43(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's information, passed on unchanged.
    let address = unsafe { (*info).si_addr() } as usize;
    let code = if address == 0x10 && !context.is_null() { 43 } else { 44 };
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) };
}

extern "C" fn exit_45(_: c_int) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(45) };
}

fn fault_in_the_host() {
    // SAFETY: none: the fault is what the test is about; the process ends.
    unsafe { std::ptr::read_volatile(std::ptr::without_provenance::<u8>(0x10)) };
}

/// Makes sure that our handlers are installed and work.
fn trap_once() {
    let (mut store, instance) = instance();
    let load = instance.get_typed_func::<i32, i32>(&mut store, "load").unwrap();
    let error = load.call(&mut store, -1).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
}

fn fault_in_a_host_function() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        "(module (import \"\" \"h\" (func $h)) (func (export \"f\") call $h))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let h = Func::wrap(&mut store, fault_in_the_host);
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let _ = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap().call(&mut store, ());
}

#[test]
fn faults_of_the_host_go_to_the_handler_that_was_there_before() {
    const NAME: &str = "faults_of_the_host_go_to_the_handler_that_was_there_before";
    let Some(role) = child::role() else {
        child::exits(NAME, "siginfo", 43);
        child::exits(NAME, "siginfo in a host function", 43);
        child::exits(NAME, "plain", 45);
        return;
    };
    match role.as_str() {
        "plain" => install(libc::SIGSEGV, exit_45 as *const () as usize, libc::SA_ONSTACK),
        _ => {
            let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            install(libc::SIGSEGV, exit_43 as *const () as usize, flags);
        }
    }
    trap_once();
    match role.as_str() {
        "siginfo in a host function" => fault_in_a_host_function(),
        _ => fault_in_the_host(),
    }
    unreachable!("the handler ends the process");
}

#[test]
fn faults_of_the_host_without_a_handler_end_the_process() {
    const NAME: &str = "faults_of_the_host_without_a_handler_end_the_process";
    let Some(role) = child::role() else {
        for role in ["outside", "in a host function"] {
            child::is_ended_by(NAME, role, libc::SIGSEGV);
        }
        return;
    };
    install(libc::SIGSEGV, libc::SIG_DFL, 0);
    trap_once();
    if role == "outside" {
        fault_in_the_host()
    } else {
        fault_in_a_host_function()
    }
    unreachable!("the fault ends the process");
}

extern "C" fn exit_46(_: c_int) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(46) };
}

#[test]
fn signals_that_somebody_sends_while_wasm_runs_are_not_taken_for_traps() {
    const NAME: &str = "signals_that_somebody_sends_while_wasm_runs_are_not_taken_for_traps";
    let Some(role) = child::role() else {
        child::exits(NAME, "handled", 46);
        child::is_ended_by(NAME, "default", libc::SIGFPE);
        return;
    };
    let handler = if role == "handled" { exit_46 as *const () as usize } else { libc::SIG_DFL };
    install(libc::SIGFPE, handler, libc::SA_ONSTACK);
    let (mut store, instance) = instance();
    let deep = instance.get_typed_func::<(i32, i32), i64>(&mut store, "deep").unwrap();
    deep.call(&mut store, (0, 1)).unwrap();
    // SAFETY: the calling thread's own id.
    let this_thread = unsafe { libc::pthread_self() };
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        // SAFETY: the thread lives until the process ends.
        unsafe { libc::pthread_kill(this_thread, libc::SIGFPE) };
    });
    let result = deep.call(&mut store, (0, -1));
    unreachable!("the signal ends the process, not the call: {result:?}");
}
