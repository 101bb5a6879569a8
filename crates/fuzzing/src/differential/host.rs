//! The host that all engines' guests have: its functions answer alike, whoever asks.
//!
//! Imports are numbered within their kind: wasmi lists them by kind, the others as the module does.

use super::value::{Given, Ty, Value};
use crate::Choices;
use std::fmt;

/// The error that host functions fail with now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostError(pub u32);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} of the host", self.0)
    }
}

impl std::error::Error for HostError {}

/// A call of a host function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostCall {
    /// Number of the imported function.
    pub import: usize,
    /// With what it was called.
    pub params: Vec<Value>,
}

/// What a host function does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it returns.
    pub results: Vec<Given>,
    /// What it does before, if it can: set a byte of the caller's first memory. The place is to be
    /// taken modulo its size.
    pub poke: Option<(usize, u8)>,
}

/// A store's data: what the host remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    seed: u64,
    /// Whether the guest is instantiated. Before, no memory is changed: an imported function that is
    /// the start function is called by the instance in wasmtime, and by the host in ours.
    pub started: bool,
    /// The calls, in order.
    pub calls: Vec<HostCall>,
}

impl Host {
    /// A host that has not been called.
    pub fn new(seed: u64) -> Host {
        Host { seed, started: false, calls: Vec::new() }
    }

    /// The answer to a call. It depends on what was called, with what, and as which call.
    pub fn call(
        &mut self,
        import: usize,
        params: Vec<Value>,
        results: &[Ty],
    ) -> Result<Answer, HostError> {
        let mut seed = self.seed ^ (import as u64) << 32 ^ self.calls.len() as u64;
        for value in &params {
            let bits = value.bits();
            seed = (seed ^ bits as u64 ^ (bits >> 64) as u64).wrapping_mul(0x100_0000_01b3);
        }
        let seed = seed.to_le_bytes();
        let mut choices = Choices::new(&seed);
        if choices.number().is_multiple_of(12) {
            self.calls.push(HostCall { import, params });
            return Err(HostError(choices.number() as u32));
        }
        let poke = choices.number().is_multiple_of(3) && self.started;
        let poke = poke.then(|| (choices.number() as usize, choices.number() as u8));
        let results = results.iter().map(|&ty| given(ty, &params, &mut choices)).collect();
        self.calls.push(HostCall { import, params });
        Ok(Answer { results, poke })
    }

    /// What an imported global starts with.
    pub fn global(&self, import: usize, ty: Ty) -> Value {
        let seed = (self.seed ^ import as u64).to_le_bytes();
        Value::choose(ty, &mut Choices::new(&seed))
    }
}

/// A result of type `ty`: a reference is that of a parameter, if there is one.
fn given(ty: Ty, params: &[Value], choices: &mut Choices<'_>) -> Given {
    let same = |value: &Value| match value {
        Value::Func(_) => ty == Ty::Func,
        Value::Extern(_) => ty == Ty::Extern,
        Value::Exn(_) => ty == Ty::Exn,
        _ => false,
    };
    match params.iter().position(same) {
        Some(param) => Given::Param(param),
        None => Given::Value(Value::choose(ty, choices)),
    }
}
