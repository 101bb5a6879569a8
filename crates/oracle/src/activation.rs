//! An activation: the frames of one call from the host, stepped operator by operator.
//!
//! # What a frame says between two steps
//!
//! The innermost frame stands *before* the operator at its pc: its operands are still on the stack,
//! and it is not charged. A frame that has been called and not entered stands before its first
//! operator, and the entry is not charged ([`FrameView::entering`]); entering is a step of its own.
//! All other frames are *in* the call operator at their pc: it is charged, its arguments are popped.
//! So is the innermost one while a host function runs.
//!
//! After a trap, and after an exception that nobody catches, the innermost frame stands at the
//! operator that did it, which is charged, with the operands as they were before.
//!
//! A branch back to a `loop` goes to the `loop` operator itself. It costs nothing, and there, as
//! in the code that the JIT makes, is the loop's checkpoint.

use crate::fuel;
use crate::function::{Code, Function, Op};
use crate::machine::{ExnId, FuncId, FuncKind, InstanceId, Machine};
use crate::module::Module;
use crate::ops;
use crate::trap::TrapKind;
use crate::value::Value;
use anyhow::{Context as _, Result, ensure};
use std::sync::Arc;

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is more to do.
    Running,
    /// Wasm has called a host function, or the host has started one. Go on with
    /// [`Activation::host_returned`], or end it with one of its siblings.
    HostCall {
        /// The host function.
        func: FuncId,
        /// Its arguments.
        args: Vec<Value>,
    },
    /// It has ended; these are the results.
    Finished(Vec<Value>),
    /// It has trapped. The frames can still be read.
    Trapped(TrapKind),
    /// It has ended with an exception that no frame catches. The frames can still be read.
    Threw(ExnId),
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With results.
    Finished(Vec<Value>),
    /// With a trap.
    Trapped(TrapKind),
    /// With an exception.
    Threw(ExnId),
}

/// A call from the host: its frames.
#[derive(Debug)]
pub struct Activation {
    frames: Vec<Frame>,
    state: State,
    /// What the operator that is being executed has popped, so that a trap can put it back.
    popped: Vec<Value>,
    /// How many operands were put back.
    taken: usize,
}

#[derive(Debug)]
enum State {
    Running,
    /// The host has started a host function.
    Starting {
        func: FuncId,
        args: Vec<Value>,
    },
    /// The host has to say what the host function did.
    AwaitingHost {
        func: FuncId,
    },
    /// What the host said ends it, or is thrown, with the next step.
    Finishing(Vec<Value>),
    Trapping(TrapKind),
    Throwing(ExnId),
    Ended,
}

/// A frame of a wasm function.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) module: Arc<Module>,
    pub(crate) instance: InstanceId,
    /// The position of the function in `Module::functions`.
    function: usize,
    func: FuncId,
    /// The position of the operator in `Function::ops`.
    pub(crate) at: usize,
    entering: bool,
    pub(crate) locals: Vec<Value>,
    pub(crate) stack: Vec<Value>,
    pub(crate) labels: Vec<Label>,
}

/// A block that has been entered and not left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    /// The position of its operator.
    pub(crate) opener: usize,
    /// Height of the operand stack without the block's parameters.
    pub(crate) height: usize,
}

/// What a frame says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FrameView<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// The function.
    pub func: FuncId,
    /// Its index in the instance's module.
    pub func_index: u32,
    /// Where it stands: the offset in the file of the operator's first byte.
    pub pc: u32,
    /// Whether it is about to be entered: the entry has not been charged.
    pub entering: bool,
    /// The locals, parameters first.
    pub locals: &'a [Value],
    /// The operand stack, the oldest first.
    pub operands: &'a [Value],
}

impl Frame {
    pub(crate) fn function(&self) -> &Function {
        &self.module.functions[self.function]
    }

    fn view(&self) -> FrameView<'_> {
        FrameView {
            instance: self.instance,
            func: self.func,
            func_index: self.function().index,
            pc: self.function().ops[self.at].pc,
            entering: self.entering,
            locals: &self.locals,
            operands: &self.stack,
        }
    }
}

/// What an operator leads to, unless it ends in an [`Exit`].
#[derive(Debug)]
pub(crate) enum Flow {
    /// The operator behind it is next.
    Next,
    /// The frames say what is next.
    Jumped,
    /// A host function was called.
    Host { func: FuncId, args: Vec<Value> },
    /// The last frame has returned.
    Finished(Vec<Value>),
}

/// Why an operator cannot be completed.
#[derive(Debug)]
pub(crate) enum Exit {
    Trap(TrapKind),
    Throw(ExnId),
}

impl From<TrapKind> for Exit {
    fn from(trap: TrapKind) -> Exit {
        Exit::Trap(trap)
    }
}

/// What operators work on.
pub(crate) struct Exec<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) frames: &'a mut Vec<Frame>,
    popped: &'a mut Vec<Value>,
}

