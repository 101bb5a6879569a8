//! Copies of frames: for backtraces, and for errors, which outlive the frames.

use super::access::FrozenStack;
use super::fault::Faulted;
use super::row::FrameRow;
use super::value::{FrameError, FrameValue};
use super::versions::FrozenActivation;
use super::walk::{Link, links};
use crate::resumable::SuspendedCall;
use crate::stack::{Standing, WasmStack};
use crate::store::{InstanceHandle, StoreCore};
use std::sync::Arc;
use stillframe_abi::types::ValType;

/// A wasm frame, copied.
#[derive(Clone, Debug)]
pub struct TraceFrame {
    row: Arc<FrameRow>,
    activation: usize,
    /// What could be read of it, if that was wanted.
    values: Option<Box<Values>>,
}

/// What could be read of a frame.
#[derive(Clone, Debug)]
struct Values {
    instance: Option<InstanceHandle>,
    /// Ascending by index; those that were not kept are not here.
    locals: Vec<(u32, FrameValue)>,
    operands: Vec<Option<FrameValue>>,
}

/// The frames of a frozen store, innermost first, of all activations.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The frames; at most [`Trace::MAX_FRAMES`].
    pub frames: Vec<TraceFrame>,
    /// Frames in the middle that were left out.
    pub omitted: usize,
}

/// What of the frames is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Copy {
    /// Where they stand.
    Places,
    /// That, and all that can be read of them.
    Values,
}

impl Trace {
    /// The innermost frames that a trace keeps.
    pub const INNERMOST: usize = 64;
    /// The outermost frames that a trace keeps.
    pub const OUTERMOST: usize = 16;
    /// Frames in a trace, at most.
    pub const MAX_FRAMES: usize = Trace::INNERMOST + Trace::OUTERMOST;
}

impl TraceFrame {
    /// Where it stood.
    pub fn row(&self) -> &FrameRow {
        &self.row
    }

    /// Which activation it belongs to: 0 is the innermost.
    pub fn activation(&self) -> usize {
        self.activation
    }

    /// Whether its values were copied: as far as they could be read.
    pub fn has_values(&self) -> bool {
        self.values.is_some()
    }

    /// The instance whose function it is, if that was known.
    pub fn instance(&self) -> Option<InstanceHandle> {
        self.values.as_ref()?.instance
    }

    /// Number of locals, parameters included.
    pub fn num_locals(&self) -> usize {
        self.row.locals().len()
    }

    /// Number of operands; those that the operator had taken are not among them.
    pub fn num_operands(&self) -> usize {
        self.row.state.operands().len()
    }

    /// The type of a local.
    ///
    /// # Errors
    ///
    /// If there is no such local.
    pub fn local_type(&self, index: usize) -> Result<ValType, FrameError> {
        Ok(self.row.local(index)?.ty)
    }

    /// The type of an operand, if that is known.
    pub fn operand_type(&self, index: usize) -> Option<ValType> {
        self.row.state.operands().get(index).copied().flatten()
    }

    /// The value of a local.
    ///
    /// # Errors
    ///
    /// If there is no such local, or it was not kept.
    pub fn local(&self, index: usize) -> Result<FrameValue, FrameError> {
        self.row.local(index)?;
        let values = self.values.as_ref().ok_or(FrameError::NotLive)?;
        let at = values.locals.binary_search_by_key(&(index as u32), |&(local, _)| local);
        Ok(values.locals[at.map_err(|_| FrameError::NotLive)?].1)
    }

    /// The value of an operand; 0 is the bottom of the operand stack.
    ///
    /// # Errors
    ///
    /// If there is no such operand, or it was not kept.
    pub fn operand(&self, index: usize) -> Result<FrameValue, FrameError> {
        let len = self.num_operands();
        if index >= len {
            return Err(FrameError::OutOfRange { index, len });
        }
        let values = self.values.as_ref().ok_or(FrameError::NotLive)?;
        values.operands.get(index).copied().flatten().ok_or(FrameError::NotLive)
    }
}

/// The frames of one activation, as far as a trace wants to know.
struct Strand<'a> {
    stack: FrozenStack<'a>,
    activation: usize,
    start: Link,
    /// Where the innermost frame stands.
    row: Option<Arc<FrameRow>>,
    /// Of the body that is inlined in it and has faulted.
    inlined: Option<Arc<FrameRow>>,
    /// The innermost frame's context, if it is known from elsewhere than the frame.
    context: Option<usize>,
}

/// A frame that a trace keeps, before it is looked up.
#[derive(Clone, Copy)]
struct Kept {
    link: Link,
    /// Position in [`Collector::strands`].
    strand: usize,
    /// Whether it is that of the inlined body in the innermost frame.
    is_inlined: bool,
}

/// Collects the frames that a trace keeps, from the innermost on. Only those are looked up.
#[derive(Default)]
struct Collector<'a> {
    strands: Vec<Strand<'a>>,
    innermost: Vec<Kept>,
    /// The latest of those that came after; the oldest of them is at `oldest`.
    outermost: Vec<Kept>,
    oldest: usize,
    omitted: usize,
}

impl<'a> Collector<'a> {
    /// Adds the frames of an activation.
    fn add(&mut self, strand: Strand<'a>) {
        let at = self.strands.len();
        // A trampoline's frame has no row, and can be the innermost only.
        let skip = usize::from(strand.row.is_none());
        if strand.inlined.is_some() {
            self.keep(Kept { link: strand.start, strand: at, is_inlined: true });
        }
        for link in links(strand.start, |address| strand.stack.word(address)).skip(skip) {
            self.keep(Kept { link, strand: at, is_inlined: false });
        }
        self.strands.push(strand);
    }

