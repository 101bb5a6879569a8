//! Entering and leaving wasm on x86-64 System V: the stubs, and the registers of a signal context.
//!
//! Host code runs on the host's stack, wasm code on a wasm stack. These are the only places where
//! `rsp` changes from one to the other.
//!
//! ```text
//!   host stack                                wasm stack
//!   ┌──────────────────────────┐              ┌──────────────────────────┐ top (16-aligned)
//!   │ Rust that called enter   │              │ return address into enter│
//!   │ return address           │ entry_sp+56  │ rbp = 0                  │ entry trampoline's frame
//!   │ rbp rbx r12 r13 r14 r15  │ entry_sp+8   │ …                        │
//!   │ address of the limits    │ ◄ entry_sp   │ wasm frames, linked by   │
//!   ├──────────────────────────┤              │ rbp                      │
//!   │ host function called     │              │ return address into wasm │ ◄ exit_sp
//!   │ from wasm: pushed at     │              └──────────────────────────┘
//!   │ entry_sp                 │
//!   └──────────────────────────┘
//! ```
//!
//! * [`enter`] pushes the host's callee-saved registers and the address of the limits, stores `rsp`
//!   in `last_wasm_entry_sp`, and calls the entry trampoline on the wasm stack.
//! * A builtin's stub stores `exit_fp`, `exit_pc` and `exit_sp`, loads `rsp` from `entry_sp`, and
//!   calls the Rust implementation on the host stack. `call` and `ret` stay paired. The
//!   implementation preserves what wasm has in callee-saved registers, so the stub has nothing to
//!   save: the limits are at `rsp` when it has returned. If it answers [`Status::GO_ON`], the stub
//!   zeroes `exit_fp`, `exit_pc` and the execution version, which ends the frozen period, and
//!   returns into wasm; otherwise it leaves: the host's registers come back from `entry_sp`, and
//!   `enter` returns the status.
//! * A hardware trap leaves in the same way: the signal handler sets `rsp` to `entry_sp` and `rip`
//!   to [`leave`].
//! * If the implementation answers [`Status::SUSPEND`], the stub saves on the wasm stack what wasm
//!   has in callee-saved registers, and leaves; the wasm stack stays as it is:
//!
//! ```text
//!                  │ return address: into wasm, or into the checkpoint's stub
//!                  │ rbp rbx r12 r13 r14 r15  ◄ exit_sp
//! ```
//!
//! * [`resume`] does what [`enter`] does with the host's registers, and takes those words back.
//!   The end of the first entry still stands at the bottom of the wasm stack: when wasm returns to
//!   it, `entry_sp` is that of the latest entry, and so it is `resume` that returns.
//!
//! The walk up the wasm frames ends at the entry trampoline, whose saved `rbp` is 0.

use crate::builtins as rust;
use crate::host::HostFunction;
use core::arch::naked_asm;
use stillframe_abi::builtins::{Builtin, BuiltinTable};
use stillframe_abi::limits::VMRuntimeLimits;
use stillframe_abi::limits::offsets as l;
use stillframe_abi::vmctx::offsets as v;

/// What a builtin's implementation answers, in `rax` and `rdx`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// The builtin's result.
    pub(crate) value: u64,
    /// Whether wasm goes on.
    pub(crate) status: Status,
}

/// Whether wasm goes on, and what `enter` returns.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Status(pub(crate) usize);

impl Status {
    /// Go on (from a builtin); finished (from `enter`). The stubs test for zero.
    pub(crate) const GO_ON: Status = Status(0);
    /// Leave wasm: the store's `pending` says why.
    pub(crate) const LEAVE: Status = Status(1);
    /// A hardware trap: the call state's `fault` says what happened. Given by the signal handler.
    pub(crate) const FAULT: Status = Status(2);
    /// From [`Builtin::Throw`]: go on at an exception handler, which gets the value. The words at
    /// `last_wasm_exit_sp` are its frame pointer and its address.
    pub(crate) const CATCH: Status = Status(3);
    /// Leave wasm so that it can be resumed: the call's record says why. Answered by builtins
    /// without results only ([`Builtin::HostCall`], [`Builtin::Checkpoint`]).
    pub(crate) const SUSPEND: Status = Status(4);
}

