//! `run --frames`: a frozen stack as text: functions, source lines, locals and operands.
//!
//! ```text
//!       0:     0x5e - count!inner            depth, offset in the module, function
//!                     at src/lib.rs:7:5      by the guest's DWARF; then what it is inlined in
//!                       n       i32  3       locals, and what is on the operand stack
//!                       limit   i64  -       `-`: not kept at this place
//!      -- host --                            the host had been called by what follows
//!       1:     0x77 - count!outer
//! ```

use crate::report::grouped;
use crate::style::{Part, Style};
use crate::values;
use std::collections::VecDeque;
use std::fmt::Write as _;
use stillframe::{
    AsContext, FrameError, FrameHandle, FrameLocal, FrameOperand, FrameSymbol, Frames, FrozenTrace,
    Val, ValType, demangle,
};

/// So many frames are kept of a deep stack, from the inside and from the outside.
const INNERMOST: usize = 64;
const OUTERMOST: usize = 16;
/// Names longer than this do not push the other columns away.
const NAME_WIDTH: usize = 24;

/// A copy of what could be read of a frozen stack, innermost frame first.
pub(crate) struct Stack {
    frames: Vec<Frame>,
    /// Frames that are missing after the first [`INNERMOST`].
    omitted: usize,
}

struct Frame {
    /// Whether the host was running between this frame and the one before.
    behind_host: bool,
    /// The function, with the module's name.
    function: String,
    wasm_pc: u32,
    source: Vec<FrameSymbol>,
    variables: Vec<Variable>,
}

/// A local or an operand.
struct Variable {
    kind: Kind,
    name: String,
    ty: String,
    /// `None` if it was not kept.
    value: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Operand,
}

impl Stack {
    /// That of a call that has failed.
    pub(crate) fn of_trace(store: impl AsContext, trace: &FrozenTrace) -> Stack {
        let mut activation = trace.frames().first().map(|frame| frame.activation());
        let frame = |frame: &stillframe::FrozenFrame| Frame {
            behind_host: activation.replace(frame.activation()) != Some(frame.activation()),
            function: function_name(frame.module().name(), frame.func_name(), frame.func_index()),
            wasm_pc: frame.wasm_pc(),
            source: frame.source().to_vec(),
            variables: variables(&store, frame.locals(), frame.operands()),
        };
        let frames = trace.frames().iter().map(frame).collect();
        Stack { frames, omitted: trace.omitted() }
    }

    /// That of a call that stands still. An error only if the frames are of another store, or not
    /// frozen any more.
    pub(crate) fn of_frames(
        store: impl AsContext,
        frames: Frames<'_>,
    ) -> Result<Stack, FrameError> {
        let mut innermost = Vec::new();
        let mut outermost = VecDeque::with_capacity(OUTERMOST);
        let mut omitted = 0;
        for frame in frames {
            if innermost.len() < INNERMOST {
                innermost.push(frame);
                continue;
            }
            if outermost.len() == OUTERMOST {
                outermost.pop_front();
                omitted += 1;
            }
            outermost.push_back(frame);
        }
        let mut activation = innermost.first().map(FrameHandle::activation);
        let frame = |frame: FrameHandle| {
            let module = frame.module(&store)?;
            let function =
                function_name(module.name(), frame.func_name(&store)?, frame.func_index(&store)?);
            Ok(Frame {
                behind_host: activation.replace(frame.activation()) != Some(frame.activation()),
                function,
                wasm_pc: frame.wasm_pc(&store)?,
                source: frame.source(&store)?,
                variables: variables(&store, frame.locals(&store)?, frame.operands(&store)?),
            })
        };
        let frames = innermost.into_iter().chain(outermost).map(frame);
        Ok(Stack { frames: frames.collect::<Result<_, FrameError>>()?, omitted })
    }

    /// As text, with a newline in front of each line. With `all`, values that are not known have
    /// lines of their own; without, they are counted.
    pub(crate) fn render(&self, style: Style, all: bool) -> String {
        let mut out = String::new();
        for (at, frame) in self.frames.iter().enumerate() {
            let mut depth = at;
            if self.omitted > 0 && at >= INNERMOST {
                depth += self.omitted;
                if at == INNERMOST {
                    let note = format!("({} frames left out)", grouped(self.omitted as u64));
                    let _ = write!(out, "\n         {}", style.paint(Part::Aside, &note));
                }
            }
            if frame.behind_host {
                let _ = write!(out, "\n       {}", style.paint(Part::Aside, "-- host --"));
            }
            frame.render(&mut out, depth, style, all);
        }
        out
    }
}

