//! Handlers of signals, for tests whose processes are their own.

/// Installs a handler.
pub fn install(signal: i32, handler: usize, flags: i32) -> libc::sigaction {
    // SAFETY: a valid action; the handlers of these tests are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, &mut before), 0);
        before
    }
}
