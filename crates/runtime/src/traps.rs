//! Hardware traps: the signal handler, and what each thread needs for it.
//!
//! A fault belongs to wasm if the thread is inside `enter`, wasm is running (`last_wasm_exit_pc`
//! is 0), and the instruction lies in registered code. Then the handler notes what happened in the
//! call's [`CallState`], stores what wasm had in registers, and lets the thread leave wasm. It
//! allocates nothing and takes one read lock, that of the code registry, which a thread that runs
//! wasm does not hold. Every other signal goes to whoever handled it before.

use crate::arch;
use crate::code;
use crate::mapping::{Mapping, page_size};
use crate::reclaim::{self, Room};
use std::cell::{Cell, OnceCell};
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use stillframe_abi::limits::VMRuntimeLimits;

/// One call of `enter`, on the stack of the Rust function that makes it.
pub(crate) struct CallState {
    /// The limits of the store that is entered.
    pub(crate) limits: *const VMRuntimeLimits,
    /// Whether the code counts fuel in the pinned register.
    pub(crate) metered: bool,
    /// Set by the signal handler when it makes the call leave.
    pub(crate) fault: Cell<Option<Fault>>,
    /// The call that was running on this thread before.
    pub(crate) previous: *const CallState,
}

/// A hardware fault in wasm code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The instruction.
    pub(crate) pc: usize,
    /// `SIGSEGV`, `SIGBUS`, `SIGILL` or `SIGFPE`.
    pub(crate) signal: i32,
    /// The data address, for `SIGSEGV` and `SIGBUS`.
    pub(crate) address: usize,
    /// What was in the registers of a function's first two arguments.
    pub(crate) arguments: [usize; 2],
}

/// What is known of a thread. Without a destructor, so that the signal handler can read it.
struct Thread {
    /// The innermost call of `enter` on this thread.
    current: Cell<*const CallState>,
    /// Whether the thread has been prepared.
    ready: Cell<bool>,
    /// Whether it has been, but for a signal stack, which the system refused.
    refused: Cell<bool>,
    /// The lowest and highest address of the thread's own stack; 0 if unknown.
    stack: Cell<(usize, usize)>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            current: Cell::new(std::ptr::null()),
            ready: Cell::new(false),
            refused: Cell::new(false),
            stack: Cell::new((0, 0)),
        }
    };
    static SIGNAL_STACK: OnceCell<SignalStack> = const { OnceCell::new() };
}

/// Makes `state` the thread's current call and returns the one before.
#[inline]
pub(crate) fn set_current(state: *const CallState) -> *const CallState {
    THREAD.with(|thread| thread.current.replace(state))
}

/// Prepares the process and this thread for wasm, if that has not been done, and returns the bytes
/// left on the thread's own stack; or `None` if the thread runs on a stack that is not the one the
/// system gave it, so that nothing is known. Must be called before wasm runs.
#[inline]
pub(crate) fn prepare_thread() -> Option<usize> {
    THREAD.with(|thread| {
        if !thread.ready.get() {
            prepare(thread);
        }
        let (low, high) = thread.stack.get();
        let sp = arch::stack_pointer();
        (low < sp && sp < high).then(|| sp - low)
    })
}

#[cold]
fn prepare(thread: &Thread) {
    let first = !thread.refused.get();
    if first {
        install_handlers();
        thread.stack.set(host_stack_bounds());
    }
    // When the thread is about to end, the stack has been taken down already, and the system may
    // refuse one. Then it is asked for again whenever wasm is entered, but other engines give up
    // what they keep for it the first time only. Meanwhile signals are handled on the alternate
    // stack that the thread has, as small as it is, or if it has none on the stack that runs: wasm
    // stacks have room for that.
    let refused = SIGNAL_STACK.try_with(|stack| match SignalStack::install(first) {
        Ok(Some(installed)) => stack.set(installed).is_err(),
        Ok(None) => false,
        Err(_) => true,
    });
    thread.refused.set(refused == Ok(true));
    thread.ready.set(refused != Ok(true));
}

fn host_stack_bounds() -> (usize, usize) {
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut base, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: system calls: `attr` is initialised by the first call, read by the second if the
    // first succeeded, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        let found = libc::pthread_attr_getstack(attr.as_ptr(), &mut base, &mut size);
        libc::pthread_attr_destroy(attr.as_mut_ptr());
        if found != 0 {
            return (0, 0);
        }
    }
    (base as usize, base as usize + size)
}

/// Bytes a thread's alternate signal stack must have for our handler and those we pass on to.
const SIGNAL_STACK_SIZE: usize = 64 << 10;

/// An alternate signal stack of ours; removed and unmapped when the thread ends.
struct SignalStack {
    mapping: Mapping,
}

