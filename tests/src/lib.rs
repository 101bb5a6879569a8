//! Oracles and material that several tests share.

pub mod programs;
