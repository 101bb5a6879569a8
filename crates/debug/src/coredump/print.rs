//! A core dump as text.
//!
//! Names come from files that can hold anything; whatever is not printable in them is escaped, so
//! that a dump cannot speak to the terminal.

use super::{CoreDump, CoreValue, Frame, Instance, Memory, ModuleSymbols, Thread};
use crate::names::demangle;
use anyhow::{Context as _, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

/// Prints a [`CoreDump`]: the threads with their frames, locals and operands, then instances,
/// memories and globals.
///
/// On its own it shows indices. [`Printer::module`] adds names and source positions.
pub struct Printer<'a> {
    dump: &'a CoreDump<'a>,
    /// By module index, as far as they are known.
    symbols: HashMap<u32, &'a ModuleSymbols>,
}

impl CoreDump<'_> {
    /// What prints the dump.
    pub fn printer(&self) -> Printer<'_> {
        Printer { dump: self, symbols: HashMap::new() }
    }
}

impl<'a> Printer<'a> {
    /// Shows names and positions that are known of module `index`.
    ///
    /// # Errors
    ///
    /// If the dump has no such module, or frames that cannot be of this one: says which.
    pub fn module(&mut self, index: u32, symbols: &'a ModuleSymbols) -> Result<&mut Self> {
        let count = self.dump.modules.len();
        let name = self.dump.modules.get(index as usize);
        let name = name.with_context(|| match count {
            0 => "the dump names no modules".to_string(),
            _ => format!("the dump has no module {index}; the last is {}", count - 1),
        })?;
        symbols.check(self.dump, index).with_context(|| {
            format!("this is not the module {index} of the dump ({})", printable(name))
        })?;
        self.symbols.insert(index, symbols);
        Ok(self)
    }

    fn instance(&self, index: u32) -> Option<&'a Instance> {
        self.dump.instances.get(index as usize)
    }

    fn symbols_of(&self, instance: u32) -> Option<&'a ModuleSymbols> {
        self.symbols.get(&self.instance(instance)?.module).copied()
    }
}

impl fmt::Display for Printer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core dump of {}", printable(&self.dump.executable_name))?;
        for thread in &self.dump.threads {
            self.thread(f, thread)?;
        }
        if !self.dump.instances.is_empty() {
            write!(f, "\n\ninstances")?;
        }
        for (index, instance) in self.dump.instances.iter().enumerate() {
            write!(f, "\n  {index}  {}", self.module_name(instance.module))?;
            write_indices(f, "memory", "memories", &instance.memories)?;
            write_indices(f, "global", "globals", &instance.globals)?;
        }
        if !self.dump.memories.is_empty() {
            write!(f, "\n\nmemories")?;
        }
        for (index, memory) in self.dump.memories.iter().enumerate() {
            write!(f, "\n  {index}  ")?;
            write_memory(f, memory)?;
        }
        self.globals(f)
    }
}

