//! Scripts of the WebAssembly test suite: what `stillframe wast` runs, and the suite's own test.
//!
//! ```text
//!   mod.rs        run_script: a script to a Report
//!   context.rs    what a script has made so far: its store, instances, names
//!   directive.rs  each kind of directive
//!   value.rs      arguments, and whether results are as expected
//!   spectest.rs   the module that all scripts may import
//! ```

mod context;
mod directive;
mod spectest;
mod value;

use crate::args::WastArgs;
use crate::load;
use anyhow::{Context as _, Result};
use context::Context;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Span;

/// How a script's modules are compiled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// If the code is to count fuel, how much of it each call and instantiation has.
    pub fuel: Option<u64>,
    /// Whether the code is to test epochs. Their deadline never comes.
    pub epochs: bool,
    /// Whether all functions are compiled in the plain way.
    pub plain_code: bool,
    /// Whether, moreover, registers are allocated in a single pass.
    pub single_pass: bool,
}

/// What came of a script: its directives, in order.
#[derive(Debug, Default)]
pub struct Report {
    /// Each directive. A script that cannot be read has one, called `script`.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// How many directives did what they should.
    pub fn passed(&self) -> usize {
        self.outcomes.len() - self.failed().count()
    }

    /// The directives that did not.
    pub fn failed(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }
}

/// What came of a directive.
#[derive(Debug)]
pub struct Outcome {
    /// Where it begins in the script: the line, counted from 1.
    pub line: usize,
    /// And the column, counted from 1.
    pub column: usize,
    /// Which directive it is, as scripts spell it.
    pub directive: &'static str,
    /// Unless it passed: what was expected, and what happened.
    pub failure: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { line, column, directive, failure } = self;
        let failure = failure.as_deref().unwrap_or("passed");
        write!(f, "{line}:{column}: {directive}: {failure}")
    }
}

/// Runs the script `text`, each of its directives, whatever became of those before.
///
/// # Errors
///
/// If there can be no engine with these options.
pub fn run_script(text: &str, options: Options) -> Result<Report> {
    let mut report = Report::default();
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut record = |span: Span, directive, failure| {
        let line = newlines.partition_point(|newline| *newline < span.offset());
        let start = line.checked_sub(1).map_or(0, |before| newlines[before] + 1);
        let column = span.offset() - start;
        let (line, column) = (line + 1, column + 1);
        report.outcomes.push(Outcome { line, column, directive, failure });
    };
    let mut lexer = Lexer::new(text);
    // The suite has a test of names that are made to be misread.
    lexer.allow_confusing_unicode(true);
    let buffer;
    let script = match ParseBuffer::new_with_lexer(lexer) {
        Ok(lexed) => {
            buffer = lexed;
            parser::parse::<wast::Wast<'_>>(&buffer)
        }
        Err(error) => Err(error),
    };
    match script {
        Ok(script) => {
            let mut context = Context::new(options)?;
            for mut directive in script.directives {
                let failure = context.run(&mut directive).err().map(|error| format!("{error:#}"));
                record(directive.span(), directive::name(&directive), failure);
            }
        }
        Err(error) => record(error.span(), "script", Some(error.message())),
    }
    Ok(report)
}

/// Does what `stillframe wast` was asked.
pub(crate) fn command(args: &WastArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for path in &args.files {
        let shown = path.display();
        let text = load::read(path)?;
        let text = String::from_utf8(text).with_context(|| format!("{shown} is not UTF-8"))?;
        let report = run_script(&text, Options::default())?;
        let (good, bad) = (report.passed(), report.failed().count());
        for failure in report.failed() {
            eprintln!("{shown}:{failure}");
        }
        writeln!(out, "{shown}: {good} passed, {bad} failed")?;
        passed += good;
        failed += bad;
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests;