/// How far what belongs to a frame is moved in: to where the function's name begins.
const INDENT: &str = "                  ";

impl Frame {
    fn render(&self, out: &mut String, depth: usize, style: Style, all: bool) {
        let _ = write!(out, "\n{depth:>5}: {:#8x} - ", self.wasm_pc);
        let (first, callers) = match self.source.split_first() {
            Some((first, callers)) => (Some(first), callers),
            None => (None, &[][..]),
        };
        let name = |symbol: Option<&FrameSymbol>| {
            let name = symbol.and_then(|symbol| symbol.name()).unwrap_or(&self.function);
            style.paint(Part::Function, name).into_owned()
        };
        out.push_str(&name(first));
        write_position(out, first, style);
        for caller in callers {
            let _ = write!(out, "\n{:>15} - {}", "inlined in", name(Some(caller)));
            write_position(out, Some(caller), style);
        }
        self.render_variables(out, style, all);
    }

    fn render_variables(&self, out: &mut String, style: Style, all: bool) {
        let shown = || self.variables.iter().filter(|var| all || var.value.is_some());
        let width = |of: fn(&Variable) -> &str| shown().map(|var| of(var).chars().count()).max();
        let names = width(|var| &var.name).unwrap_or(0).min(NAME_WIDTH);
        let types = width(|var| &var.ty).unwrap_or(0);
        for Variable { name, ty, value, .. } in shown() {
            let gap = " ".repeat(names.saturating_sub(name.chars().count()));
            let (name, padded) = (style.paint(Part::Name, name), format!("{ty:<types$}"));
            let ty = style.paint(Part::Type, &padded);
            let value = value.as_deref().unwrap_or("-");
            let _ = write!(out, "\n{INDENT}  {name}{gap}  {ty}  {value}");
        }
        if all {
            return;
        }
        let unknown = |kind| {
            let unknown = |var: &&Variable| var.kind == kind && var.value.is_none();
            self.variables.iter().filter(unknown).count()
        };
        let mut counts = Vec::new();
        for (kind, what) in [(Kind::Local, "local"), (Kind::Operand, "operand")] {
            match unknown(kind) {
                0 => {}
                1 => counts.push(format!("1 {what}")),
                many => counts.push(format!("{many} {what}s")),
            }
        }
        if !counts.is_empty() {
            let note = format!("({} not live here)", counts.join(" and "));
            let _ = write!(out, "\n{INDENT}  {}", style.paint(Part::Aside, &note));
        }
    }
}

fn write_position(out: &mut String, symbol: Option<&FrameSymbol>, style: Style) {
    let Some((symbol, file)) = symbol.and_then(|symbol| Some((symbol, symbol.file()?))) else {
        return;
    };
    let mut position = file.to_string();
    for number in [symbol.line(), symbol.line().and(symbol.column())].into_iter().flatten() {
        let _ = write!(position, ":{number}");
    }
    let _ = write!(out, "\n{INDENT}at {}", style.paint(Part::Position, &position));
}

/// `module!function`.
fn function_name(module: Option<&str>, name: Option<&str>, index: u32) -> String {
    let mut text = module.map(|module| format!("{module}!")).unwrap_or_default();
    match name {
        Some(name) => text.push_str(&demangle(name)),
        None => {
            let _ = write!(text, "<wasm function {index}>");
        }
    }
    text
}

fn variables(
    store: impl AsContext,
    locals: Vec<FrameLocal>,
    operands: Vec<FrameOperand>,
) -> Vec<Variable> {
    let shown = |value: Result<Val, FrameError>| value.ok().map(|value| show(&store, &value));
    let local = |FrameLocal { index, name, ty, value }| Variable {
        kind: Kind::Local,
        name: name.unwrap_or_else(|| format!("local {index}")),
        ty: ty.to_string(),
        value: shown(value),
    };
    let operand = |FrameOperand { index, ty, value }| Variable {
        kind: Kind::Operand,
        name: format!("operand {index}"),
        ty: ty.map_or_else(|| "?".to_string(), |ty: ValType| ty.to_string()),
        value: shown(value),
    };
    locals.into_iter().map(local).chain(operands.into_iter().map(operand)).collect()
}

/// Integers from here on are shown in hexadecimal too: they can be addresses or masks.
const LARGE: u64 = 4096;