/// Saves what the host wants back; and the address of the limits, in `rdi`, for the stubs.
macro_rules! push_host {
    () => {
        "push rbp; push rbx; push r12; push r13; push r14; push r15; push rdi"
    };
}

/// What an unwinder must know wherever the host's stack is as `push_host` has left it, which is
/// what `entry_sp` points to: also while host code runs that wasm has called.
macro_rules! host_frame {
    () => {
        ".cfi_def_cfa rsp, 64
         .cfi_offset rbp, -16
         .cfi_offset rbx, -24
         .cfi_offset r12, -32
         .cfi_offset r13, -40
         .cfi_offset r14, -48
         .cfi_offset r15, -56"
    };
}

/// Gives the host back what `push_host` has saved, and returns to it.
macro_rules! return_to_host {
    () => {
        "add rsp, 8; pop r15; pop r14; pop r13; pop r12; pop rbx; pop rbp
         .cfi_def_cfa rsp, 8
         ret"
    };
}

/// Calls `trampoline(callee, caller, wasm_call, args)` on the wasm stack that ends at `stack_top`.
///
/// # Safety
///
/// `limits` belongs to the store of `callee`; its `stack_limit` is that of the stack below
/// `stack_top`, which is 16-aligned, mapped and used by nobody else. `trampoline` is the entry
/// trampoline of the type of the function at `wasm_call`, and `args` points to enough cells for
/// its parameters and results. The caller saves and restores the fields of `limits`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(
    limits: *const VMRuntimeLimits, // rdi
    stack_top: usize,               // rsi
    trampoline: *const u8,          // rdx
    callee: *mut (),                // rcx
    wasm_call: *const u8,           // r8
    args: *mut u8,                  // r9
) -> Status {
    naked_asm!(
        ".cfi_startproc",
        push_host!(),
        host_frame!(),
        "mov [rdi + {entry_sp}], rsp",
        "mov rbx, rdi", // the trampoline preserves rbx
        "mov rsp, rsi",
        "xor ebp, ebp", // ends the chain of frames
        "mov rax, rdx",
        "mov rdi, rcx",
        "xor esi, esi", // no caller
        "mov rdx, r8",
        "mov rcx, r9",
        "call rax",
        "mov rsp, [rbx + {entry_sp}]",
        "xor eax, eax",
        return_to_host!(),
        ".cfi_endproc",
        entry_sp = const l::LAST_WASM_ENTRY_SP,
    )
}

/// Goes on with wasm that [`stop`] has suspended. Returns as [`enter`] does.
///
/// # Safety
///
/// `limits` belongs to the store of the suspended call; its `stack_limit` is that of the call's
/// stack. `exit_sp` is `last_wasm_exit_sp` as the suspension left it, and nobody has written to the
/// wasm stack above it but to the cells of a host call. Only once per suspension.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume(
    limits: *const VMRuntimeLimits, // rdi
    exit_sp: usize,                 // rsi
) -> Status {
    naked_asm!(
        ".cfi_startproc",
        push_host!(),
        host_frame!(),
        "mov [rdi + {entry_sp}], rsp",
        "mov qword ptr [rdi + {exit_fp}], 0",
        "mov qword ptr [rdi + {exit_pc}], 0",
        "mov qword ptr [rdi + {version}], 0",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "pop rcx",
        "jmp rcx", // see `stop`
        ".cfi_endproc",
        entry_sp = const l::LAST_WASM_ENTRY_SP,
        exit_fp = const l::LAST_WASM_EXIT_FP,
        exit_pc = const l::LAST_WASM_EXIT_PC,
        version = const l::EXECUTION_VERSION,
    )
}

