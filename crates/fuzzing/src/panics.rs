//! Panics that are part of the contract, so that they are not taken for bugs.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Does something that may panic; then its message is returned, and no hook is told. Fuzzers have
/// one that ends the process.
///
/// # Errors
///
/// The message, if it panics.
pub fn expected<R>(what: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_EXPECTED.get() {
                before(info);
            }
        }));
    });
    let before = IS_EXPECTED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(what));
    IS_EXPECTED.set(before);
    done.map_err(|panic| message(&*panic))
}

/// The message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_as_its_message() {
        assert_eq!(expected(|| 7), Ok(7));
        let number = 3;
        assert_eq!(expected(|| panic!("number {number}")), Err::<(), _>("number 3".into()));
        assert_eq!(expected(|| panic!("text")), Err::<(), _>("text".into()));
    }
}
