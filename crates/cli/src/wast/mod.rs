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

/// How a script is run: with the code's counters, or without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// If the code is to count fuel, how much of it each call and instantiation has.
    pub fuel: Option<u64>,
    /// Whether the code is to test epochs. Their deadline never comes.
    pub epochs: bool,
}

/// What came of a script.
#[derive(Debug)]
pub struct Report {
    /// How many directives did what they should.
    pub passed: usize,
    /// The others, in the script's order.
    pub failed: Vec<Failure>,
}

/// A directive that did not do what it should.
#[derive(Debug)]
pub struct Failure {
    /// Where it begins in the script: the line, counted from 1.
    pub line: usize,
    /// And the column, counted from 1.
    pub column: usize,
    /// Which directive it is, as scripts spell it.
    pub directive: &'static str,
    /// What was expected, and what happened.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { line, column, directive, message } = self;
        write!(f, "{line}:{column}: {directive}: {message}")
    }
}

/// Runs the script `text`, each of its directives, whatever became of those before.
///
/// A script that cannot be read counts as one directive that failed.
///
/// # Errors
///
/// If there can be no engine with these options.
pub fn run_script(text: &str, options: Options) -> Result<Report> {
    let mut report = Report { passed: 0, failed: Vec::new() };
    let failure = |span: Span, directive, message| {
        let (line, column) = span.linecol_in(text);
        Failure { line: line + 1, column: column + 1, directive, message }
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
    let script = match script {
        Ok(script) => script,
        Err(error) => {
            report.failed.push(failure(error.span(), "script", error.message()));
            return Ok(report);
        }
    };
    let mut context = Context::new(options)?;
    for mut directive in script.directives {
        match context.run(&mut directive) {
            Ok(()) => report.passed += 1,
            Err(error) => {
                let kind = directive::name(&directive);
                report.failed.push(failure(directive.span(), kind, format!("{error:#}")));
            }
        }
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
        for failure in &report.failed {
            eprintln!("{shown}:{failure}");
        }
        writeln!(out, "{shown}: {} passed, {} failed", report.passed, report.failed.len())?;
        passed += report.passed;
        failed += report.failed.len();
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests;
