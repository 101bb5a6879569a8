//! Signals that come by the thousand while wasm is entered, left, suspended, resumed, thrown through
//! and grown: with an alternate stack and without, by a handler that uses vector registers and stack.

use super::handlers::install;
use super::steps::Program;
use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use stillframe_tests::child;

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Writes to all vector registers, and to some KiB of whatever stack it runs on.
pub extern "C" fn scribble(_: libc::c_int) {
    let mut block = [0xa5_u8; 6 << 10];
    std::hint::black_box(&mut block);
    HANDLED.fetch_add(u64::from(block[3000] == 0xa5), Relaxed);
    // SAFETY: registers that a C function may write to; the wide ones only if they are there.
    unsafe {
        if std::arch::is_x86_feature_detected!("avx2") {
            asm!(
                "vpcmpeqd ymm0, ymm0, ymm0", "vmovdqa ymm1, ymm0", "vmovdqa ymm2, ymm0",
                "vmovdqa ymm3, ymm0", "vmovdqa ymm4, ymm0", "vmovdqa ymm5, ymm0",
                "vmovdqa ymm6, ymm0", "vmovdqa ymm7, ymm0", "vmovdqa ymm8, ymm0",
                "vmovdqa ymm9, ymm0", "vmovdqa ymm10, ymm0", "vmovdqa ymm11, ymm0",
                "vmovdqa ymm12, ymm0", "vmovdqa ymm13, ymm0", "vmovdqa ymm14, ymm0",
                "vmovdqa ymm15, ymm0",
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _,
                out("ymm5") _, out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _,
                out("ymm10") _, out("ymm11") _, out("ymm12") _, out("ymm13") _, out("ymm14") _,
                out("ymm15") _, options(nomem, nostack)
            );
        }
    }
}

/// Lets a signal come to this thread so often, until the process ends.
fn set_timer(interval: Duration) {
    // SAFETY: valid descriptions of a signal and of a timer.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = std::mem::zeroed();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
        let every = libc::timespec { tv_sec: 0, tv_nsec: interval.subsec_nanos().into() };
        let set = libc::itimerspec { it_interval: every, it_value: every };
        assert_eq!(libc::timer_settime(timer, 0, &set, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_storm_of_signals_changes_nothing() {
    const NAME: &str = "faults::storms::a_storm_of_signals_changes_nothing";
    let Some(role) = child::role() else {
        for role in ["with an alternate stack", "without"] {
            child::passes(NAME, role);
        }
        return;
    };
    // Neither are system calls restarted.
    let flags = if role == "without" { 0 } else { libc::SA_ONSTACK };
    install(libc::SIGALRM, scribble as *const () as usize, flags);
    let mut program = Program::new();
    let expected = program.run();
    set_timer(Duration::from_micros(60));
    let (started, mut rounds) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(400) || rounds < 20 {
        assert_eq!(program.run(), expected);
        rounds += 1;
        if rounds % 16 == 0 {
            // Compiled, mapped and dropped meanwhile too.
            program = Program::new();
        }
    }
    let handled = HANDLED.load(Relaxed);
    assert!(handled > 200, "{handled} signals in {rounds} rounds");
}
