//! Which rows are measured and how often: arguments that the parts share whose rows take samples by
//! rounds.

use crate::surroundings::Output;
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;

/// Arguments of a part whose rows take samples by rounds.
#[derive(Args, Default, Debug)]
pub(crate) struct Sampling {
    /// Samples of each row [default: 25, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// A tenth of the operations or fewer, and 3 rounds: seconds, and rough numbers
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only rows whose names contain this; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Write the table into this file, not to standard output
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Sampling {
    /// That of a part of the whole.
    pub(crate) fn of(quick: bool, only: Vec<String>, rounds: Option<u32>) -> Sampling {
        Sampling { quick, only, rounds, markdown: None }
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 25 })
    }

    /// The rows that are wanted, by their names.
    pub(crate) fn choose<R>(
        &self,
        rows: impl IntoIterator<Item = R>,
        name: impl Fn(&R) -> String,
    ) -> Vec<R> {
        let wanted = |row: &R| {
            let name = name(row);
            self.only.is_empty() || self.only.iter().any(|text| name.contains(text.as_str()))
        };
        rows.into_iter().filter(wanted).collect()
    }

    /// # Errors
    ///
    /// If no row was chosen.
    pub(crate) fn ensure_any<R>(&self, chosen: &[R]) -> Result<()> {
        ensure!(!chosen.is_empty(), "no row's name contains {:?}", self.only);
        Ok(())
    }

    /// Where the table goes.
    ///
    /// # Errors
    ///
    /// If the file cannot be made.
    pub(crate) fn output(&self) -> Result<Output> {
        Output::to(self.markdown.as_deref())
    }
}
