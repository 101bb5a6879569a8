//! Fuel: how much is consumed, where it is tested, and that it is exact however a call ends.
//!
//! Oracles: wasmtime 48 for calls that end normally (its default costs are ours), counts by hand
//! for traps, where wasmtime's count is approximate.

mod fuel {
    mod by_hand;
    mod like_wasmtime;
}
