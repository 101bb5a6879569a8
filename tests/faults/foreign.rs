//! Faults that are not wasm's, while wasm is below them on the stack, or runs on another thread: they
//! end the process as they would have without us, or go to the handler that the embedder has.

use super::handlers::install;
use libc::{c_int, c_void, siginfo_t};
use std::arch::asm;
use std::future::poll_fn;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use stillframe::{
    Caller, Config, Engine, Func, Instance, Linker, Memory, Module, Store, Trap,
    TypedResumableCall, UpdateDeadline, bail,
};
use stillframe_tests::child;

const WAT: &str = r#"
(module
  (import "" "h" (func $h (result i32)))
  (memory (export "m") 1)
  (func (export "calls") (result i32) (i32.add (call $h) (i32.const 1)))
  (func (export "spins") (loop (br 0)))
  (func (export "grows") (result i32) (memory.grow (i32.const 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
"#;

/// A kind of fault, by name.
fn fault(kind: &str) {
    // SAFETY: none: the fault is what the test is about. It ends the process or is stepped over.
    unsafe {
        match kind {
            "null" => _ = std::ptr::without_provenance::<u8>(0x10).read_volatile(),
            "division" => asm!("xor edx, edx", "xor ecx, ecx", "div ecx",
                out("eax") _, out("ecx") _, out("edx") _),
            "illegal" => asm!("ud2"),
            "breakpoint" => asm!("int3"),
            "bus" => {
                // A page of a file that has none.
                let fd = libc::memfd_create(c"empty".as_ptr(), 0);
                let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
                let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, fd, 0);
                page.cast::<u8>().read_volatile();
            }
            other => panic!("{other}?"),
        }
    }
}

fn signal_of(kind: &str) -> c_int {
    match kind {
        "division" => libc::SIGFPE,
        "illegal" => libc::SIGILL,
        "breakpoint" => libc::SIGTRAP,
        "bus" => libc::SIGBUS,
        _ => libc::SIGSEGV,
    }
}

fn instantiate(
    engine: &Engine,
    h: impl Fn(Caller<'_, ()>) -> stillframe::Result<i32> + Send + Sync + 'static,
) -> (Store<()>, Instance) {
    let module = Module::new(engine, WAT).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1 << 40);
    let h = Func::wrap(&mut store, h);
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    (store, instance)
}

/// Our handlers are installed and work.
fn trap_once(store: &mut Store<()>, instance: Instance) {
    let load = instance.get_typed_func::<i32, i32>(&mut *store, "load").unwrap();
    let error = load.call(store, -1).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
}

fn memory_of(caller: &mut Caller<'_, ()>) -> Memory {
    caller.get_export("m").unwrap().into_memory().unwrap()
}

/// Where a fault happens, by name. Returns if it was stepped over.
fn fault_at(place: &str, kind: &'static str) {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    match place {
        "host function" => {
            let (mut store, instance) = instantiate(&engine, move |_| {
                fault(kind);
                Ok(6)
            });
            trap_once(&mut store, instance);
            let calls = instance.get_typed_func::<(), i32>(&mut store, "calls").unwrap();
            assert_eq!(calls.call(&mut store, ()).unwrap(), 7);
        }
        // The host reads or writes just past the end of the memory of the wasm that called it.
        "guard" | "guard, writing" => {
            let writes = place != "guard";
            let (mut store, instance) = instantiate(&engine, move |mut caller| {
                let memory = memory_of(&mut caller);
                let end = memory.data_mut(&mut caller).as_mut_ptr_range().end;
                // SAFETY: none: the fault is what the test is about.
                unsafe { if writes { end.write_volatile(1) } else { _ = end.read_volatile() } };
                Ok(6)
            });
            trap_once(&mut store, instance);
            let calls = instance.get_typed_func::<(), i32>(&mut store, "calls").unwrap();
            calls.call(&mut store, ()).unwrap();
        }
        // Wasm traps, is left, and then the host does the same.
        "after a trap" => {
            let (mut store, instance) = instantiate(&engine, |_| Ok(0));
            trap_once(&mut store, instance);
            fault(kind);
        }
        "resumed call" => {
            let first = AtomicBool::new(true);
            let (mut store, instance) = instantiate(&engine, move |_| {
                if first.swap(false, SeqCst) {
                    bail!("wait");
                }
                fault(kind);
                Ok(6)
            });
            trap_once(&mut store, instance);
            let calls = instance.get_typed_func::<(), i32>(&mut store, "calls").unwrap();
            let TypedResumableCall::HostTrap(call) = calls.call_resumable(&mut store, ()).unwrap()
            else {
                panic!("the host fails")
            };
            let nested = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
                let calls = instance.get_typed_func::<(), i32>(&mut caller, "calls").unwrap();
                calls.call(&mut caller, ())
            });
            nested.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap();
            drop(call);
        }
        "future" => {
            let module = Module::new(&engine, WAT).unwrap();
            let mut linker = Linker::new(&engine);
            // Pending once.
            let pause = |polled: &mut bool, context: &mut Context<'_>| {
                context.waker().wake_by_ref();
                match std::mem::replace(polled, true) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            };
            linker
                .func_wrap_async("", "h", move |_, ()| {
                    Box::new(async move {
                        let mut polled = false;
                        poll_fn(|context| pause(&mut polled, context)).await;
                        fault(kind);
                        stillframe::Result::Ok(6)
                    })
                })
                .unwrap();
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1 << 40);
            let instance = linker.instantiate(&mut store, &module).unwrap();
            trap_once(&mut store, instance);
            let calls = instance.get_typed_func::<(), i32>(&mut store, "calls").unwrap();
            let mut call = std::pin::pin!(calls.call_async(&mut store, ()));
            let mut context = Context::from_waker(Waker::noop());
            while call.as_mut().poll(&mut context).is_pending() {}
        }
        "epoch callback" => {
            let (mut store, instance) = instantiate(&engine, |_| Ok(0));
            trap_once(&mut store, instance);
            store.epoch_deadline_callback(move |_| {
                fault(kind);
                Ok(UpdateDeadline::Interrupt)
            });
            store.set_epoch_deadline(0);
            let spins = instance.get_typed_func::<(), ()>(&mut store, "spins").unwrap();
            spins.call(&mut store, ()).unwrap_err();
        }
        // This thread is in wasm, and stays there.
        "another thread" => {
            let (mut store, instance) = instantiate(&engine, |_| Ok(0));
            trap_once(&mut store, instance);
            let ticking = engine.clone();
            let faulting = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(30));
                fault(kind);
                ticking.increment_epoch();
            });
            store.set_epoch_deadline(1);
            let spins = instance.get_typed_func::<(), ()>(&mut store, "spins").unwrap();
            let error = spins.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
            faulting.join().unwrap();
        }
        other => panic!("{other}?"),
    }
}

