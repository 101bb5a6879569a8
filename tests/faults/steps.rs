//! A signal at every single instruction: of the stubs, of trampolines, of wasm, of the runtime.
//!
//! The processor's trap flag raises a signal after each instruction. The handler looks at the
//! registers and at `VMRuntimeLimits`, as a profiler's or a debugger's would that comes at the worst
//! moment, and holds them against what these say of themselves:
//!
//! * The stack pointer lies in the host's stack, or in the running wasm stack, with room below for
//!   the frame of a signal.
//! * On a wasm stack, the way back to the host is there: `last_wasm_entry_sp` points into the host's
//!   stack, to the word that says where the limits are.
//! * Wherever an exit is noted (`last_wasm_exit_fp`), the frames can be followed to their end, and so
//!   they can from the frame pointer while wasm runs.
//!
//! A second part has no alternate stack, so that the signal's frame is put below the stack pointer at
//! every instruction, and the handler scribbles over what lies below that, and over vector registers.

use super::handlers::install;
use super::storms::scribble;
use libc::{c_int, c_void, siginfo_t};
use std::arch::asm;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use stillframe::{
    Caller, Config, Engine, Func, Instance, Module, Store, Trap, TypedResumableCall,
    UpdateDeadline, Val, bail,
};
use stillframe_abi::limits::{ENTRY_SP_HOST_DIRECT, offsets};
use stillframe_tests::child;

const STACK: usize = 64 << 10;
/// What is below `stack_limit`, at the least.
const RESERVE: usize = 32 << 10;

const WAT: &str = r#"
(module
  (import "" "add" (func $add (param i32 i64 f64) (result i64)))
  (import "" "wait" (func $wait (param i32) (result i32)))
  (import "" "nest" (func $nest (param i32) (result i32)))
  (memory 1 10)
  (tag $t (param i32 i64))
  (func $deep (param i32) (result i64)
    (if (result i64) (local.get 0)
      (then (i64.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i64.const 1)))
      (else (call $add (i32.const 3) (i64.const 40) (f64.const 2.5)))))
  (func $throws (param i32) (throw $t (local.get 0) (i64.const 5)))
  (func (export "mixed") (param i32) (result i64) (local $v v128) (local $sum i64)
    (local.set $v (i64x2.splat (i64.extend_i32_u (local.get 0))))
    (local.set $sum (call $deep (local.get 0)))
    (if (i32.ne (memory.grow (i32.const 0)) (i32.const 1)) (then (unreachable)))
    (memory.fill (i32.const 8) (i32.const 7) (i32.const 100))
    (memory.copy (i32.const 200) (i32.const 10) (i32.const 50))
    (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 205))))
    (block $caught (result i32 i64)
      (try_table (catch $t $caught) (call $throws (i32.const 9)))
      (unreachable))
    local.get $sum i64.add local.set $sum
    i64.extend_i32_u local.get $sum i64.add local.set $sum
    (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $nest (local.get 0)))))
    (local.set $sum (i64.add (local.get $sum) (i64x2.extract_lane 1 (local.get $v))))
    (local.get $sum))
  (func (export "waits") (param i32) (result i32) (local $v v128)
    (local.set $v (i32x4.splat (local.get 0)))
    (i32.add (call $wait (local.get 0)) (i32x4.extract_lane 3 (local.get $v))))
  (func (export "spins") (param i32 f64) (result f64)
    (loop $again
      (local.set 1 (f64.add (local.get 1) (f64.const 1.5)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
"#;

/// A guest that does everything that a stub is for.
pub struct Program {
    store: Store<u32>,
    instance: Instance,
}

impl Program {
    pub fn new() -> Program {
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(true).max_wasm_stack(STACK);
        config.parallel_compilation(false);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, WAT).unwrap();
        let mut store = Store::new(&engine, 0);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            // Once it goes on, once it is suspended.
            Ok(match *store.data() % 2 {
                1 => UpdateDeadline::Continue(0),
                _ => UpdateDeadline::Yield(1 << 40),
            })
        });
        let add = Func::wrap(&mut store, |a: i32, b: i64, c: f64| i64::from(a) + b + c as i64);
        let wait = Func::wrap(&mut store, |x: i32| -> stillframe::Result<i32> { bail!("{x}") });
        let nest = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, x: i32| {
            let load = caller.get_export("load").unwrap().into_func().unwrap();
            let mut results = [Val::I32(0)];
            load.call(&mut caller, &[Val::I32(8)], &mut results)?;
            stillframe::Result::Ok(results[0].unwrap_i32() & x)
        });
        let imports = [add.into(), wait.into(), nest.into()];
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        Program { store, instance }
    }

    /// Does all of it; what comes out is the same each time.
    pub fn run(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for part in PARTS {
            out.push(format!("{:?}", part(self)));
        }
        out
    }

    fn ready(&mut self) {
        *self.store.data_mut() = 0;
        self.store.set_fuel(100_000).unwrap();
        self.store.set_epoch_deadline(1 << 40);
    }

    fn used(&self) -> u64 {
        100_000 - self.store.get_fuel().unwrap()
    }
}

