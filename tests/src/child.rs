//! Tests in a process of their own: this binary again, told by an environment variable that it is the
//! child, and which part it plays.
//!
//! For tests that change what the whole process has, look at what the system says of it, end it, or
//! may take too much of something. A test asks first of all:
//!
//! ```text
//!   if !child::alone("file::name_of_the_test") { return }      one part: what comes behind
//!
//!   match child::role().as_deref() {                           several
//!       None => child::passes("file::name_of_the_test", "a part"),
//!       Some(part) => ...
//!   }
//! ```
//!
//! A child that fails, runs no test, or ends otherwise than it should, is a failure of the test, with
//! what the child has written.

use std::process::{Command, ExitStatus, Output};

/// Tells the child its part.
const CHILD: &str = "STILLFRAME_TEST_CHILD";

/// The part of a child that has but one.
const ALONE: &str = "alone";

/// How much is shown of what a child writes, from its start and from its end, in bytes.
const SHOWN: usize = 4_000;

/// The part that this process shall play; none if it is the parent.
pub fn role() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Whether this process is the child that shall run the test with this path. If not, runs that, and
/// passes on its failure.
#[track_caller]
pub fn alone(name: &str) -> bool {
    role().is_some() || {
        check_passed(name, ALONE, &run(here(), name, ALONE));
        false
    }
}

/// The same, with a minute of processor time and 4 GiB.
#[track_caller]
pub fn limited(name: &str) -> bool {
    role().is_some() || {
        // Not address space, of which each memory takes 8 GiB.
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -t 60; ulimit -d 4194304; exec "$@""#, "sh"]);
        command.arg(here().get_program());
        check_passed(name, ALONE, &run(command, name, ALONE));
        false
    }
}

/// Plays this part of a test in a child, and passes on its failure.
#[track_caller]
pub fn passes(name: &str, role: &str) {
    check_passed(name, role, &run(here(), name, role));
}

/// Plays this part of a test in a child, which must end so, as its exit code.
#[track_caller]
pub fn exits(name: &str, role: &str, code: i32) {
    ends(name, role, &format!("code {code}"), |status| status.code() == Some(code));
}

/// Plays this part of a test in a child, which this signal must end.
#[cfg(unix)]
#[track_caller]
pub fn is_ended_by(name: &str, role: &str, signal: i32) {
    use std::os::unix::process::ExitStatusExt as _;
    ends(name, role, &format!("signal {signal}"), |status| status.signal() == Some(signal));
}

#[track_caller]
fn ends(name: &str, role: &str, how: &str, as_it_should: impl FnOnce(ExitStatus) -> bool) {
    let output = run(here(), name, role);
    // Whatever ends it, it does so in the test, and not because there is none.
    let began = String::from_utf8_lossy(&output.stdout).contains("running 1 test\n");
    assert!(began && as_it_should(output.status), "not {how}: {}", shown(name, role, &output));
}

#[track_caller]
fn check_passed(name: &str, role: &str, output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let passed = stdout.contains("running 1 test\n")
        && stdout.contains("test result: ok. 1 passed; 0 failed; 0 ignored;");
    assert!(passed && output.status.success(), "{}", shown(name, role, output));
}

/// This binary.
fn here() -> Command {
    Command::new(std::env::current_exe().expect("the path of this binary"))
}

fn run(mut command: Command, name: &str, role: &str) -> Output {
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, role);
    // All threads share one arena of the allocator's: it gives a thread one of its own, 64 MiB of
    // address space, when two allocate at once, and so at any time.
    command.env("MALLOC_ARENA_MAX", "1");
    // Traces of the host would be in its errors; and who fails while the process can map nothing
    // could not read its symbols, and would hang.
    command.env_remove("RUST_BACKTRACE");
    command.output().unwrap_or_else(|error| panic!("{name}: running it in a child: {error}"))
}

fn shown(name: &str, role: &str, output: &Output) -> String {
    let (stdout, stderr) = (shortened(&output.stdout), shortened(&output.stderr));
    format!("{name} as \"{role}\" in a child: {}\n{stdout}\n{stderr}", output.status)
}

/// The start and the end of what was written.
fn shortened(bytes: &[u8]) -> String {
    if bytes.len() <= 2 * SHOWN {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (start, end) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    format!("{}\n[...]\n{}", String::from_utf8_lossy(start), String::from_utf8_lossy(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{UnwindSafe, catch_unwind};

    /// What a check says that fails.
    fn failure(check: impl FnOnce() + UnwindSafe) -> String {
        let panic = catch_unwind(check).expect_err("no failure");
        *panic.downcast::<String>().expect("a text")
    }

    #[test]
    fn a_child_that_fails_is_a_failure_with_what_it_has_written() {
        const NAME: &str = "child::tests::a_child_that_fails_is_a_failure_with_what_it_has_written";
        match role().as_deref() {
            None => {
                passes(NAME, "passes");
                let failure = failure(|| passes(NAME, "fails"));
                assert!(
                    failure.contains("on purpose") && failure.contains("1 failed"),
                    "{failure}"
                );
            }
            Some("passes") => {}
            _ => panic!("on purpose"),
        }
    }

    #[test]
    fn a_child_without_exactly_one_test_is_a_failure() {
        let path = "child::tests::a_child_without";
        for name in ["no_such_test", path] {
            let texts = [
                failure(|| passes(name, "any")),
                failure(|| assert!(!alone(name))),
                failure(|| assert!(!limited(name))),
                failure(|| exits(name, "any", 0)),
            ];
            assert!(texts.iter().all(|text| text.contains("running 0 tests")), "{texts:?}");
        }
    }

    #[test]
    fn a_child_that_ends_otherwise_is_a_failure() {
        const NAME: &str = "child::tests::a_child_that_ends_otherwise_is_a_failure";
        match role().as_deref() {
            None => {
                exits(NAME, "exits", 43);
                is_ended_by(NAME, "aborts", 6);
                let failures = [
                    failure(|| exits(NAME, "exits", 44)),
                    failure(|| exits(NAME, "aborts", 43)),
                    failure(|| is_ended_by(NAME, "aborts", 11)),
                    failure(|| is_ended_by(NAME, "exits", 6)),
                    failure(|| passes(NAME, "exits")),
                    failure(|| passes(NAME, "aborts")),
                    failure(|| passes(NAME, "leaves at once")),
                ];
                assert!(failures[0].contains("exit status: 43"), "{}", failures[0]);
                assert!(failures[1].contains("SIGABRT"), "{}", failures[1]);
            }
            Some("exits") => std::process::exit(43),
            Some("aborts") => std::process::abort(),
            _ => std::process::exit(0),
        }
    }

    /// What is taken and not touched counts.
    #[test]
    fn a_child_that_takes_too_much_does_not_survive() {
        const NAME: &str = "child::tests::a_child_that_takes_too_much_does_not_survive";
        if role().is_some() {
            let taken = Vec::<u8>::with_capacity(5 << 30);
            assert_eq!(std::hint::black_box(taken).len(), 0);
            return;
        }
        assert!(!alone(NAME));
        let failure = failure(|| assert!(!limited(NAME)));
        assert!(failure.contains("memory allocation of 5368709120 bytes failed"), "{failure}");
    }

    #[test]
    fn of_much_that_is_written_the_start_and_the_end_are_shown() {
        let text = format!("start {} end", "x".repeat(100_000));
        let shortened = shortened(text.as_bytes());
        assert!(shortened.starts_with("start") && shortened.ends_with("end"));
        assert!(shortened.len() < 10_000);
    }
}