/// Leaves wasm: `rsp` is `entry_sp`, `rax` the status that `enter` returns. Not called: jumped to
/// by [`stop`] and by the signal handler.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave() {
    naked_asm!(".cfi_startproc", host_frame!(), return_to_host!(), ".cfi_endproc",)
}

/// Goes back to the wasm stack, which ends the frozen period. `r11` is the limits.
macro_rules! thaw {
    () => {
        "mov rsp, [r11 + {exit_sp}]
         mov qword ptr [r11 + {exit_fp}], 0
         mov qword ptr [r11 + {exit_pc}], 0
         mov qword ptr [r11 + {version}], 0"
    };
}

/// What a stub does when the Rust function has answered and `rsp` is `entry_sp` again: goes back to
/// the return address at `exit_sp`, or does not.
macro_rules! go_on_or_stop {
    () => {
        concat!("mov r11, [rsp]\n test rdx, rdx\n jnz {not_on}\n", thaw!(), "\n ret")
    };
}

/// The common part of most exits: calls the Rust function at `rax` on the host's stack, with the
/// argument registers as they are and the store's limits at `r11`.
///
/// While the Rust function runs, the CFA is that of `enter`, so an unwinder steps from it straight
/// to the Rust code that entered wasm.
#[unsafe(naked)]
unsafe extern "C" fn to_host() {
    naked_asm!(
        ".cfi_startproc",
        "mov [r11 + {exit_sp}], rsp",
        "mov rsp, [r11 + {entry_sp}]",
        host_frame!(),
        "call rax",
        go_on_or_stop!(),
        ".cfi_endproc",
        exit_sp = const l::LAST_WASM_EXIT_SP,
        entry_sp = const l::LAST_WASM_ENTRY_SP,
        exit_fp = const l::LAST_WASM_EXIT_FP,
        exit_pc = const l::LAST_WASM_EXIT_PC,
        version = const l::EXECUTION_VERSION,
        not_on = sym not_on,
    )
}

/// Does what another status than to go on says: `rdx` is the status, `r11` the limits, and `rsp` is
/// `entry_sp`.
#[unsafe(naked)]
unsafe extern "C" fn not_on() {
    naked_asm!(
        ".cfi_startproc",
        host_frame!(),
        "cmp rdx, {catch}",
        "je 3f",
        "cmp rdx, {suspend}",
        "jne {stop}",
        // One return address more for the predictor than `stop` takes.
        "lea rcx, [rip + 4f]",
        "push rcx",
        "ret",
        "4:",
        "jmp {stop}",
        // An exception: exit_sp is below the handler's frame pointer and address.
        "3:",
        thaw!(),
        "pop rbp",
        "ret",
        ".cfi_endproc",
        catch = const Status::CATCH.0,
        suspend = const Status::SUSPEND.0,
        exit_sp = const l::LAST_WASM_EXIT_SP,
        exit_fp = const l::LAST_WASM_EXIT_FP,
        exit_pc = const l::LAST_WASM_EXIT_PC,
        version = const l::EXECUTION_VERSION,
        stop = sym stop,
    )
}

