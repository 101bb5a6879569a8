//! Fuel and epochs of a store, and what happens when one of them has run out.
//!
//! Fuel is one number to the embedder. Here it is two: what wasm can spend before its next
//! checkpoint takes the slow path (`VMRuntimeLimits::fuel_consumed`, negative), and a reserve, which
//! holds what is beyond an `i64`, beyond the slice after which asynchronous calls yield, or beyond
//! the slice after which the epoch is looked at. What has been executed in all is what was ever put
//! into the store's account, less what is left.
//!
//! # Epochs
//!
//! Code that counts fuel does not test epochs, unless its costs let it do work for nothing
//! (`RuntimeConfig::epoch_slice`): the slow path of a checkpoint does, when a slice is used up. And
//! when wasm is entered or a host function returns to it past the deadline, nothing is left in hand
//! ([`StoreCore::before_wasm`]), so that its next checkpoint takes the slow path. So a host
//! function's increment is seen at once, and that of another thread, or of a limiter, before so
//! many units are consumed.

use crate::activation::{Mode, Stop};
use crate::resumable::Cause;
use crate::store::StoreCore;
use anyhow::{Error, Result};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use stillframe_abi::Trap;

/// The most units by which a store can be overdrawn. What wasm can execute from its entry to its
/// first checkpoint is less than 2^62 units, whatever they cost, so that the counter cannot wrap.
const OVERDRAFT_MAX: i64 = 1 << 62;

/// Called at the epoch deadline.
pub type EpochCallback = Box<dyn FnMut(&mut StoreCore) -> Result<EpochAnswer> + Send + Sync>;

/// What an epoch callback decides. Ticks are increments of the engine's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochAnswer {
    /// Go on; the next deadline is this many ticks from now.
    Continue(u64),
    /// Suspend the call, if it is one that can be; the deadline is then this many ticks from now.
    Suspend(u64),
}

/// What happens when the epoch deadline is reached.
pub enum EpochAction {
    /// The call traps with `Trap::Interrupt`.
    Trap,
    /// The call is suspended, if it is one that can be, else it traps. The deadline is then so many
    /// ticks from now, or stays.
    Suspend(Option<u64>),
    /// The callback decides.
    Callback(EpochCallback),
    /// The callback is running: what is interrupted meanwhile traps.
    #[doc(hidden)]
    Running,
}

/// What a refill came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refill {
    /// There was enough in hand.
    NotNeeded,
    /// There is enough in hand now.
    Done,
    /// There is enough in hand now, of the next slice: asynchronous calls yield.
    NextSlice,
    /// There is too little in the reserve. All of it is in hand now.
    TooLittle,
}

/// What is to be done with wasm that has reached the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtDeadline {
    GoOn,
    Suspend,
    Trap,
}

impl StoreCore {
    /// Sets the fuel that is left to `fuel` units. An overdraft is forgotten.
    #[inline]
    pub fn set_fuel(&mut self, fuel: u64) {
        let change = fuel.wrapping_sub(self.balance());
        self.fuel_account = self.fuel_account.wrapping_add(change);
        self.put_in_hand(fuel);
    }

    /// Adds `fuel` units to what is left, at most up to `u64::MAX`. An overdraft is paid first.
    pub fn add_fuel(&mut self, fuel: u64) {
        let consumed = i128::from(self.limits.fuel_consumed.get());
        let left = i128::from(self.fuel_reserve) - consumed + i128::from(fuel);
        if left >= 0 {
            return self.set_fuel(u64::try_from(left).unwrap_or(u64::MAX));
        }
        // Still overdrawn, by less than before: the reserve pays too.
        let paid = fuel.saturating_add(std::mem::take(&mut self.fuel_reserve));
        self.limits.fuel_consumed.set(-left as i64);
        self.fuel_account = self.fuel_account.wrapping_add(fuel);
        self.forget_overdraft(paid);
    }

    /// Units that wasm has executed in this store since it was made, modulo 2^64.
    pub fn fuel_consumed(&self) -> u64 {
        self.fuel_account.wrapping_sub(self.balance())
    }

    /// What is left, modulo 2^64: negative if it is overdrawn.
    #[inline]
    fn balance(&self) -> u64 {
        self.fuel_reserve.wrapping_sub(self.limits.fuel_consumed.get() as u64)
    }

    /// Splits `fuel` into what wasm can spend and the reserve.
    #[inline]
    fn put_in_hand(&mut self, fuel: u64) {
        // Who sets the fuel does not begin a new slice, or a host function that tops it up would keep
        // a call from yielding.
        let until_yield = self.fuel_slice.map_or(u64::MAX, |_| self.until_yield());
        let in_hand = fuel.min(self.fuel_in_hand_max()).min(until_yield);
        self.fuel_reserve = fuel - in_hand;
        self.limits.fuel_consumed.set(-(in_hand as i64));
        self.fuel_until_yield = until_yield - in_hand;
    }

