//! Backtraces: the wasm functions that were running, innermost first.

use crate::dwarf::FrameSymbol;
use crate::frame::symbols_of;
use crate::names::demangle;
use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use stillframe_runtime::{Trace, TraceFrame};

/// The wasm functions that were running when a call failed, or when
/// [`capture`](WasmBacktrace::capture) was called; innermost first.
///
/// A call that traps, or in which a host function fails, ends in an error with a backtrace in it:
/// `error.downcast_ref::<WasmBacktrace>()` finds it. The backtrace spans all calls that were
/// nested through host functions in the store. Of more than 80 frames the innermost 64 and the
/// outermost 16 are kept.
///
/// Making one is cheap; names and source positions are looked up when they are asked for or
/// printed.
#[derive(Debug)]
pub struct WasmBacktrace {
    frames: Vec<FrameInfo>,
    omitted: usize,
    reason: Option<String>,
}

/// A store that can be asked for its frames: what [`WasmBacktrace::capture`] takes.
///
/// Implemented by references to `Store`, `StoreContext`, `StoreContextMut` and `Caller`.
pub trait Traced {
    /// The frames of the store.
    #[doc(hidden)]
    fn trace(&self) -> Trace;
}

impl<S: Traced + ?Sized> Traced for &S {
    fn trace(&self) -> Trace {
        (**self).trace()
    }
}

impl WasmBacktrace {
    /// The frames that led here: of use in a host function, which gives its `Caller`.
    pub fn capture(store: impl Traced) -> WasmBacktrace {
        WasmBacktrace::new(store.trace(), None)
    }

    /// A backtrace of these frames. `reason` is what went wrong, and is printed in front.
    #[doc(hidden)]
    pub fn new(trace: Trace, reason: Option<String>) -> WasmBacktrace {
        let frames = trace.frames.into_iter().map(FrameInfo::new).collect();
        WasmBacktrace { frames, omitted: trace.omitted, reason }
    }

    /// The frames, innermost first. If some were [omitted](WasmBacktrace::omitted), they are
    /// missing between the first 64 and the rest.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }

    /// Whether the values of the frames were kept too: it is that of a call that has failed.
    #[doc(hidden)]
    pub fn has_values(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.frame.has_values())
    }

    /// How many frames in the middle were left out.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.reason {
            writeln!(f, "{reason}")?;
        }
        f.write_str("wasm backtrace:")?;
        for (i, frame) in self.frames.iter().enumerate() {
            let mut depth = i;
            if self.omitted > 0 && i >= Trace::INNERMOST {
                if i == Trace::INNERMOST {
                    write!(f, "\n       ... {} frames omitted ...", self.omitted)?;
                }
                depth += self.omitted;
            }
            write!(f, "\n{depth:>5}: {frame}")?;
        }
        Ok(())
    }
}

/// One frame of a [`WasmBacktrace`]: a wasm function, and where it stood.
#[derive(Debug)]
pub struct FrameInfo {
    frame: TraceFrame,
    symbols: OnceLock<Vec<FrameSymbol>>,
}

impl FrameInfo {
    fn new(frame: TraceFrame) -> FrameInfo {
        FrameInfo { frame, symbols: OnceLock::new() }
    }

    /// The module's name, from its name section.
    pub fn module_name(&self) -> Option<&str> {
        self.frame.row().module().info().name.as_deref()
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.frame.row().func_index()
    }

    /// The function's name, from the module's name section, as it stands there: it can be mangled.
    pub fn func_name(&self) -> Option<&str> {
        self.frame.row().module().info().func_name(self.func_index())
    }

    /// Where the frame stood: the offset in the wasm file, in bytes, of the operator that trapped
    /// or that calls the next inner frame.
    pub fn module_offset(&self) -> usize {
        self.frame.row().wasm_pc().0 as usize
    }

    /// The same, counted from the start of the function's body.
    pub fn func_offset(&self) -> usize {
        let info = self.frame.row().module().info();
        let defined = self.func_index() as usize - info.num_imported_functions;
        let start = info.bodies.get(defined).map_or(0, |body| body.start as usize);
        self.module_offset().saturating_sub(start)
    }

    /// Which call from the host into wasm the frame belongs to: 0 is the innermost. Between frames
    /// with different numbers host functions were running.
    pub fn activation(&self) -> usize {
        self.frame.activation()
    }

    /// What the module's DWARF says of the place: functions that the guest's compiler had inlined
    /// here, innermost first, and last the function itself. Empty if the module has no DWARF for
    /// it, or `Config::debug_info` is off.
    pub fn symbols(&self) -> &[FrameSymbol] {
        self.symbols.get_or_init(|| symbols_of(self.frame.row()))
    }

    /// The frame, with its values if they were kept.
    #[doc(hidden)]
    pub fn frame(&self) -> &TraceFrame {
        &self.frame
    }
}

/// `0x1a3 - module!function`, and the source positions on lines of their own.
impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.func_name() {
            Some(name) => demangle(name),
            None => Cow::Owned(format!("<wasm function {}>", self.func_index())),
        };
        write_frame(f, self.module_offset(), self.module_name(), &name, self.symbols())
    }
}

fn write_frame(
    f: &mut fmt::Formatter<'_>,
    offset: usize,
    module: Option<&str>,
    name: &str,
    symbols: &[FrameSymbol],
) -> fmt::Result {
    write!(f, "{offset:#8x} - ")?;
    if let Some(module) = module {
        write!(f, "{module}!")?;
    }
    let Some((first, callers)) = symbols.split_first() else { return f.write_str(name) };
    f.write_str(first.name().unwrap_or(name))?;
    write_position(f, first)?;
    for caller in callers {
        // Aligned with the name above, behind the number of the frame.
        write!(f, "\n{:>15} - {}", "inlined", caller.name().unwrap_or(name))?;
        write_position(f, caller)?;
    }
    Ok(())
}

fn write_position(f: &mut fmt::Formatter<'_>, symbol: &FrameSymbol) -> fmt::Result {
    let Some(file) = symbol.file() else { return Ok(()) };
    write!(f, "\n{:>20} {file}", "at")?;
    if let Some(line) = symbol.line() {
        write!(f, ":{line}")?;
        if let Some(column) = symbol.column() {
            write!(f, ":{column}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Frame<'a>(Option<&'a str>, Vec<FrameSymbol>);

    impl fmt::Display for Frame<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_frame(f, 0x1a3, self.0, "func", &self.1)
        }
    }

    #[test]
    fn frames_are_printed_with_what_is_known_of_them() {
        assert_eq!(Frame(None, vec![]).to_string(), "   0x1a3 - func");
        assert_eq!(Frame(Some("m"), vec![]).to_string(), "   0x1a3 - m!func");
        let leaf = FrameSymbol::for_test(Some("leaf"), Some("a.rs"), Some(3), Some(5));
        let outer = FrameSymbol::for_test(None, Some("b.rs"), Some(10), None);
        let nowhere = FrameSymbol::for_test(Some("x"), None, Some(1), Some(1));
        let lines = Frame(Some("m"), vec![leaf, outer, nowhere]).to_string();
        let lines: Vec<_> = lines.lines().map(str::trim_start).collect();
        assert_eq!(
            lines,
            ["0x1a3 - m!leaf", "at a.rs:3:5", "inlined - func", "at b.rs:10", "inlined - x"]
        );
    }
}
