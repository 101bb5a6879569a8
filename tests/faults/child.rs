//! Tests that need a process of their own: this binary again, told by an environment variable which
//! part to play.

use std::process::{Command, ExitStatus, Output};

const ROLE: &str = "STILLFRAME_TEST_ROLE";

/// The part that this process shall play; `None` if it is the parent.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

fn run(name: &str, role: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

/// How a process ends that plays this part in test `name`.
pub fn ending(name: &str, role: &str) -> ExitStatus {
    run(name, role).status
}

/// Plays this part of test `name` in a process of its own, and passes on its failure.
pub fn passes(name: &str, role: &str) {
    let output = run(name, role);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "{role}: {}\n{stdout}\n{stderr}", output.status);
}

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