impl SignalStack {
    /// Gives this thread an alternate stack if it has none that is large enough; `first` says whether
    /// pools give up what they keep for it.
    fn install(first: bool) -> io::Result<Option<SignalStack>> {
        // SAFETY: own mapping: a zeroed `stack_t` is valid, and is written to by the call.
        let old = unsafe {
            let mut old = MaybeUninit::<libc::stack_t>::zeroed().assume_init();
            libc::sigaltstack(std::ptr::null(), &mut old);
            old
        };
        if old.ss_flags & libc::SS_DISABLE == 0 && old.ss_size >= SIGNAL_STACK_SIZE {
            return Ok(None);
        }
        let guard = page_size();
        let map = || {
            let mut mapping = Mapping::reserve(guard + SIGNAL_STACK_SIZE)?;
            mapping.open(guard..guard + SIGNAL_STACK_SIZE)?;
            io::Result::Ok(mapping)
        };
        let mapping = match first {
            true => reclaim::retrying(Room::new(SIGNAL_STACK_SIZE), map)?,
            false => map()?,
        };
        let new = libc::stack_t {
            ss_sp: mapping.base().wrapping_add(guard).cast(),
            ss_flags: 0,
            ss_size: SIGNAL_STACK_SIZE,
        };
        // It fails on a thread that runs on its alternate stack, handling a signal.
        // SAFETY: own mapping: the stack is a fresh one with a guard page below, which lives until this
        // thread's destructors run, or is not installed.
        match unsafe { libc::sigaltstack(&new, std::ptr::null_mut()) } {
            0 => Ok(Some(SignalStack { mapping })),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: own mapping: the stack installed above; after SS_DISABLE nobody uses it. If
        // somebody has put another in its place since, that one is left alone.
        unsafe {
            let mut now = MaybeUninit::<libc::stack_t>::zeroed().assume_init();
            libc::sigaltstack(std::ptr::null(), &mut now);
            let low = self.mapping.base() as usize;
            if (low..low + self.mapping.len()).contains(&(now.ss_sp as usize)) {
                let mut off = MaybeUninit::<libc::stack_t>::zeroed().assume_init();
                off.ss_flags = libc::SS_DISABLE;
                libc::sigaltstack(&off, std::ptr::null_mut());
            }
        }
    }
}

const SIGNALS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// The handlers that were there before ours, by position in [`SIGNALS`].
struct Previous([libc::sigaction; SIGNALS.len()]);

// SAFETY: signals: plain data that the kernel gave us.
unsafe impl Send for Previous {}
// SAFETY: signals: as above; never written after it was made.
unsafe impl Sync for Previous {}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

fn install_handlers() {
    PREVIOUS.get_or_init(|| {
        // SAFETY: signals: zeroed `sigaction` is valid. The former handlers are read first and ours
        // set afterwards, so that our handler never finds `PREVIOUS` unset for long: a fault
        // between the two calls waits in `pass_on` for neither, it is treated as default.
        unsafe {
            let mut previous: [libc::sigaction; SIGNALS.len()] = std::mem::zeroed();
            for (signal, old) in SIGNALS.iter().zip(&mut previous) {
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = handler as *const () as usize;
                // SA_NODEFER: leaving wasm does not return from the handler's signal mask late;
                // and a fault in a handler that we pass on to is seen, not held back.
                new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigemptyset(&mut new.sa_mask);
                let set = libc::sigaction(*signal, &new, old);
                assert_eq!(set, 0, "sigaction: {}", io::Error::last_os_error());
            }
            Previous(previous)
        }
    });
}

unsafe extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: signals: the kernel passes a valid context of this type to an SA_SIGINFO handler.
    let ucontext = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: signals: the kernel passes valid information.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: signals: as above. Signals that somebody sent have no code above 0; faults have.
    let is_fault = unsafe { (*info).si_code } > 0;
    if is_fault && leave_wasm(signal, address, ucontext) {
        return;
    }
    // SAFETY: signals: the arguments are the kernel's.
    unsafe { pass_on(signal, info, context) }
}

/// If the fault is a wasm trap, notes it and arranges that the thread leaves wasm.
fn leave_wasm(signal: i32, address: usize, context: &mut libc::ucontext_t) -> bool {
    let state = THREAD.try_with(|thread| thread.current.get()).unwrap_or(std::ptr::null());
    if state.is_null() {
        return false;
    }
    // SAFETY: signals: `Thread::current` points to the state of a call that is running on this
    // thread, and its limits belong to a store that is borrowed by that call.
    let (state, limits) = unsafe { (&*state, &*(*state).limits) };
    let regs = arch::signal_registers(context);
    if limits.last_wasm_exit_pc.get() != 0 || !code::is_code(regs.pc) {
        return false;
    }
    state.fault.set(Some(Fault { pc: regs.pc, signal, address, arguments: regs.arguments }));
    limits.last_wasm_exit_pc.set(regs.pc);
    limits.last_wasm_exit_fp.set(regs.fp);
    if state.metered {
        limits.fuel_consumed.set(regs.pinned);
    }
    let entry_sp = limits.last_wasm_entry_sp.get();
    arch::leave_from_signal(context, entry_sp, arch::Status::FAULT);
    true
}

/// Hands a signal that is not ours to the handler that was there before.
///
/// # Safety
///
/// The arguments are those the kernel gave to a signal handler.
unsafe fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the caller's.
    let is_fault = unsafe { (*info).si_code } > 0;
    let position = SIGNALS.iter().position(|s| *s == signal);
    let previous = PREVIOUS.get().zip(position).map(|(previous, i)| &previous.0[i]);
    match previous {
        // A fault cannot be ignored: the system would end the process.
        Some(action) if action.sa_sigaction == libc::SIG_IGN && !is_fault => {}
        Some(action) if !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                type Handler = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
                // SAFETY: signals: with SA_SIGINFO the word is a handler of this type.
                unsafe {
                    let handler: Handler = std::mem::transmute(action.sa_sigaction);
                    handler(signal, info, context);
                }
            } else {
                // SAFETY: signals: without SA_SIGINFO the word is a handler of this type.
                unsafe {
                    let handler: unsafe extern "C" fn(i32) =
                        std::mem::transmute(action.sa_sigaction);
                    handler(signal);
                }
            }
        }
        _ => {
            // The default: put it back and return, so that the instruction faults again and the
            // process ends as it would have without us. A signal that was sent is sent again.
            // SAFETY: signals: a zeroed action is SIG_DFL without flags.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &default, std::ptr::null_mut());
                if !is_fault {
                    libc::raise(signal);
                }
            }
        }
    }
}