    /// Units until asynchronous calls yield, those in hand included.
    #[inline]
    fn until_yield(&self) -> u64 {
        let consumed = self.limits.fuel_consumed.get();
        match u64::try_from(consumed) {
            Ok(overdrawn) => self.fuel_until_yield.saturating_sub(overdrawn),
            Err(_) => self.fuel_until_yield.saturating_add(consumed.unsigned_abs()),
        }
    }

    /// The fuel that is left, in units; 0 if it is overdrawn.
    #[inline]
    pub fn fuel(&self) -> u64 {
        let consumed = self.limits.fuel_consumed.get();
        if consumed <= 0 {
            consumed.unsigned_abs().saturating_add(self.fuel_reserve)
        } else {
            self.fuel_reserve.saturating_sub(consumed as u64)
        }
    }

    /// Minus the units that are left, at least `i64::MIN`; above zero it is overdrawn.
    pub fn fuel_counter(&self) -> i64 {
        let left = i128::from(self.fuel_reserve) - i128::from(self.limits.fuel_consumed.get());
        i64::try_from(-left).unwrap_or(i64::MIN)
    }

    /// Lets asynchronous calls yield whenever they have consumed so many units.
    pub fn set_fuel_slice(&mut self, slice: Option<NonZeroU64>) {
        self.fuel_slice = slice;
        self.fuel_until_yield = slice.map_or(u64::MAX, NonZeroU64::get);
        // What is in hand is cut to the new size; an overdraft stays one.
        if self.fuel_counter() <= 0 {
            let fuel = self.fuel();
            self.limits.fuel_consumed.set(0);
            self.put_in_hand(fuel);
        }
    }

    /// Keeps an overdraft from growing for ever by calls that never meet a checkpoint. What is
    /// beyond the limit nobody owes any more; it was consumed all the same.
    #[inline]
    pub(crate) fn limit_overdraft(&mut self) {
        let beyond = self.limits.fuel_consumed.get().saturating_sub(OVERDRAFT_MAX);
        if beyond > 0 {
            self.limits.fuel_consumed.set(OVERDRAFT_MAX);
            self.fuel_account = self.fuel_account.wrapping_add(beyond as u64);
            self.forget_overdraft(beyond as u64);
        }
    }

    /// Counts units of an overdraft as consumed until calls yield, since they no longer are in
    /// `fuel_consumed`.
    #[inline]
    fn forget_overdraft(&mut self, units: u64) {
        if self.fuel_slice.is_some() {
            self.fuel_until_yield = self.fuel_until_yield.saturating_sub(units);
        }
    }

    #[inline]
    fn fuel_in_hand_max(&self) -> u64 {
        let of = |slice: Option<NonZeroU64>| slice.map_or(i64::MAX as u64, NonZeroU64::get);
        of(self.fuel_slice).min(of(self.epoch_slice)).min(i64::MAX as u64)
    }

    /// Past the deadline, leaves nothing in hand, so that wasm's next checkpoint takes the slow path.
    /// Called before wasm goes on.
    #[inline]
    pub(crate) fn before_wasm(&mut self) {
        if self.epoch_slice.is_some() && self.deadline_reached() {
            self.empty_hand();
        }
    }

    #[cold]
    fn empty_hand(&mut self) {
        let consumed = self.limits.fuel_consumed.get();
        if consumed < 0 {
            // What is left in all has been counted by a `u64` before.
            self.fuel_reserve += consumed.unsigned_abs();
            self.fuel_until_yield = self.fuel_until_yield.saturating_add(consumed.unsigned_abs());
            self.limits.fuel_consumed.set(0);
        }
    }

    /// Moves fuel from the reserve so that `need` units can be spent; `need` is not negative.
    #[inline]
    pub(crate) fn refill_fuel(&mut self, need: i64) -> Refill {
        let consumed = self.limits.fuel_consumed.get();
        if consumed.saturating_add(need) <= 0 {
            Refill::NotNeeded
        } else if self.fuel_reserve == 0 {
            Refill::TooLittle
        } else {
            self.take_from_reserve(need)
        }
    }

    #[cold]
    fn take_from_reserve(&mut self, need: i64) -> Refill {
        // `consumed` may be positive: overdrawn.
        let consumed = i128::from(self.limits.fuel_consumed.get());
        let need = i128::from(need);
        // What there still is until calls yield, in hand and in the reserve.
        let mut until_yield =
            self.fuel_slice.map_or(i128::MAX, |_| i128::from(self.fuel_until_yield) - consumed);
        let next_slice = until_yield < need;
        if let (true, Some(slice)) = (next_slice, self.fuel_slice) {
            until_yield = i128::from(slice.get());
        }
        // Afterwards so much is in hand.
        let in_hand = need.max(until_yield.min(i128::from(self.fuel_in_hand_max())));
        let take = i128::from(self.fuel_reserve).min(consumed + in_hand);
        self.fuel_reserve -= take as u64;
        if self.fuel_slice.is_some() {
            self.fuel_until_yield = (until_yield - in_hand).max(0) as u64;
        }
        // Not below `-i64::MAX`: `in_hand` is at most that.
        self.limits.fuel_consumed.set((consumed - take) as i64);
        match consumed - take + need <= 0 {
            true if next_slice => Refill::NextSlice,
            true => Refill::Done,
            false => Refill::TooLittle,
        }
    }