    #[inline]
    fn keep(&mut self, kept: Kept) {
        if self.innermost.len() < Trace::INNERMOST {
            self.innermost.push(kept);
        } else if self.outermost.len() < Trace::OUTERMOST {
            self.outermost.push(kept);
        } else {
            self.outermost[self.oldest] = kept;
            self.oldest = (self.oldest + 1) % Trace::OUTERMOST;
            self.omitted += 1;
        }
    }

    fn finish(mut self, store: &StoreCore, copy: Copy) -> Trace {
        self.outermost.rotate_left(self.oldest);
        let mut frames = Vec::with_capacity(self.innermost.len() + self.outermost.len());
        let mut found = Vec::new();
        let mut cache = store.frames.cache();
        for &Kept { link, strand, is_inlined } in self.innermost.iter().chain(&self.outermost) {
            let strand = &self.strands[strand];
            let row = match link == strand.start {
                true if is_inlined => strand.inlined.clone(),
                true => strand.row.clone(),
                false => cache.row(link.pc),
            };
            let Some(row) = row else { continue };
            frames.push(TraceFrame { row, activation: strand.activation, values: None });
            if copy == Copy::Values {
                found.push((link, strand));
            }
        }
        drop(cache);
        for (frame, (link, strand)) in frames.iter_mut().zip(found) {
            frame.values = Some(Box::new(store.copy_values(&frame.row, link, strand)));
        }
        Trace { frames, omitted: self.omitted }
    }
}

impl StoreCore {
    /// The frames of all activations, innermost first. Works while the store is frozen: in a host
    /// function.
    pub fn trace(&self) -> Trace {
        self.trace_activations(Copy::Places)
    }

    /// The frames of all activations, innermost first. Works also between a trap and the end of its
    /// activation.
    pub(crate) fn trace_activations(&self, copy: Copy) -> Trace {
        let mut frames = Collector::default();
        let mut depth = 0;
        while let Some(activation) = self.frozen_activation(depth) {
            if let Some(FrozenActivation { stack, start, .. }) = activation {
                let fault = self.faulted.as_ref();
                frames.add(match fault.filter(|fault| depth == 0 && fault.pc == start.pc) {
                    Some(Faulted { row, inlined, context, .. }) => {
                        let (row, inlined) = (Some(row.clone()), inlined.clone());
                        Strand { stack, activation: depth, start, row, inlined, context: *context }
                    }
                    None => self.strand(stack, start, depth),
                });
            }
            depth += 1;
        }
        frames.finish(self, copy)
    }

    /// The frames of an activation that has not faulted.
    fn strand<'a>(&self, stack: FrozenStack<'a>, start: Link, activation: usize) -> Strand<'a> {
        let row = self.frames.cache().row(start.pc);
        Strand { stack, activation, start, row, inlined: None, context: None }
    }

    /// The frames of a suspended call, innermost first; `None` if it is of another store.
    pub fn trace_suspended(&self, call: &SuspendedCall) -> Option<Trace> {
        self.trace_call(call, Copy::Places)
    }

    pub(crate) fn trace_call(&self, call: &SuspendedCall, copy: Copy) -> Option<Trace> {
        if call.store() != self.id() {
            return None;
        }
        let mut frames = Collector::default();
        if let Some((stack, start)) = call.frozen() {
            frames.add(self.strand(stack, start, 0));
        }
        Some(frames.finish(self, copy))
    }

    /// The frames of all calls of this store that are suspended now, each innermost first. Other
    /// threads may drop such calls meanwhile.
    pub fn traces_of_suspended(&self) -> Vec<Trace> {
        let mut seen = std::collections::HashSet::new();
        let stacks = self.suspended.iter().filter(|stack| seen.insert(stack.as_ptr()));
        let trace = |stack: &WasmStack, at: Standing| {
            // SAFETY: frozen stack: the call that is suspended on it is neither resumed nor given
            // up while it is being looked at.
            let stack = unsafe { FrozenStack::new(stack) };
            let mut frames = Collector::default();
            frames.add(self.strand(stack, Link { pc: at.pc, fp: at.fp }, 0));
            frames.finish(self, Copy::Places)
        };
        stacks.filter_map(|stack| stack.upgrade()?.look(self.id(), trace)).collect()
    }

    /// What can be read of a frame.
    fn copy_values(&self, row: &FrameRow, link: Link, strand: &Strand<'_>) -> Values {
        let (stack, fp) = (&strand.stack, link.fp);
        let elsewhere = strand.context.filter(|_| link == strand.start);
        let context = row.context(stack, fp).or(elsewhere);
        let instance = context.and_then(|context| self.instance_of(row, context));
        let local = |index: u32| {
            let (ty, raw) = row.read_local(stack, fp, index as usize).ok()?;
            // SAFETY: frame rows: the row says that the cell of a frame of this store holds a value
            // of this type.
            Some((index, unsafe { self.frame_value(ty, raw) }))
        };
        let mut locals: Vec<_> = row.readable_locals().filter_map(local).collect();
        locals.sort_unstable_by_key(|&(index, _)| index);
        let operand = |index| {
            let (ty, raw) = row.read_operand(stack, fp, index).ok()?;
            // SAFETY: frame rows: as above.
            Some(unsafe { self.frame_value(ty, raw) })
        };
        let operands = (0..row.state.operands().len()).map(operand).collect();
        Values { instance, locals, operands }
    }
}