/// Leaves wasm after a builtin's implementation has answered so: `rdx` is the status, `r11` the
/// limits, and `rsp` is `entry_sp`. If it is to be resumed, saves what [`resume`] takes back.
///
/// The processor predicts the targets of `ret` by the `call`s it has seen, which do not come in
/// pairs here. What counts is that their numbers are the same in each round of resuming and
/// suspending: else it is wrong about every frame of the Rust code around. A round through a
/// checkpoint:
///
/// ```text
///   call resume        +1        (it jumps into the checkpoint's stub)
///   stub ret to wasm   −1 wrong
///   wasm call stub     +1        (it does not `call` what switches)
///   stop, leave ret    −1 wrong
/// ```
///
/// Wasm calls the host through two calls (trampoline, stub), so there is one `ret` more.
#[unsafe(naked)]
unsafe extern "C" fn stop() {
    naked_asm!(
        ".cfi_startproc",
        host_frame!(),
        "cmp rdx, {suspend}",
        "jne 2f",
        // The Rust function has preserved them, so they are wasm's.
        "mov rsp, [r11 + {exit_sp}]",
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [r11 + {exit_sp}], rsp",
        "mov rsp, [r11 + {entry_sp}]",
        "2:",
        "mov rax, rdx",
        "jmp {leave}",
        ".cfi_endproc",
        suspend = const Status::SUSPEND.0,
        exit_sp = const l::LAST_WASM_EXIT_SP,
        entry_sp = const l::LAST_WASM_ENTRY_SP,
        leave = sym leave,
    )
}

/// A stub for a builtin that wasm functions call straight: the return address is the wasm pc, and
/// `rbp` the wasm frame's.
macro_rules! builtin_stub {
    ($($name:ident)*) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "mov r11, [rdi + {limits}]",
                "mov r10, [rsp]",
                "mov [r11 + {exit_pc}], r10",
                "mov [r11 + {exit_fp}], rbp",
                "lea rax, [rip + {rust}]",
                "jmp {to_host}",
                limits = const v::LIMITS,
                exit_pc = const l::LAST_WASM_EXIT_PC,
                exit_fp = const l::LAST_WASM_EXIT_FP,
                rust = sym rust::$name,
                to_host = sym to_host,
            )
        }
    )*};
}

builtin_stub! {
    memory_grow memory_copy memory_fill memory_init data_drop
    table_grow table_copy table_fill table_init elem_drop
    exn_new exn_match exn_load throw
}

/// The stub for host functions: the wasm-to-host trampoline has stored `exit_fp` and `exit_pc`. Each
/// host function has its own Rust code to be called, which its context names.
#[unsafe(naked)]
unsafe extern "C" fn host_call() {
    naked_asm!(
        ".cfi_startproc",
        "mov r11, [rdi + {limits}]",
        "mov [r11 + {exit_sp}], rsp",
        "mov rsp, [r11 + {entry_sp}]",
        host_frame!(),
        "call [rdi + {entry}]",
        go_on_or_stop!(),
        ".cfi_endproc",
        limits = const v::LIMITS,
        entry = const HostFunction::ENTRY,
        exit_sp = const l::LAST_WASM_EXIT_SP,
        entry_sp = const l::LAST_WASM_ENTRY_SP,
        exit_fp = const l::LAST_WASM_EXIT_FP,
        exit_pc = const l::LAST_WASM_EXIT_PC,
        version = const l::EXECUTION_VERSION,
        not_on = sym not_on,
    )
}