type Part = fn(&mut Program) -> (String, u64);

const PARTS: [Part; 4] = [mixed, suspensions, traps, interruptions];

fn mixed(program: &mut Program) -> (String, u64) {
    program.ready();
    let Program { store, instance } = program;
    let mixed = instance.get_typed_func::<i32, i64>(&mut *store, "mixed").unwrap();
    let result = mixed.call(store, 5).unwrap();
    (result.to_string(), program.used())
}

fn suspensions(program: &mut Program) -> (String, u64) {
    program.ready();
    let Program { store, instance } = program;
    let waits = instance.get_typed_func::<i32, i32>(&mut *store, "waits").unwrap();
    let TypedResumableCall::HostTrap(call) = waits.call_resumable(&mut *store, 30).unwrap() else {
        panic!("the host fails");
    };
    let spins = instance.get_typed_func::<(i32, f64), f64>(&mut *store, "spins").unwrap();
    store.set_fuel(20).unwrap();
    let TypedResumableCall::OutOfFuel(spinning) =
        spins.call_resumable(&mut *store, (9, 0.5)).unwrap()
    else {
        panic!("there is too little fuel");
    };
    store.set_fuel(100_000).unwrap();
    let first = call.resume(&mut *store, &[Val::I32(12)]).unwrap();
    let second = spinning.resume(&mut *store).unwrap();
    (format!("{first:?} {second:?}"), program.used())
}

fn traps(program: &mut Program) -> (String, u64) {
    program.ready();
    let Program { store, instance } = program;
    let load = instance.get_typed_func::<i32, i32>(&mut *store, "load").unwrap();
    let error = load.call(&mut *store, -1).unwrap_err();
    (format!("{:?}", error.downcast_ref::<Trap>()), program.used())
}

fn interruptions(program: &mut Program) -> (String, u64) {
    program.ready();
    let Program { store, instance } = program;
    let spins = instance.get_typed_func::<(i32, f64), f64>(&mut *store, "spins").unwrap();
    // The callback is asked twice: at the entry, where it says to go on, and then to suspend.
    store.set_epoch_deadline(0);
    let call = spins.call_resumable(&mut *store, (4, 1.0)).unwrap();
    let TypedResumableCall::Interrupted(call) = call else { panic!("{call:?}") };
    let call = call.resume(&mut *store).unwrap();
    (format!("{call:?} {}", program.store.data()), program.used())
}

/// What the handler knows. Plain words, since it may take no lock.
static LIMITS: AtomicUsize = AtomicUsize::new(0);
static HOST: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static PROGRAM: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static STEPS: AtomicUsize = AtomicUsize::new(0);
static STEPS_IN_WASM: AtomicUsize = AtomicUsize::new(0);
static SCRIBBLES: AtomicUsize = AtomicUsize::new(0);
/// `stack_limit` of each wasm stack that was seen.
static STACKS: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
/// The first thing that was not as it should be: its number, the program counter, a word.
static WRONG: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

const BROKEN: [&str; 6] = [
    "nothing",
    "the stack pointer is in no known stack",
    "there is no room for a signal's frame",
    "there is no way back to the host",
    "the frames cannot be followed from the noted exit",
    "the frames cannot be followed from the frame pointer",
];

fn field(offset: usize) -> usize {
    // SAFETY: the store lives while steps are made, and its limits stay where they are.
    unsafe { ((LIMITS.load(Relaxed) + offset) as *const usize).read_volatile() }
}