/// A value, as one wants to see it when one looks for a mistake.
fn show(store: impl AsContext, value: &Val) -> String {
    let integer = |text: String, bits: u64, magnitude: u64| match magnitude < LARGE {
        true => text,
        false => format!("{text} ({bits:#x})"),
    };
    let float = |nan: bool, text: String, bits: u64, plain: u64| match nan && bits != plain {
        // Which of the many it is can matter.
        true => format!("NaN ({bits:#x})"),
        false => text,
    };
    match *value {
        Val::I32(x) => integer(x.to_string(), x as u32 as u64, x.unsigned_abs().into()),
        Val::I64(x) => integer(x.to_string(), x as u64, x.unsigned_abs()),
        Val::F32(bits) => {
            let x = f32::from_bits(bits);
            float(x.is_nan(), format!("{x:?}"), bits.into(), 0x7fc0_0000)
        }
        Val::F64(bits) => {
            let x = f64::from_bits(bits);
            float(x.is_nan(), format!("{x:?}"), bits, 0x7ff8_0000_0000_0000)
        }
        Val::FuncRef(Some(func)) => match func.definition(store) {
            Some((_, index)) => format!("func {index}"),
            None => "func of the host".to_string(),
        },
        _ => values::show(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe::{Store, V128};

    fn variable(kind: Kind, name: &str, ty: &str, value: Option<&str>) -> Variable {
        let value = value.map(String::from);
        Variable { kind, name: name.into(), ty: ty.into(), value }
    }

    fn frame(function: &str, behind_host: bool, variables: Vec<Variable>) -> Frame {
        Frame { behind_host, function: function.into(), wasm_pc: 0x5e, source: vec![], variables }
    }

    #[test]
    fn values_stand_in_columns_and_what_is_not_live_is_counted() {
        let variables = vec![
            variable(Kind::Local, "n", "i32", Some("3")),
            variable(Kind::Local, "local 1", "i32", None),
            variable(Kind::Local, "buffer", "externref", Some("null")),
            variable(Kind::Operand, "operand 0", "f64", Some("1.5")),
            variable(Kind::Operand, "operand 1", "?", None),
        ];
        let frames = vec![frame("m!f", false, variables), frame("m!g", true, vec![])];
        let stack = Stack { frames, omitted: 0 };
        assert_eq!(
            stack.render(Style::PLAIN, false),
            "
    0:     0x5e - m!f
                    n          i32        3
                    buffer     externref  null
                    operand 0  f64        1.5
                    (1 local and 1 operand not live here)
       -- host --
    1:     0x5e - m!g"
        );
        let all = stack.render(Style::PLAIN, true);
        assert!(all.contains("\n                    local 1    i32        -\n"), "{all}");
        assert!(all.contains("\n                    operand 1  ?          -\n"), "{all}");
        assert!(!all.contains("not live"), "{all}");
    }

    #[test]
    fn frames_are_numbered_past_those_that_are_left_out() {
        let frames = (0..80).map(|_| frame("f", false, vec![])).collect();
        let text = Stack { frames, omitted: 12345 }.render(Style::PLAIN, false);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 81);
        assert_eq!(lines[63], "   63:     0x5e - f");
        assert_eq!(lines[64], "         (12,345 frames left out)");
        assert_eq!(lines[65], "12409:     0x5e - f");
    }

    #[test]
    fn values_say_what_helps() {
        let store = Store::<()>::default();
        let shown = |value| show(&store, &value);
        assert_eq!(shown(Val::I32(-1)), "-1");
        assert_eq!(shown(Val::I32(4095)), "4095");
        assert_eq!(shown(Val::I32(1_048_576)), "1048576 (0x100000)");
        assert_eq!(shown(Val::I32(i32::MIN)), "-2147483648 (0x80000000)");
        assert_eq!(shown(Val::I64(-4096)), "-4096 (0xfffffffffffff000)");
        assert_eq!(shown(Val::F64(0.1f64.to_bits())), "0.1");
        assert_eq!(shown(Val::F64(1e300f64.to_bits())), "1e300");
        assert_eq!(shown(Val::F32((-0.0f32).to_bits())), "-0.0");
        assert_eq!(shown(Val::F32(0x7fc0_0000)), "NaN");
        assert_eq!(shown(Val::F32(0x7fa0_0001)), "NaN (0x7fa00001)");
        assert_eq!(shown(Val::V128(V128::from(1))), format!("0x{:032x}", 1));
        assert_eq!(shown(Val::FuncRef(None)), "null");
    }
}