/// The stubs for checkpoints, with Cranelift's `PreserveAll` convention: every register comes back
/// as it was, the argument registers and the vectors too. Callee-saved ones are the Rust
/// function's duty.
///
/// ```text
///   rbp+8    return address into wasm         rbp+0   rbp of the wasm frame
///   rsp+256  rax rcx rdx rsi rdi r8 r9 r10 r11 (72 bytes), 8 free
///   rsp+0    xmm0 … xmm15
///   rsp-8    label 5: as below a `call` of `to_host`, whose work this does itself, so that there
///            is no `call` (see `stop`)
/// ```
///
/// `arguments` puts those of the Rust function into `rdi` and `rsi`, if they are not there; `leaving`
/// has the limits in `r11`; `back` has nothing but what is saved at `rsp`.
macro_rules! checkpoint_stub {
    (
        $(#[$doc:meta])* $name:ident,
        arguments: [$($arguments:literal),*],
        leaving: [$($leaving:literal),*],
        back: [$($back:literal),*],
    ) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
        ".cfi_startproc",
        "push rbp",
        "mov rbp, rsp",
        "sub rsp, 336",
        "movups [rsp + 0x00], xmm0",
        "movups [rsp + 0x10], xmm1",
        "movups [rsp + 0x20], xmm2",
        "movups [rsp + 0x30], xmm3",
        "movups [rsp + 0x40], xmm4",
        "movups [rsp + 0x50], xmm5",
        "movups [rsp + 0x60], xmm6",
        "movups [rsp + 0x70], xmm7",
        "movups [rsp + 0x80], xmm8",
        "movups [rsp + 0x90], xmm9",
        "movups [rsp + 0xa0], xmm10",
        "movups [rsp + 0xb0], xmm11",
        "movups [rsp + 0xc0], xmm12",
        "movups [rsp + 0xd0], xmm13",
        "movups [rsp + 0xe0], xmm14",
        "movups [rsp + 0xf0], xmm15",
        "mov [rsp + 256], rax",
        "mov [rsp + 264], rcx",
        "mov [rsp + 272], rdx",
        "mov [rsp + 280], rsi",
        "mov [rsp + 288], rdi",
        "mov [rsp + 296], r8",
        "mov [rsp + 304], r9",
        "mov [rsp + 312], r10",
        "mov [rsp + 320], r11",
        $($arguments,)*
        "mov r11, [rdi + {limits}]",
        $($leaving,)*
        "mov r10, [rbp + 8]",
        "mov [r11 + {exit_pc}], r10",
        "mov r10, [rbp]",
        "mov [r11 + {exit_fp}], r10",
        "lea rax, [rip + 5f]",
        "push rax",
        "mov [r11 + {exit_sp}], rsp",
        "mov rsp, [r11 + {entry_sp}]",
        host_frame!(),
        "call {rust}",
        "mov r11, [rsp]",
        "test rdx, rdx",
        "jnz {stop}",
        thaw!(),
        "pop rax",
        "5:",
        $($back,)*
        "movups xmm0, [rsp + 0x00]",
        "movups xmm1, [rsp + 0x10]",
        "movups xmm2, [rsp + 0x20]",
        "movups xmm3, [rsp + 0x30]",
        "movups xmm4, [rsp + 0x40]",
        "movups xmm5, [rsp + 0x50]",
        "movups xmm6, [rsp + 0x60]",
        "movups xmm7, [rsp + 0x70]",
        "movups xmm8, [rsp + 0x80]",
        "movups xmm9, [rsp + 0x90]",
        "movups xmm10, [rsp + 0xa0]",
        "movups xmm11, [rsp + 0xb0]",
        "movups xmm12, [rsp + 0xc0]",
        "movups xmm13, [rsp + 0xd0]",
        "movups xmm14, [rsp + 0xe0]",
        "movups xmm15, [rsp + 0xf0]",
        "mov rax, [rsp + 256]",
        "mov rcx, [rsp + 264]",
        "mov rdx, [rsp + 272]",
        "mov rsi, [rsp + 280]",
        "mov rdi, [rsp + 288]",
        "mov r8, [rsp + 296]",
        "mov r9, [rsp + 304]",
        "mov r10, [rsp + 312]",
        "mov r11, [rsp + 320]",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
        ".cfi_endproc",
        limits = const v::LIMITS,
        exit_pc = const l::LAST_WASM_EXIT_PC,
        exit_fp = const l::LAST_WASM_EXIT_FP,
        exit_sp = const l::LAST_WASM_EXIT_SP,
        entry_sp = const l::LAST_WASM_ENTRY_SP,
        version = const l::EXECUTION_VERSION,
        fuel = const l::FUEL_CONSUMED,
        rust = sym rust::checkpoint,
        stop = sym stop,
            )
        }
    };
}

