//! Frames against frames.

use crate::drive::Report;
use crate::settings::Settings;
use crate::values::same;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stillframe::{
    AsContext, FrameError, FrameHandle, FrameState, FrozenFrame, FrozenTrace, StoreContext, Trap,
    Val,
};
use stillframe_oracle::liveness::Liveness;
use stillframe_oracle::{Activation, FrameView, Module, Value};

/// Compares, and counts what it has compared.
pub(crate) struct Checker {
    settings: Settings,
    module: Arc<Module>,
    /// By function and pc: what is live before the operator, and behind it if it is a call.
    live: HashMap<u32, HashMap<u32, [BTreeSet<u32>; 2]>>,
    pub(crate) report: Report,
}

/// What must be readable of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// What the mode promises.
    Mode,
    /// Nothing; what is readable must be right.
    Nothing,
}

impl Checker {
    pub(crate) fn new(settings: Settings, module: Arc<Module>) -> Checker {
        Checker { settings, module, live: HashMap::new(), report: Report::default() }
    }

    /// Compares the frames of a stop, innermost first.
    pub(crate) fn stop<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        frames: &[FrameHandle],
        call: &Activation,
    ) -> Result<()> {
        self.report.stops += 1;
        ensure!(
            frames.len() == call.depth(),
            "there are {} frames instead of {}",
            frames.len(),
            call.depth()
        );
        let mut before: Option<&FrameHandle> = None;
        for (depth, (frame, view)) in frames.iter().zip(call.frames()).enumerate() {
            let in_call = depth > 0 || call.is_awaiting_host();
            self.frame(store, frame, &view, in_call)
                .with_context(|| format!("frame {depth}: {}", describe(&view)))?;
            if let Some(before) = before {
                ensure!(before.parent(*store)?.as_ref() == Some(frame), "the parent of {depth}");
            }
            before = Some(frame);
        }
        Ok(())
    }

    fn frame<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        frame: &FrameHandle,
        view: &FrameView<'_>,
        in_call: bool,
    ) -> Result<()> {
        let ours = (frame.func_index(*store)?, frame.wasm_pc(*store)?);
        ensure!(ours == (view.func_index, view.pc), "it stands at {ours:x?}");
        ensure!(frame.instance(*store).is_ok(), "its instance is not known");
        ensure!(frame.num_locals(*store)? == view.locals.len(), "another number of locals");
        let local = |index| frame.local(*store, index);
        self.locals(store, view, in_call, Promise::Mode, local)?;
        let operands = frame.num_operands(*store)?;
        ensure!(operands == view.operands.len(), "{operands} operands");
        for index in 0..operands {
            let value = frame.operand(*store, index);
            self.operand(store, index, value, &view.operands[index])?;
        }
        Ok(())
    }

    /// Compares the copy that the error of a trapped call owns.
    pub(crate) fn trace<T: 'static>(
        &mut self,
        store: impl AsContext<Data = T>,
        trace: &FrozenTrace,
        call: &Activation,
        trap: Trap,
    ) -> Result<()> {
        let store = store.as_context();
        self.report.traps += 1;
        let frames = trace.frames();
        let total = frames.len() + trace.omitted();
        ensure!(total == call.depth(), "{total} frames instead of {}", call.depth());
        let views: Vec<_> = call.frames().collect();
        for (i, frame) in frames.iter().enumerate() {
            let depth = if i < 64 { i } else { i + trace.omitted() };
            let view = &views[depth];
            self.traced(&store, frame, view, depth > 0, trap)
                .with_context(|| format!("frame {depth} of the trace: {}", describe(view)))?;
        }
        Ok(())
    }

    fn traced<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        frame: &FrozenFrame,
        view: &FrameView<'_>,
        in_call: bool,
        trap: Trap,
    ) -> Result<()> {
        let ours = (frame.func_index(), frame.wasm_pc());
        ensure!(ours == (view.func_index, view.pc), "it stands at {ours:x?}");
        ensure!(frame.instance().is_some(), "its instance is not known");
        ensure!(frame.num_locals() == view.locals.len(), "another number of locals");
        let promise = match in_call || is_checked(trap) {
            true => Promise::Mode,
            false => Promise::Nothing,
        };
        self.locals(store, view, in_call, promise, |index| frame.local(index))?;
        let operands = frame.num_operands();
        // The operator that has trapped has taken its own.
        let fits = operands == view.operands.len() || !in_call && operands < view.operands.len();
        ensure!(fits, "{operands} operands");
        for index in 0..operands {
            match frame.operand(index) {
                Err(FrameError::NotLive) if promise == Promise::Nothing => {}
                value => self.operand(store, index, value, &view.operands[index])?,
            }
        }
        Ok(())
    }

    fn locals<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        view: &FrameView<'_>,
        in_call: bool,
        promise: Promise,
        local: impl Fn(usize) -> Result<Val, FrameError>,
    ) -> Result<()> {
        for (index, theirs) in view.locals.iter().enumerate() {
            match local(index) {
                Ok(ours) => {
                    ensure!(
                        same(store, &ours, theirs),
                        "local {index} is {ours:?} instead of {theirs:x?}"
                    );
                    self.report.locals += 1;
                }
                Err(FrameError::NotLive) => {
                    let promised = promise == Promise::Mode && self.promises(view, index, in_call);
                    ensure!(!promised, "local {index}, {theirs:x?}, is not live");
                    match promise {
                        Promise::Mode => self.report.not_live += 1,
                        Promise::Nothing => self.report.unknown += 1,
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

    fn operand<T: 'static>(
        &mut self,
        store: &StoreContext<'_, T>,
        index: usize,
        ours: Result<Val, FrameError>,
        theirs: &Value,
    ) -> Result<()> {
        let ours = ours.with_context(|| format!("operand {index}"))?;
        let same = same(store, &ours, theirs);
        ensure!(same, "operand {index} is {ours:?} instead of {theirs:x?}");
        self.report.operands += 1;
        Ok(())
    }

    /// Whether a local must be readable.
    fn promises(&mut self, view: &FrameView<'_>, local: usize, in_call: bool) -> bool {
        match self.settings.frame_state {
            FrameState::Off => false,
            FrameState::All => true,
            FrameState::Live => {
                let module = &self.module;
                let of_function = self.live.entry(view.func_index).or_insert_with(|| {
                    let function = module.function(view.func_index).expect("it has frames");
                    let liveness = Liveness::new(function);
                    let sets = |pc| [liveness.live_locals(pc), liveness.live_after_call(pc)];
                    function.ops.iter().map(|op| (op.pc, sets(op.pc))).collect()
                });
                let live = &of_function[&view.pc][usize::from(in_call)];
                live.contains(&(local as u32))
            }
        }
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