impl Activation {
    pub(crate) fn new(machine: &Machine, func: FuncId, args: Vec<Value>) -> Activation {
        let mut activation =
            Activation { frames: Vec::new(), state: State::Running, popped: Vec::new(), taken: 0 };
        match frame(machine, func, args) {
            Ok(frame) => activation.frames.push(frame),
            Err(args) => activation.state = State::Starting { func, args },
        }
        activation
    }

    /// Executes one operator, or enters one function.
    ///
    /// # Panics
    ///
    /// If it has ended, or waits for a host function.
    pub fn step(&mut self, machine: &mut Machine) -> Step {
        self.popped.clear();
        match std::mem::replace(&mut self.state, State::Running) {
            State::Running => {}
            State::Starting { func, args } => {
                self.state = State::AwaitingHost { func };
                return Step::HostCall { func, args };
            }
            State::AwaitingHost { .. } => panic!("step: the host function has not ended"),
            State::Finishing(values) => return self.finish(values),
            State::Trapping(trap) => return self.trap(trap),
            State::Throwing(exn) => return self.throw(machine, exn),
            State::Ended => panic!("step: the activation has ended"),
        }
        let depth = self.frames.len();
        let frame = self.frames.last_mut().expect("running");
        if frame.entering {
            if depth > machine.max_depth {
                return self.trap(TrapKind::StackOverflow);
            }
            frame.entering = false;
            machine.fuel = machine.fuel.saturating_add(fuel::FUNCTION_ENTRY);
            return Step::Running;
        }
        self.execute(machine)
    }

    fn execute(&mut self, machine: &mut Machine) -> Step {
        let frame = self.frames.last().expect("running");
        let module = frame.module.clone();
        let op = &module.functions[frame.function].ops[frame.at];
        // The operator that traps counts as executed.
        let cost = fuel::cost(&op.code, &frame.stack);
        machine.fuel = machine.fuel.saturating_add(cost);
        let mut exec = Exec { machine, frames: &mut self.frames, popped: &mut self.popped };
        match ops::execute(&mut exec, op) {
            Ok(Flow::Next) => {
                self.frames.last_mut().expect("running").at += 1;
                Step::Running
            }
            Ok(Flow::Jumped) => Step::Running,
            Ok(Flow::Host { func, args }) => {
                self.state = State::AwaitingHost { func };
                Step::HostCall { func, args }
            }
            Ok(Flow::Finished(values)) => self.finish(values),
            Err(Exit::Trap(trap)) => self.trap(trap),
            Err(Exit::Throw(exn)) => self.throw(machine, exn),
        }
    }

    fn finish(&mut self, values: Vec<Value>) -> Step {
        self.state = State::Ended;
        Step::Finished(values)
    }

    fn trap(&mut self, trap: TrapKind) -> Step {
        self.put_back();
        self.state = State::Ended;
        Step::Trapped(trap)
    }

    fn throw(&mut self, machine: &mut Machine, exn: ExnId) -> Step {
        let mut exec = Exec { machine, frames: &mut self.frames, popped: &mut self.popped };
        match ops::exception::catch(&mut exec, exn) {
            Some(Flow::Finished(values)) => self.finish(values),
            Some(_) => Step::Running,
            None => {
                self.put_back();
                self.state = State::Ended;
                Step::Threw(exn)
            }
        }
    }

    /// Puts back what the operator popped that could not be completed.
    fn put_back(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            self.taken = self.popped.len();
            frame.stack.extend(self.popped.drain(..).rev());
        }
    }

    /// The host function that was called has returned.
    ///
    /// # Errors
    ///
    /// If the values are not of the function's result types. Nothing has happened then.
    ///
    /// # Panics
    ///
    /// If no host function was called.
    pub fn host_returned(&mut self, machine: &Machine, values: Vec<Value>) -> Result<()> {
        let State::AwaitingHost { func } = self.state else {
            panic!("no host function was called")
        };
        machine.check_values(&values, &machine.func_type(func).results)?;
        self.state = match self.frames.last_mut() {
            Some(frame) => {
                frame.stack.extend(values);
                frame.at += 1;
                State::Running
            }
            None => State::Finishing(values),
        };
        Ok(())
    }

    /// The host function that was called has failed: the next step is [`Step::Trapped`].
    ///
    /// # Panics
    ///
    /// If no host function was called.
    pub fn host_trapped(&mut self, trap: TrapKind) {
        self.host_ended(State::Trapping(trap));
    }

    /// The host function that was called has thrown an exception: the next step goes to its handler.
    ///
    /// # Panics
    ///
    /// If no host function was called.
    pub fn host_threw(&mut self, exn: ExnId) {
        self.host_ended(State::Throwing(exn));
    }

    fn host_ended(&mut self, next: State) {
        assert!(self.is_awaiting_host(), "no host function was called");
        self.state = next;
    }

    /// Whether it waits for a host function.
    pub fn is_awaiting_host(&self) -> bool {
        matches!(self.state, State::AwaitingHost { .. })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// After a trap, or an exception that nobody catches: how many of the innermost frame's operands
    /// the operator had taken when that happened. The frame shows them all the same.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// How many wasm frames there are.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The wasm frames, innermost first. There are none before and after.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = FrameView<'_>> {
        self.frames.iter().rev().map(Frame::view)
    }

    /// The innermost frame.
    pub fn innermost(&self) -> Option<FrameView<'_>> {
        self.frames.last().map(Frame::view)
    }

    /// Writes a local of the frame at `depth`; the innermost is 0. A debugger does that.
    ///
    /// # Errors
    ///
    /// If there is no such frame or local, or its value is of another type.
    pub fn set_local(&mut self, depth: usize, local: usize, value: Value) -> Result<()> {
        let locals = self.frame_mut(depth).map(|frame| &mut frame.locals);
        set(locals, local, value)
    }

    /// Writes an operand of the frame at `depth`, the oldest operand being 0.
    ///
    /// # Errors
    ///
    /// If there is no such frame or operand, or it is of another type.
    pub fn set_operand(&mut self, depth: usize, operand: usize, value: Value) -> Result<()> {
        let operands = self.frame_mut(depth).map(|frame| &mut frame.stack);
        set(operands, operand, value)
    }

    fn frame_mut(&mut self, depth: usize) -> Option<&mut Frame> {
        self.frames.iter_mut().rev().nth(depth)
    }

    /// The operator that is executed next, unless a function is entered, or the host is to say what
    /// is next.
    pub fn next_op(&self) -> Option<&Op> {
        let frame = self.frames.last()?;
        let runs = matches!(self.state, State::Running) && !frame.entering;
        runs.then(|| &frame.function().ops[frame.at])
    }
}

