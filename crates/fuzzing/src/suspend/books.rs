//! Where fuel is: what a store has, what it owes, what its calls owe.

use anyhow::{Result, ensure};

/// What a store must say of its fuel. `docs/fuel.md` is the contract.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// What the store has; below zero, what it owes.
    left: i128,
    /// What wasm has consumed in the store until now.
    consumed: u64,
}

impl Books {
    /// Wasm has run: these are the numbers of the store now. Returns what has been consumed since
    /// they were last looked at.
    pub(crate) fn look(&mut self, consumed: u64, left: u64) -> Result<u64> {
        let more = consumed.wrapping_sub(self.consumed);
        self.consumed = consumed;
        self.left -= i128::from(more);
        let expected = self.left.max(0);
        ensure!(
            i128::from(left) == expected,
            "the store has {left} units instead of {expected}, after {more} more were consumed"
        );
        Ok(more)
    }

    /// The store was given this instead of what it had.
    pub(crate) fn set(&mut self, fuel: u64) {
        self.left = fuel.into();
    }

    /// The store was given this beside what it had.
    pub(crate) fn add(&mut self, fuel: u64) {
        self.left = (self.left + i128::from(fuel)).min(u64::MAX.into());
    }

    /// What the store has.
    pub(crate) fn left(&self) -> u64 {
        u64::try_from(self.left.max(0)).unwrap_or(u64::MAX)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.left <= 0
    }

    /// A call was suspended without fuel, which says these. `at_once`: it was to be carried on, and
    /// there was none from the start.
    pub(crate) fn suspended(&mut self, at_once: bool, required: u64, owed: u64) -> Result<()> {
        let expected = if at_once { 0 } else { (-self.left).max(0) };
        ensure!(i128::from(owed) == expected, "overdraft {owed} instead of {expected}");
        let left = self.left();
        ensure!(required > owed && required > left, "{required} required, of {left}, owed {owed}");
        self.left += i128::from(owed);
        Ok(())
    }

    /// A suspended call goes on, and pays what it owes.
    pub(crate) fn resumed(&mut self, owed: u64) {
        self.left -= i128::from(owed);
    }

    /// It does not, for another reason.
    pub(crate) fn resumed_not(&mut self, owed: u64) {
        self.left += i128::from(owed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdraft_goes_with_the_call_and_comes_back() {
        let mut books = Books::default();
        books.set(10);
        assert_eq!(books.look(4, 6).unwrap(), 4);
        assert!(books.clone().look(5, 6).is_err(), "a unit is missing");
        assert_eq!(books.look(13, 0).unwrap(), 9);
        assert!(books.clone().suspended(false, 4, 2).is_err());
        books.suspended(false, 4, 3).unwrap();
        books.add(5);
        assert_eq!(books.look(13, 5).unwrap(), 0);
        books.resumed(3);
        assert_eq!(books.look(13, 2).unwrap(), 0);
    }
}