const KINDS: [&str; 5] = ["null", "division", "illegal", "breakpoint", "bus"];
const PLACES: [&str; 6] =
    ["host function", "after a trap", "resumed call", "future", "epoch callback", "another thread"];

/// Each kind in one place, each place with one kind, and the guards.
fn cases() -> Vec<(&'static str, &'static str)> {
    let kinds = KINDS.map(|kind| ("host function", kind));
    let places = PLACES.map(|place| (place, "null"));
    let guards = [("guard", "null"), ("guard, writing", "null")];
    let mut cases = [&kinds[..], &places[1..], &guards].concat();
    cases.push(("another thread", "division"));
    cases
}

/// The part `text` says to play: a place and a kind.
fn play(text: &str) {
    let (place, kind) = text.split_once(" / ").unwrap();
    fault_at(place, KINDS.iter().find(|name| **name == kind).unwrap());
}

#[test]
fn faults_of_the_host_end_the_process_as_they_would_without_us() {
    const NAME: &str =
        "faults::foreign::faults_of_the_host_end_the_process_as_they_would_without_us";
    if let Some(role) = child::role() {
        // Rust has one of its own, which looks for overflows of the host's stack.
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            install(signal, libc::SIG_DFL, 0);
        }
        play(&role);
        unreachable!("the fault ends the process");
    }
    for (place, kind) in cases() {
        child::is_ended_by(NAME, &format!("{place} / {kind}"), signal_of(kind));
    }
}

/// What the embedder's handler has been called for.
static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn say_so(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel has passed; ends the process.
    unsafe {
        let known = !context.is_null() && (*info).si_signo == signal;
        libc::_exit(if known { 100 + signal } else { 99 });
    }
}

#[test]
fn faults_of_the_host_go_to_the_handler_that_was_there_before_ours() {
    const NAME: &str =
        "faults::foreign::faults_of_the_host_go_to_the_handler_that_was_there_before_ours";
    if let Some(role) = child::role() {
        for kind in KINDS {
            let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            install(signal_of(kind), say_so as *const () as usize, flags);
        }
        play(&role);
        unreachable!("the handler ends the process");
    }
    for (place, kind) in cases() {
        child::exits(NAME, &format!("{place} / {kind}"), 100 + signal_of(kind));
    }
}

/// Goes on behind the instruction that has faulted: `ud2`, which has two bytes.
extern "C" fn step_over(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    SEEN.fetch_add(1, SeqCst);
    // SAFETY: the context is the kernel's.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    registers[libc::REG_RIP as usize] += 2;
}