    /// Takes the overdraft out of the store: it is the suspended call's debt now.
    #[inline]
    fn take_overdraft(&mut self) -> u64 {
        let overdraft = self.limits.fuel_consumed.get().max(0) as u64;
        if overdraft > 0 {
            self.limits.fuel_consumed.set(0);
            self.fuel_account = self.fuel_account.wrapping_add(overdraft);
            self.forget_overdraft(overdraft);
        }
        overdraft
    }

    /// Pays a debt and puts `need` units in hand; `None` if there is too little for both, and then
    /// nothing has changed. `need` is not negative.
    #[inline]
    pub(crate) fn pay(&mut self, debt: u64, need: i64) -> Option<()> {
        let left = self.fuel().checked_sub(debt)?;
        if left < need as u64 {
            return None;
        }
        if debt > 0 {
            self.fuel_account = self.fuel_account.wrapping_sub(debt);
            self.put_in_hand(left);
        }
        self.refill_fuel(need);
        Some(())
    }

    /// Lets the next deadline be `ticks` increments of the engine's epoch from now.
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.limits.epoch_deadline.set(self.engine().epoch().saturating_add(ticks));
    }

    /// What happens at the deadline.
    pub fn set_epoch_action(&mut self, action: EpochAction) {
        self.epoch_action = action;
    }

    /// The slow path of a checkpoint: fuel or the epoch has run out, or both, or neither any more.
    /// `need` units must be left for wasm to go on.
    pub(crate) fn checkpoint(&mut self, need: i64) -> Result<(), Stop> {
        let mode = self.activations.innermost().map_or(Mode::Plain, |activation| activation.mode);
        self.test_fuel(need, mode)?;
        if self.deadline_reached() {
            return match (self.at_deadline()?, mode) {
                (AtDeadline::GoOn, _) => {
                    // A callback may have used fuel, or taken it away.
                    self.test_fuel(need, mode)?;
                    self.before_wasm();
                    Ok(())
                }
                (AtDeadline::Suspend, Mode::Resumable | Mode::Async) => {
                    Err(self.stop(Cause::Interrupted { need }))
                }
                (AtDeadline::Suspend, Mode::Plain) | (AtDeadline::Trap, _) => {
                    Err(Stop::End(Error::new(Trap::Interrupt)))
                }
            };
        }
        Ok(())
    }

    /// Puts `need` units in hand, if the engine counts fuel.
    #[inline]
    fn test_fuel(&mut self, need: i64, mode: Mode) -> Result<(), Stop> {
        if !self.engine().config().fuel {
            return Ok(());
        }
        match (self.refill_fuel(need), mode) {
            (Refill::NotNeeded, _) => Ok(()),
            (Refill::NextSlice, Mode::Async) => Err(self.stop(Cause::Yielded { need })),
            (Refill::Done | Refill::NextSlice, _) => Ok(()),
            (Refill::TooLittle, Mode::Resumable) => {
                let overdraft = self.take_overdraft();
                Err(self.stop(Cause::OutOfFuel { need, overdraft }))
            }
            (Refill::TooLittle, _) => Err(Stop::End(Error::new(Trap::OutOfFuel))),
        }
    }

    /// Whether the epoch has reached the deadline, if the engine's code tests epochs.
    #[inline]
    pub(crate) fn deadline_reached(&self) -> bool {
        let engine = self.engine();
        engine.config().epochs && engine.epoch() >= self.limits.epoch_deadline.get()
    }

    /// Does what the store's action says, and sets the new deadline if it has one.
    pub(crate) fn at_deadline(&mut self) -> Result<AtDeadline> {
        let (verdict, ticks) = match self.epoch_action {
            EpochAction::Trap | EpochAction::Running => (AtDeadline::Trap, None),
            EpochAction::Suspend(ticks) => (AtDeadline::Suspend, ticks),
            EpochAction::Callback(_) => match self.ask_epoch_callback()? {
                EpochAnswer::Continue(ticks) => (AtDeadline::GoOn, Some(ticks)),
                EpochAnswer::Suspend(ticks) => (AtDeadline::Suspend, Some(ticks)),
            },
        };
        if let Some(ticks) = ticks {
            self.set_epoch_deadline(ticks);
        }
        Ok(verdict)
    }

    fn ask_epoch_callback(&mut self) -> Result<EpochAnswer> {
        let action = std::mem::replace(&mut self.epoch_action, EpochAction::Running);
        let EpochAction::Callback(mut callback) = action else {
            unreachable!("asked only if there is one");
        };
        let answer = catch_unwind(AssertUnwindSafe(|| callback(self)));
        // Back in its place, unless it has set another action.
        if let EpochAction::Running = self.epoch_action {
            self.epoch_action = EpochAction::Callback(callback);
        }
        answer.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