fn host() -> Range<usize> {
    HOST[0].load(Relaxed)..HOST[1].load(Relaxed)
}

/// The wasm stack with this limit.
fn stack(limit: usize) -> Range<usize> {
    limit - RESERVE..limit + STACK
}

/// Whether an address is in a wasm stack that was seen.
fn in_wasm_stack(at: usize) -> bool {
    let limits = STACKS.iter().map(|limit| limit.load(Relaxed));
    limits.take_while(|limit| *limit != 0).any(|limit| stack(limit).contains(&at))
}

/// Whether frames can be followed from `fp` to the end, which is 0.
fn can_be_followed(mut fp: usize) -> bool {
    for _ in 0..100 {
        if fp == 0 {
            return true;
        }
        if !in_wasm_stack(fp) || !fp.is_multiple_of(8) {
            return false;
        }
        // SAFETY: in a stack that is mapped.
        let next = unsafe { (fp as *const usize).read_volatile() };
        if next != 0 && next <= fp {
            return false;
        }
        fp = next;
    }
    false
}

/// The number of what is not as it should be.
fn broken(pc: usize, sp: usize, fp: usize) -> usize {
    let limit = field(offsets::STACK_LIMIT);
    if limit != 0 && !STACKS.iter().any(|known| known.load(Relaxed) == limit) {
        let free = STACKS.iter().find(|known| known.load(Relaxed) == 0);
        free.expect("room for another stack").store(limit, Relaxed);
    }
    let (exit_fp, entry) = (field(offsets::LAST_WASM_EXIT_FP), field(offsets::LAST_WASM_ENTRY_SP));
    if !can_be_followed(exit_fp) {
        return 4;
    }
    if host().contains(&sp) {
        return 0;
    }
    STEPS_IN_WASM.fetch_add(1, Relaxed);
    if limit == 0 || !(stack(limit).contains(&sp) || sp == limit + STACK) {
        return 1;
    }
    if sp < limit - (8 << 10) {
        return 2;
    }
    let word = |at: usize| {
        // SAFETY: in the host's stack.
        unsafe { (at as *const usize).read_volatile() }
    };
    if entry == ENTRY_SP_HOST_DIRECT
        || !host().contains(&entry)
        || word(entry) != LIMITS.load(Relaxed)
    {
        return 3;
    }
    // In the stubs the frame pointer can still be the host's, which uses it for anything.
    if !program().contains(&pc) && !can_be_followed(fp) {
        return 5;
    }
    0
}

/// The code of this program, which the stubs are in.
fn program() -> Range<usize> {
    PROGRAM[0].load(Relaxed)..PROGRAM[1].load(Relaxed)
}

extern "C" fn on_step(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    STEPS.fetch_add(1, Relaxed);
    // SAFETY: the context is the kernel's.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let [pc, sp, fp] = [libc::REG_RIP, libc::REG_RSP, libc::REG_RBP]
        .map(|register| registers[register as usize] as usize);
    let wrong = broken(pc, sp, fp);
    if wrong != 0 && WRONG[0].load(Relaxed) == 0 {
        WRONG[1].store(pc, Relaxed);
        WRONG[2].store(sp, Relaxed);
        WRONG[0].store(wrong, Relaxed);
    }
    if SCRIBBLES.load(Relaxed) != 0 {
        scribble(0);
    }
}

/// Sets or clears the processor's trap flag.
#[inline(never)]
fn step(on: bool) {
    // SAFETY: changes the flags register only, through the stack.
    unsafe {
        if on {
            asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
        } else {
            asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq");
        }
    }
}

/// Whether what is written below the stack pointer is there some instructions later; so far below that
/// no function may count on it.
fn is_kept_below_the_stack_pointer() -> bool {
    let word: u64;
    // SAFETY: in the thread's stack, where nobody keeps anything.
    unsafe {
        asm!(
            "mov qword ptr [rsp - 2048], 0x1234567", "nop", "nop",
            "mov {}, qword ptr [rsp - 2048]", out(reg) word
        );
    }
    word == 0x1234567
}

