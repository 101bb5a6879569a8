//! Frames against frames.

use crate::report::Report;
use crate::settings::Settings;
use crate::values::Functions;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stillframe::{
    AsContext, FrameError, FrameHandle, FrameState, FrozenFrame, FrozenTrace, StoreContext, Trap,
    Val,
};
use stillframe_oracle::liveness::Liveness;
use stillframe_oracle::{Activation, Code, FrameView, Module, Value};

/// Compares, and counts what it has compared.
pub(crate) struct Checker {
    settings: Settings,
    module: Arc<Module>,
    /// By function and pc: what is live before the operator, and behind it if it is a call.
    live: HashMap<u32, HashMap<u32, [BTreeSet<u32>; 2]>>,
    pub(crate) report: Report,
}

/// What must be readable of a frame; what is readable beyond that must be right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// All locals, or those that are live where it stands.
    Before,
    /// All locals, or those that are live behind the call in which it stands.
    BehindCall,
    /// None: it has stopped where the processor trapped.
    Nothing,
    /// None, nor its instance: frames keep no state.
    Off,
}

impl Checker {
    pub(crate) fn new(settings: Settings, module: Arc<Module>) -> Checker {
        Checker { settings, module, live: HashMap::new(), report: Report::default() }
    }

    /// Compares the frames of a stop, innermost first.
    pub(crate) fn stop<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        functions: &Functions,
        frames: &[FrameHandle],
        call: &Activation,
    ) -> Result<()> {
        self.report.stops += 1;
        let (ours, theirs) = (frames.len(), call.depth());
        ensure!(ours == theirs, "there are {ours} frames instead of {theirs}");
        let same = |ours: &Val, theirs: &Value| functions.same(store, ours, theirs);
        let mut before: Option<&FrameHandle> = None;
        for (depth, (frame, view)) in frames.iter().zip(call.frames()).enumerate() {
            let promise = match (self.settings.frame_state, depth > 0 || call.is_awaiting_host()) {
                (FrameState::Off, _) => Promise::Off,
                (_, true) => Promise::BehindCall,
                (_, false) => Promise::Before,
            };
            self.handle(store, frame, &view, promise, same)
                .with_context(|| format!("frame {depth}: {}", describe(&view)))?;
            if let Some(before) = before {
                ensure!(before.parent(*store)?.as_ref() == Some(frame), "the parent of {depth}");
            }
            before = Some(frame);
        }
        Ok(())
    }

    fn handle<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        frame: &FrameHandle,
        view: &FrameView<'_>,
        promise: Promise,
        same: impl Fn(&Val, &Value) -> bool,
    ) -> Result<()> {
        let ours = (frame.func_index(*store)?, frame.wasm_pc(*store)?);
        ensure!(ours == (view.func_index, view.pc), "it stands at {ours:x?}");
        let is_known = frame.instance(*store).is_ok();
        ensure!(is_known == (promise != Promise::Off), "that its instance is known is {is_known}");
        ensure!(frame.num_locals(*store)? == view.locals.len(), "another number of locals");
        self.locals(view, promise, &same, |index| frame.local(*store, index))?;
        let operands = frame.num_operands(*store)?;
        let expected = if promise == Promise::Off { 0 } else { view.operands.len() };
        ensure!(operands == expected, "{operands} operands");
        for index in 0..operands {
            let value = frame.operand(*store, index);
            self.operand(index, value, &view.operands[index], &same)?;
        }
        Ok(())
    }

    /// Compares the copy that the error of a call owns that has trapped, or thrown.
    pub(crate) fn trace<T: 'static>(
        &mut self,
        store: impl AsContext<Data = T>,
        functions: &Functions,
        trace: &FrozenTrace,
        call: &Activation,
        trap: Option<Trap>,
    ) -> Result<()> {
        let store = store.as_context();
        let same = |ours: &Val, theirs: &Value| functions.same(&store, ours, theirs);
        let is_fault = trap.is_some_and(|trap| !is_checked(trap));
        match trap {
            Some(_) => self.report.traps += 1,
            None => self.report.uncaught += 1,
        }
        self.report.faults += u64::from(is_fault);
        let frames = trace.frames();
        let total = frames.len() + trace.omitted();
        let mut views: Vec<_> = call.frames().collect();
        let passed_on = trap.is_none() && self.was_passed_on(frames, &mut views)?;
        ensure!(total == views.len(), "{total} frames instead of {}", views.len());
        if let (Some(inner), false) = (views.first_mut(), passed_on) {
            inner.operands = &inner.operands[..inner.operands.len() - call.taken()];
        }
        for (i, frame) in frames.iter().enumerate() {
            let depth = if i < 64 { i } else { i + trace.omitted() };
            let promise = match self.settings.frame_state {
                FrameState::Off => Promise::Off,
                _ if depth > 0 => Promise::BehindCall,
                _ if is_fault || passed_on => Promise::Nothing,
                _ => Promise::Before,
            };
            self.traced(frame, &views[depth], promise, same).with_context(|| {
                format!("frame {depth} of the trace: {}", describe(&views[depth]))
            })?;
        }
        Ok(())
    }

    /// A `try_table` gets every exception, and passes on those that none of its clauses catches:
    /// so the trace of an exception that nobody catches starts at the last `try_table` that passed
    /// it on. Returns whether one did; then `views` starts there too.
    fn was_passed_on(
        &self,
        frames: &[FrozenFrame],
        views: &mut Vec<FrameView<'_>>,
    ) -> Result<bool> {
        let Some(inner) = frames.first() else { return Ok(false) };
        let gone = views.len().checked_sub(frames.len()).context("too many frames")?;
        if gone == 0 && inner.wasm_pc() == views[0].pc {
            return Ok(false);
        }
        views.drain(..gone);
        let function = self.module.function(views[0].func_index).context("a function")?;
        let mut around = function.position(views[0].pc);
        while let Some(at) = around {
            let op = &function.ops[at];
            let is_try = matches!(op.code, Code::Plain(wasmparser::Operator::TryTable { .. }));
            if is_try && op.pc == inner.wasm_pc() {
                views[0].pc = op.pc;
                return Ok(true);
            }
            around = op.parent;
        }
        bail!("the trace starts at {:#x} instead of {:#x}", inner.wasm_pc(), views[0].pc)
    }

    fn traced(
        &mut self,
        frame: &FrozenFrame,
        view: &FrameView<'_>,
        promise: Promise,
        same: impl Fn(&Val, &Value) -> bool,
    ) -> Result<()> {
        let ours = (frame.func_index(), frame.wasm_pc());
        ensure!(ours == (view.func_index, view.pc), "it stands at {ours:x?}");
        let is_known = frame.instance().is_some();
        ensure!(is_known == (promise != Promise::Off), "that its instance is known is {is_known}");
        ensure!(frame.num_locals() == view.locals.len(), "another number of locals");
        self.locals(view, promise, &same, |index| frame.local(index))?;
        let operands = frame.num_operands();
        // A `call_indirect` that faults has taken its arguments too.
        let fits = match promise {
            Promise::Off => operands == 0,
            Promise::BehindCall | Promise::Before => operands == view.operands.len(),
            Promise::Nothing => operands <= view.operands.len(),
        };
        ensure!(fits, "{operands} operands");
        for index in 0..operands {
            match frame.operand(index) {
                Err(FrameError::NotLive) if promise == Promise::Nothing => {}
                value => self.operand(index, value, &view.operands[index], &same)?,
            }
        }
        Ok(())
    }

    fn locals(
        &mut self,
        view: &FrameView<'_>,
        promise: Promise,
        same: impl Fn(&Val, &Value) -> bool,
        local: impl Fn(usize) -> Result<Val, FrameError>,
    ) -> Result<()> {
        for (index, theirs) in view.locals.iter().enumerate() {
            match local(index) {
                Ok(ours) => {
                    let same = same(&ours, theirs);
                    ensure!(same, "local {index} is {ours:?} instead of {theirs:x?}");
                    // They are roots, so they are there in every mode.
                    let is_root = matches!(ours, Val::ExternRef(_) | Val::ExnRef(_));
                    match promise {
                        Promise::Off => ensure!(is_root, "local {index} is kept"),
                        Promise::Nothing => self.report.known += 1,
                        _ => self.report.locals += 1,
                    }
                }
                Err(FrameError::NotLive) => {
                    let promised = self.promises(view, index, promise);
                    ensure!(!promised, "local {index}, {theirs:x?}, is not live");
                    match promise {
                        Promise::Nothing => self.report.unknown += 1,
                        _ => self.report.not_live += 1,
                    }
                }
                Err(error) => bail!("local {index}: {error}"),
            }
        }
        for index in [view.locals.len(), usize::MAX] {
            let answer = local(index);
            ensure!(matches!(answer, Err(FrameError::OutOfRange { .. })), "local {index}");
        }
        Ok(())
    }

    fn operand(
        &mut self,
        index: usize,
        ours: Result<Val, FrameError>,
        theirs: &Value,
        same: impl Fn(&Val, &Value) -> bool,
    ) -> Result<()> {
        let ours = ours.with_context(|| format!("operand {index}"))?;
        let same = same(&ours, theirs);
        ensure!(same, "operand {index} is {ours:?} instead of {theirs:x?}");
        self.report.operands += 1;
        Ok(())
    }

    /// Whether a local must be readable.
    fn promises(&mut self, view: &FrameView<'_>, local: usize, promise: Promise) -> bool {
        let behind_call = match promise {
            Promise::Before => false,
            Promise::BehindCall => true,
            Promise::Nothing | Promise::Off => return false,
        };
        if self.settings.frame_state == FrameState::All {
            return true;
        }
        let module = &self.module;
        let of_function = self.live.entry(view.func_index).or_insert_with(|| {
            let function = module.function(view.func_index).expect("it has frames");
            let liveness = Liveness::new(function);
            let sets = |pc| [liveness.live_locals(pc), liveness.live_after_call(pc)];
            function.ops.iter().map(|op| (op.pc, sets(op.pc))).collect()
        });
        of_function[&view.pc][usize::from(behind_call)].contains(&(local as u32))
    }
}

/// Whether code tests for a trap before it raises it; the others are faults of the processor.
fn is_checked(trap: Trap) -> bool {
    matches!(
        trap,
        Trap::UnreachableCodeReached
            | Trap::TableOutOfBounds
            | Trap::UndefinedElement
            | Trap::BadSignature
            | Trap::NullReference
    )
}

fn describe(view: &FrameView<'_>) -> String {
    format!("function {} at {:#x}", view.func_index, view.pc)
}
