//! What the benchmark makes of its numbers. Knows no engine, so that it is tested without building one:
//! `cargo test --workspace` builds this, and not the benchmark.
//!
//! ```text
//!   configuration.rs   the columns: which engine, with what switched on
//!   guests.rs          the list of guests, read from text
//!   listing.rs         rows of other kinds, as Markdown
//!   cell.rs            what is known of one guest in one configuration
//!   statistics.rs      ratios and geometric means
//!   grid.rs            guests × configurations of one quantity, as Markdown
//!   summary.rs         the targets, and whether they are met
//!   chart.rs           the run times as SVG; svg.rs: its shapes
//! ```

#![forbid(unsafe_code)]

pub mod cell;
pub mod chart;
pub mod configuration;
pub mod grid;
pub mod guests;
pub mod listing;
pub mod statistics;
pub mod summary;
pub mod svg;