impl Printer<'_> {
    fn thread(&self, f: &mut fmt::Formatter<'_>, thread: &Thread) -> fmt::Result {
        let count = thread.frames.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "\n\nthread {}: {count} frame{s}", printable(&thread.name))?;
        if count > 1 {
            write!(f, ", youngest first")?;
        }
        for (depth, frame) in thread.frames.iter().enumerate() {
            self.frame(f, depth, frame)?;
        }
        Ok(())
    }

    /// Functions and positions, then where that is in the dump's terms, then the values.
    fn frame(&self, f: &mut fmt::Formatter<'_>, depth: usize, frame: &Frame) -> fmt::Result {
        let symbols = self.symbols_of(frame.instance);
        let name = match symbols.and_then(|symbols| symbols.func_name(frame.func_index)) {
            Some(name) => demangle(name),
            None => Cow::Owned(format!("function {}", frame.func_index)),
        };
        let positions = symbols.map_or_else(Vec::new, |symbols| symbols.symbols(frame));
        write!(f, "\n  #{depth:<3} ")?;
        if positions.is_empty() {
            f.write_str(&printable(&name))?;
        }
        for (at, position) in positions.iter().enumerate() {
            if at > 0 {
                write!(f, "\n       inlined in ")?;
            }
            f.write_str(&printable(position.name().unwrap_or(&name)))?;
            let Some(file) = position.file() else { continue };
            write!(f, "  at {}", printable(file))?;
            for number in [position.line(), position.column()] {
                let Some(number) = number else { break };
                write!(f, ":{number}")?;
            }
        }
        write!(f, "\n       function {}", frame.func_index)?;
        match frame.code_offset {
            // What stands there is not an operator.
            0 => write!(f, " at an unknown offset")?,
            offset => write!(f, " + {offset:#x}")?,
        }
        write!(f, ", instance {}", frame.instance)?;
        match self.instance(frame.instance) {
            Some(instance) => write!(f, " of {}", self.module_name(instance.module))?,
            None => write!(f, ", which is not in the dump")?,
        }
        let mut names = symbols.map_or_else(HashMap::new, |symbols| symbols.local_names(frame));
        let locals = frame.locals.iter().zip(0..).map(|(value, index)| {
            let name = names.remove(&index).unwrap_or_default();
            (format!("local {index}"), name, *value)
        });
        let mut rows: Vec<_> = locals.collect();
        let stack = frame.stack.iter().enumerate();
        rows.extend(stack.map(|(at, value)| (format!("stack {at}"), String::new(), *value)));
        write_values(f, "         ", &rows, CoreValue::type_name)
    }

    fn globals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dump.globals.is_empty() {
            return Ok(());
        }
        write!(f, "\n\nglobals")?;
        // The first instance that has a name for it gives it.
        let mut names = HashMap::new();
        for (instance, index) in self.dump.instances.iter().zip(0..) {
            let Some(symbols) = self.symbols_of(index) else { continue };
            for (&global, of_module) in instance.globals.iter().zip(0..) {
                if let Some(name) = symbols.global_name(of_module) {
                    names.entry(global).or_insert(name);
                }
            }
        }
        let rows = self.dump.globals.iter().zip(0..).map(|(value, index)| {
            let name = names.get(&index).copied().unwrap_or_default();
            (index.to_string(), name.to_string(), *value)
        });
        write_values(f, "  ", &rows.collect::<Vec<_>>(), super::GlobalValue::type_name)
    }

    /// `module 0 (name)`
    fn module_name(&self, index: u32) -> String {
        match self.dump.modules.get(index as usize) {
            Some(name) => format!("module {index} ({})", printable(name)),
            None => format!("module {index}, which is not in the dump"),
        }
    }
}

/// Lines of label, name, type and value, in columns.
fn write_values<V: Copy + fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    rows: &[(String, String, V)],
    type_name: fn(V) -> &'static str,
) -> fmt::Result {
    let names: Vec<_> = rows.iter().map(|(_, name, _)| printable(name)).collect();
    let width = |longest: Option<usize>| longest.unwrap_or(0);
    let labels = width(rows.iter().map(|(label, _, _)| label.len()).max());
    let types = width(rows.iter().map(|(_, _, value)| type_name(*value).len()).max());
    // A name that is out of the ordinary does not push all others aside.
    let longest = width(names.iter().map(|name| name.chars().count().min(30)).max());
    for ((label, _, value), name) in rows.iter().zip(&names) {
        write!(f, "\n{indent}{label:<labels$}  ")?;
        if longest > 0 {
            write!(f, "{name:<longest$}  ")?;
        }
        write!(f, "{:<types$}  {value}", type_name(*value))?;
    }
    Ok(())
}

/// `, memory 0` or `, globals 0, 1 and 4`, with runs shortened.
fn write_indices(
    f: &mut fmt::Formatter<'_>,
    one: &str,
    many: &str,
    indices: &[u32],
) -> fmt::Result {
    match indices {
        [] => return Ok(()),
        [index] => return write!(f, ", {one} {index}"),
        _ => write!(f, ", {many}")?,
    }
    let mut rest = indices;
    while let [first, ..] = *rest {
        let ascending = |(&index, expected): (&u32, u32)| index == expected;
        let run = rest.iter().zip(first..).take_while(|&pair| ascending(pair)).count().max(1);
        write!(f, " {first}")?;
        if run > 1 {
            write!(f, "-{}", rest[run - 1])?;
        }
        rest = &rest[run..];
    }
    Ok(())
}

fn write_memory(f: &mut fmt::Formatter<'_>, memory: &Memory<'_>) -> fmt::Result {
    let pages = memory.pages();
    let s = if pages == 1 { "" } else { "s" };
    write!(f, "{pages} page{s} of {} bytes", memory.page_size())?;
    if let Some(maximum) = memory.maximum() {
        write!(f, ", at most {maximum}")?;
    }
    if memory.is_64() {
        write!(f, ", 64-bit")?;
    }
    // Segments are disjoint and in the memory, so that the sum is at most its size.
    let kept: u64 = memory.segments().iter().map(|segment| segment.bytes.len() as u64).sum();
    write!(f, "; {kept} bytes are in the dump, all others are zero")
}

/// A text with what is not printable escaped.
fn printable(text: &str) -> Cow<'_, str> {
    // Controls, and the marks that turn the direction of writing around.
    let special = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match special(c) {
            true => _ = write!(escaped, "{}", c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}