checkpoint_stub! {
    /// [`Builtin::Checkpoint`]: the counter in the pinned register goes to memory and comes back, also
    /// when the call was suspended here.
    checkpoint,
    arguments: ["movq rdi, xmm0", "mov esi, 1"],
    leaving: ["mov [r11 + {fuel}], r15"],
    back: ["mov r11, [rsp]", "mov r11, [r11 + {limits}]", "mov r15, [r11 + {fuel}]"],
}
checkpoint_stub! {
    /// [`Builtin::EpochCheckpoint`].
    epoch_checkpoint,
    arguments: ["movq rdi, xmm0", "mov esi, 1"],
    leaving: ["/* {fuel} is not in use */"],
    back: [],
}
checkpoint_stub! {
    /// [`Builtin::CheckpointFor`].
    checkpoint_for,
    arguments: [],
    leaving: ["/* {fuel} is stored by wasm */"],
    back: [],
}

/// Bytes that the stubs use below a wasm frame, at most: the checkpoint's frame, and what `stop` saves below it.
pub(crate) const STUB_FRAME_MAX: usize = 512;

/// The table of the stubs, by [`Builtin`].
pub(crate) fn builtin_table() -> BuiltinTable {
    let mut table = [0; Builtin::ALL.len()];
    for builtin in Builtin::ALL {
        let stub: unsafe extern "C" fn() = match builtin {
            Builtin::Checkpoint => checkpoint,
            Builtin::EpochCheckpoint => epoch_checkpoint,
            Builtin::CheckpointFor => checkpoint_for,
            Builtin::HostCall => host_call,
            Builtin::MemoryGrow => memory_grow,
            Builtin::MemoryCopy => memory_copy,
            Builtin::MemoryFill => memory_fill,
            Builtin::MemoryInit => memory_init,
            Builtin::DataDrop => data_drop,
            Builtin::TableGrow => table_grow,
            Builtin::TableCopy => table_copy,
            Builtin::TableFill => table_fill,
            Builtin::TableInit => table_init,
            Builtin::ElemDrop => elem_drop,
            Builtin::ExnNew => exn_new,
            Builtin::ExnMatch => exn_match,
            Builtin::ExnLoad => exn_load,
            Builtin::Throw => throw,
        };
        table[builtin as usize] = stub as usize;
    }
    table
}

/// The current stack pointer, roughly: an address in the caller's frame.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: stack switch: copies a register; touches no memory and no flags.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags))
    };
    sp
}

/// The registers of an interrupted thread that traps need.
pub(crate) struct SignalRegisters {
    /// The instruction that faulted.
    pub(crate) pc: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
    /// The pinned register: the fuel counter, if the code is metered.
    pub(crate) pinned: i64,
    /// The first two arguments, if a function has just been entered. Its context is the first of
    /// them, or the second if its results go through memory: then the first is where they go.
    pub(crate) arguments: [usize; 2],
}

/// Reads the registers of a signal context.
pub(crate) fn signal_registers(context: &libc::ucontext_t) -> SignalRegisters {
    let regs = &context.uc_mcontext.gregs;
    SignalRegisters {
        pc: regs[libc::REG_RIP as usize] as usize,
        fp: regs[libc::REG_RBP as usize] as usize,
        pinned: regs[libc::REG_R15 as usize],
        arguments: [libc::REG_RDI, libc::REG_RSI].map(|reg| regs[reg as usize] as usize),
    }
}

/// Makes the interrupted thread leave wasm with `status` when the handler returns. `entry_sp` is
/// `last_wasm_entry_sp` of the activation it runs in.
pub(crate) fn leave_from_signal(context: &mut libc::ucontext_t, entry_sp: usize, status: Status) {
    let regs = &mut context.uc_mcontext.gregs;
    regs[libc::REG_RIP as usize] = leave as *const () as i64;
    regs[libc::REG_RSP as usize] = entry_sp as i64;
    regs[libc::REG_RAX as usize] = status.0 as i64;
}

const _: () = assert!(l::LAST_WASM_ENTRY_SP < 128 && v::LIMITS < 128);