/// An embedder that catches faults of its own and goes on, as a garbage collector does: wasm below
/// does not notice.
#[test]
fn a_handler_of_the_embedders_can_let_the_host_go_on() {
    const NAME: &str = "faults::foreign::a_handler_of_the_embedders_can_let_the_host_go_on";
    let Some(role) = child::role() else {
        for place in PLACES {
            child::passes(NAME, &format!("{place} / illegal"));
        }
        return;
    };
    install(libc::SIGILL, step_over as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
    play(&role);
    assert!(SEEN.load(SeqCst) > 0);
    play(&role);
}

/// Our handlers, for one that was installed later.
static OURS: [OnceLock<usize>; 2] = [OnceLock::new(), OnceLock::new()];

extern "C" fn later(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    SEEN.fetch_add(1, SeqCst);
    let ours = OURS[usize::from(signal == libc::SIGFPE)].get().copied().unwrap_or(0);
    // SAFETY: what was installed before with `SA_SIGINFO` is a handler of this type.
    unsafe {
        type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
        std::mem::transmute::<usize, Handler>(ours)(signal, info, context);
    }
}

/// A handler that comes after ours and hands on what it does not know: wasm's traps are still traps,
/// and the host's faults end the process.
#[test]
fn a_handler_that_is_installed_after_ours_can_hand_faults_on() {
    const NAME: &str = "faults::foreign::a_handler_that_is_installed_after_ours_can_hand_faults_on";
    let Some(role) = child::role() else {
        child::passes(NAME, "trap");
        child::is_ended_by(NAME, "host function / null", libc::SIGSEGV);
        return;
    };
    install(libc::SIGSEGV, libc::SIG_DFL, 0);
    let (mut store, instance) = instantiate(&Engine::default(), |_| Ok(0));
    trap_once(&mut store, instance);
    for (signal, ours) in [libc::SIGSEGV, libc::SIGFPE].into_iter().zip(&OURS) {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let before = install(signal, later as *const () as usize, flags);
        assert_ne!(before.sa_flags & libc::SA_SIGINFO, 0);
        ours.set(before.sa_sigaction).unwrap();
    }
    for seen in 0..20 {
        assert_eq!(SEEN.load(SeqCst), seen);
        trap_once(&mut store, instance);
    }
    if role != "trap" {
        play(&role);
        unreachable!("the fault ends the process");
    }
}

/// The alternate stack of an embedder is left as it is if it is large enough, and stays where a
/// thread that has run wasm ends.
#[test]
fn an_alternate_stack_of_the_embedders_is_kept() {
    fn current() -> libc::stack_t {
        // SAFETY: a zeroed `stack_t` is valid, and is written to by the call.
        unsafe {
            let mut stack: libc::stack_t = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(std::ptr::null(), &mut stack), 0);
            stack
        }
    }
    for (size, kept) in [(256 << 10, true), (16 << 10, false)] {
        std::thread::spawn(move || {
            let mut memory = vec![0_u8; size];
            let own =
                libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: size };
            // SAFETY: the memory is kept until another stack has been put in its place.
            let before = unsafe {
                let mut before: libc::stack_t = std::mem::zeroed();
                assert_eq!(libc::sigaltstack(&own, &mut before), 0);
                before
            };
            let (mut store, instance) = instantiate(&Engine::default(), |_| Ok(0));
            trap_once(&mut store, instance);
            let now = current();
            assert_eq!(now.ss_sp == own.ss_sp, kept, "{size} bytes");
            assert!(now.ss_size >= 64 << 10);
            if kept {
                // SAFETY: puts back what was there.
                unsafe { libc::sigaltstack(&before, std::ptr::null_mut()) };
            }
            drop(memory);
        })
        .join()
        .unwrap();
    }
}

/// Threads of all sizes of stack, each of which runs wasm and traps if there is room for what the
/// host needs, and ends.
#[test]
fn threads_with_small_stacks_run_wasm_or_are_told_that_they_cannot() {
    let engine = Engine::default();
    for (size, enters) in [(64 << 10, false), (128 << 10, false), (256 << 10, true)] {
        for _ in 0..10 {
            let (mut store, instance) = instantiate(&engine, |_| Ok(0));
            let thread = std::thread::Builder::new().stack_size(size);
            let thread = thread.spawn(move || {
                let load = instance.get_typed_func::<i32, i32>(&mut store, "load").unwrap();
                for at in [0, -1, 65_532, 65_533] {
                    let result = load.call(&mut store, at);
                    let trap = result.as_ref().map_err(|error| *error.downcast_ref().unwrap());
                    let expected = match at {
                        _ if !enters => Err(Trap::StackOverflow),
                        0 | 65_532 => Ok(&0),
                        _ => Err(Trap::MemoryOutOfBounds),
                    };
                    assert_eq!(trap, expected, "{size} bytes, {at}");
                }
            });
            thread.unwrap().join().unwrap();
        }
    }
}