/// Replaces a value by one of the same type.
fn set(values: Option<&mut Vec<Value>>, at: usize, value: Value) -> Result<()> {
    let old = values.context("no such frame")?.get_mut(at).context("no such value")?;
    let same = std::mem::discriminant(old) == std::mem::discriminant(&value);
    ensure!(same, "{value:?} is not of the type of {old:?}");
    *old = value;
    Ok(())
}

/// The frame of a function that is called. The arguments, if it is a host function.
fn frame(machine: &Machine, func: FuncId, args: Vec<Value>) -> Result<Frame, Vec<Value>> {
    let FuncKind::Wasm { instance, position: function } = machine.funcs[func.at()].kind else {
        return Err(args);
    };
    let module = machine.instances[instance.at()].module.clone();
    let mut locals = args;
    let types = &module.functions[function].locals[locals.len()..];
    locals.extend(types.iter().map(|ty| Value::zero(*ty)));
    let (stack, labels) = (Vec::new(), Vec::new());
    Ok(Frame { module, instance, function, func, at: 0, entering: true, locals, stack, labels })
}

impl Exec<'_> {
    pub(crate) fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("running")
    }

    pub(crate) fn push(&mut self, value: Value) {
        self.frame().stack.push(value);
    }

    /// Pops a value. Validation has made sure that there is one.
    pub(crate) fn pop(&mut self) -> Value {
        let value = self.frame().stack.pop().expect("validated operand stack");
        self.popped.push(value);
        value
    }

    /// Pops `n` values, in the order in which they were pushed.
    pub(crate) fn pop_many(&mut self, n: usize) -> Vec<Value> {
        let mut values: Vec<Value> = (0..n).map(|_| self.pop()).collect();
        values.reverse();
        values
    }

    /// Calls a function with the operands on the stack. `tail`: in place of the frame that calls.
    pub(crate) fn call(&mut self, func: FuncId, tail: bool) -> Flow {
        let args = self.pop_many(self.machine.func_type(func).params.len());
        if tail {
            self.frames.pop();
        }
        match frame(self.machine, func, args) {
            Ok(frame) => {
                self.frames.push(frame);
                Flow::Jumped
            }
            Err(args) => Flow::Host { func, args },
        }
    }

    /// Returns from the innermost frame, with its results from the stack.
    pub(crate) fn return_(&mut self) -> Flow {
        let frame = self.frames.pop().expect("running");
        let results = self.machine.func_type(frame.func).results.len();
        let values = frame.stack[frame.stack.len() - results..].to_vec();
        match self.frames.last_mut() {
            Some(caller) => {
                caller.stack.extend(values);
                caller.at += 1;
                Flow::Jumped
            }
            None => Flow::Finished(values),
        }
    }

    /// Branches to a label, with its operands from the stack.
    pub(crate) fn branch(&mut self, depth: u32) -> Flow {
        let frame = self.frame();
        let Some(n) = frame.labels.len().checked_sub(depth as usize + 1) else {
            return self.return_();
        };
        let label = frame.labels[n];
        let op = &frame.function().ops[label.opener];
        let block = op.block.expect("an opener");
        let is_loop = matches!(op.code, Code::Plain(wasmparser::Operator::Loop { .. }));
        let arity = if is_loop { block.params } else { block.results };
        let operands = frame.stack.split_off(frame.stack.len() - arity);
        frame.stack.truncate(label.height);
        frame.stack.extend(operands);
        frame.labels.truncate(n);
        frame.at = if is_loop { label.opener } else { block.end + 1 };
        Flow::Jumped
    }
}
