//! Oracles and material that several tests share.

pub mod child;
pub mod programs;