/// The address of a store's `VMRuntimeLimits`: found by what is written there.
fn find_limits(store: &mut Store<u32>) -> usize {
    // Where the allocator may have put it.
    let memory = mapped("rw-p", |name| name.is_empty() || name == "[heap]");
    let mut found: Option<Vec<usize>> = None;
    for value in [0x5af1_0123_4567_0001, 0x5af1_89ab_cdef_0002, 0x5af1_5555_aaaa_0003] {
        store.set_epoch_deadline(value);
        let holds = |at: &usize| {
            // SAFETY: addresses of mappings that can be read, and that nobody unmaps meanwhile.
            unsafe { (*at as *const u64).read_volatile() == value }
        };
        found = Some(match found {
            Some(before) => before.into_iter().filter(holds).collect(),
            None => memory
                .clone()
                .into_iter()
                .flat_map(|range| range.step_by(8))
                .filter(holds)
                .collect(),
        });
    }
    let found = found.unwrap();
    // What is on our own stack is not kept from one round to the next.
    let at: Vec<usize> = found.into_iter().filter(|at| !host().contains(at)).collect();
    assert_eq!(at.len(), 1, "{at:x?}");
    at[0] - offsets::EPOCH_DEADLINE
}

/// The mappings with these permissions of files whose names this accepts; empty is none.
fn mapped(permissions: &str, accepts: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let own = words.next()? == permissions && accepts(words.nth(3).unwrap_or_default());
        let parse = |text| usize::from_str_radix(text, 16).unwrap();
        own.then(|| parse(start)..parse(end))
    };
    maps.lines().filter_map(range).collect()
}

/// The stack of this thread.
fn own_stack() -> Range<usize> {
    let (mut base, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialised by the first call, read, and destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &mut attributes), 0);
        assert_eq!(libc::pthread_attr_getstack(&attributes, &mut base, &mut size), 0);
        libc::pthread_attr_destroy(&mut attributes);
    }
    base as usize..base as usize + size
}

fn step_through(scribbles: bool) {
    let own = own_stack();
    let executable = std::env::current_exe().unwrap();
    let code = mapped("r-xp", |name| executable.as_os_str() == name).remove(0);
    PROGRAM[0].store(code.start, Relaxed);
    PROGRAM[1].store(code.end, Relaxed);
    HOST[0].store(own.start, Relaxed);
    HOST[1].store(own.end, Relaxed);
    let mut program = Program::new();
    let expected = program.run();
    LIMITS.store(find_limits(&mut program.store), Relaxed);
    SCRIBBLES.store(scribbles.into(), Relaxed);
    let flags = if scribbles { 0 } else { libc::SA_ONSTACK };
    install(libc::SIGTRAP, on_step as *const () as usize, flags | libc::SA_SIGINFO);
    step(true);
    let kept = is_kept_below_the_stack_pointer();
    step(false);
    assert_eq!(kept, !scribbles);
    for (part, expected) in PARTS.iter().zip(expected) {
        step(true);
        let result = part(&mut program);
        step(false);
        assert_eq!(format!("{result:?}"), expected);
        let [wrong, pc, sp] = WRONG.each_ref().map(|word| word.load(Relaxed));
        assert_eq!(wrong, 0, "{} at {pc:#x}, rsp {sp:#x}", BROKEN[wrong]);
    }
    let (steps, in_wasm) = (STEPS.load(Relaxed), STEPS_IN_WASM.load(Relaxed));
    println!("{steps} steps, {in_wasm} of them on wasm stacks");
    assert!(steps > 5000 && in_wasm > 500, "{steps} steps, {in_wasm} on wasm stacks");
}

#[test]
fn at_every_instruction_there_is_a_way_back_and_frames_can_be_followed() {
    const NAME: &str =
        "faults::steps::at_every_instruction_there_is_a_way_back_and_frames_can_be_followed";
    match child::role() {
        None => child::passes(NAME, "steps"),
        Some(_) => step_through(false),
    }
}

#[test]
fn a_signal_at_every_instruction_that_writes_below_the_stack_pointer_changes_nothing() {
    const NAME: &str = "faults::steps::\
        a_signal_at_every_instruction_that_writes_below_the_stack_pointer_changes_nothing";
    match child::role() {
        None => child::passes(NAME, "steps"),
        Some(_) => step_through(true),
    }
}
