//! Liveness: which locals a function may still read.
//!
//! A backward pass over the body's structured control flow. What counts for a local are the
//! operators that read it (`local.get`) and write it (`local.set`, `local.tee`); everything else
//! that counts is where control can go:
//!
//! ```text
//!   br l             the locals live at label l
//!   br_if, br_table  those, and for br_if what is live behind it
//!   call             what is live behind it, and at the handlers around it
//!   throw            what is live at the handlers around it
//!   return, unreachable, return_call    nothing
//! ```
//!
//! What is live at a loop's header depends on its body, so passes are repeated until nothing
//! changes: one more than loops are nested, at most.
//!
//! Between two operators of control (calls are among them) code is straight. So sets are kept for
//! those alone, and for one in [`KEPT`] of the others: the set at any operator follows from the next
//! one that is kept.

use anyhow::Result;
use wasmparser::{Catch, FunctionBody, Operator};

/// Words of all sets of a function, at most.
const WORDS_MAX: usize = 4 << 20;
/// Of so many events, one has its set kept whatever it is.
const KEPT: usize = 256;
/// Passes, at most.
const PASSES_MAX: usize = 20;

/// A set of locals, as bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LocalSet {
    words: Vec<u64>,
}

impl LocalSet {
    /// The set of none of so many locals.
    pub(crate) fn empty(locals: usize) -> LocalSet {
        LocalSet { words: vec![0; locals.div_ceil(64)] }
    }

    /// The set of all of so many locals.
    fn all(locals: usize) -> LocalSet {
        let mut set = LocalSet::empty(locals);
        (0..locals as u32).for_each(|local| set.insert(local));
        set
    }

    fn insert(&mut self, local: u32) {
        self.words[local as usize / 64] |= 1 << (local % 64);
    }

    /// The set of the same locals numbered from `first` on.
    pub(crate) fn shifted(&self, first: u32) -> LocalSet {
        let mut set = LocalSet::empty(first as usize + self.words.len() * 64);
        self.iter().for_each(|local| set.insert(first + local));
        set
    }

    /// Takes a local out.
    pub(crate) fn remove(&mut self, local: u32) {
        self.words[local as usize / 64] &= !(1 << (local % 64));
    }

    fn add_all(&mut self, other: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(other) {
            *word |= other;
        }
    }

    /// The locals, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.words.iter().zip((0..).step_by(64)).flat_map(|(&word, base)| {
            let mut word = word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(base + bit)
            })
        })
    }
}

/// What counts of an operator.
#[derive(Clone, Debug)]
enum Event {
    Get(u32),
    Set(u32),
    /// `block`, or `try_table` with its catch labels.
    Block,
    Try(Vec<u32>),
    Loop,
    If,
    Else,
    End,
    Branch(u32),
    BranchIf(u32),
    BranchTable(Vec<u32>),
    Call,
    Throw,
    /// Control does not go on in this function.
    Leave,
}

/// The operators that count, in order, with their ordinals in the body.
struct Events {
    list: Vec<(u32, Event)>,
    /// For each event that is an `end`, the event that its construct starts with; `None` for the
    /// function's, and for all other events.
    starts: Vec<Option<usize>>,
    /// The locals that are written, in order.
    writes: Vec<u32>,
    loops: Vec<LoopInfo>,
    operators: u32,
}

/// What a loop's body contains.
#[derive(Clone, Debug)]
struct LoopInfo {
    /// The loop's ordinal among the operators of the body.
    operator: u32,
    /// The locals it writes, as a range of [`Events::writes`].
    writes: std::ops::Range<usize>,
    has_call: bool,
}

impl Events {
    /// Those of a body with so many locals. What reads or writes a local that there is not does not
    /// count: the body is not valid, which is found later.
    fn scan(body: &FunctionBody<'_>, locals: usize) -> Result<Events> {
        let (list, starts, writes, loops) = Default::default();
        let mut events = Events { list, starts, writes, loops, operators: 0 };
        let mut reader = body.get_operators_reader()?;
        // Of the open constructs: the event it starts with, and the loop it is, if it is one.
        let mut open: Vec<(Option<usize>, Option<usize>)> = vec![(None, None)];
        let mut calls = 0;
        let mut calls_before = Vec::new();
        while !reader.eof() {
            let op = reader.read()?;
            let event = match op {
                Operator::LocalGet { local_index }
                | Operator::LocalSet { local_index }
                | Operator::LocalTee { local_index }
                    if local_index as usize >= locals =>
                {
                    None
                }
                Operator::LocalGet { local_index } => Some(Event::Get(local_index)),
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    events.writes.push(local_index);
                    Some(Event::Set(local_index))
                }
                Operator::Block { .. } => Some(Event::Block),
                Operator::Loop { .. } => Some(Event::Loop),
                Operator::If { .. } => Some(Event::If),
                Operator::Else => Some(Event::Else),
                Operator::End => Some(Event::End),
                Operator::TryTable { ref try_table } => {
                    let label = |catch: &Catch| match *catch {
                        Catch::One { label, .. }
                        | Catch::OneRef { label, .. }
                        | Catch::All { label }
                        | Catch::AllRef { label } => label,
                    };
                    Some(Event::Try(try_table.catches.iter().map(label).collect()))
                }
                Operator::Br { relative_depth } => Some(Event::Branch(relative_depth)),
                Operator::BrIf { relative_depth } => Some(Event::BranchIf(relative_depth)),
                Operator::BrTable { ref targets } => {
                    let mut labels = vec![targets.default()];
                    for target in targets.targets() {
                        labels.push(target?);
                    }
                    labels.sort_unstable();
                    labels.dedup();
                    Some(Event::BranchTable(labels))
                }
                Operator::Call { .. } | Operator::CallIndirect { .. } => {
                    calls += 1;
                    Some(Event::Call)
                }
                Operator::Throw { .. } | Operator::ThrowRef => Some(Event::Throw),
                Operator::Return
                | Operator::Unreachable
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. } => Some(Event::Leave),
                _ => None,
            };
            let (at, mut start) = (events.list.len(), None);
            match &event {
                Some(Event::Loop) => {
                    open.push((Some(at), Some(events.loops.len())));
                    calls_before.push(calls);
                    let writes = events.writes.len()..events.writes.len();
                    let operator = events.operators;
                    events.loops.push(LoopInfo { operator, writes, has_call: false });
                }
                Some(Event::Block | Event::If | Event::Try(_)) => open.push((Some(at), None)),
                Some(Event::End) => {
                    let (event, of_loop) = open.pop().unwrap_or_default();
                    start = event;
                    if let Some(at) = of_loop {
                        events.loops[at].writes.end = events.writes.len();
                        events.loops[at].has_call = calls > calls_before[at];
                    }
                }
                _ => {}
            }
            if let Some(event) = event {
                events.list.push((events.operators, event));
                events.starts.push(start);
            }
            events.operators += 1;
        }
        Ok(events)
    }

    /// Whether the set before the event at this position is kept: of control always.
    fn is_kept(&self, at: usize) -> bool {
        at.is_multiple_of(KEPT) || !matches!(self.list[at].1, Event::Get(_) | Event::Set(_))
    }
}

/// A construct, on the way backwards through the body.
struct Construct {
    /// What is live where branches to it go.
    label: Vec<u64>,
    /// What is live behind it.
    after: Vec<u64>,
    /// What is live where its `else` starts, once that was passed.
    otherwise: Option<Vec<u64>>,
    /// What is live at the handlers of the `try_table`s up to here, itself included.
    handlers: Vec<u64>,
}

/// The liveness of a function's locals.
pub(crate) struct Liveness {
    events: Events,
    locals: usize,
    all: bool,
    /// Of each event whose set is kept, by its position: what is live before it. Empty for the others.
    before: Vec<Vec<u64>>,
    /// Where the latest question's answer was found: questions ascend.
    cursor: usize,
    /// The next loop to be asked for.
    next_loop: usize,
}

impl Liveness {
    /// Analyses a body that may turn out not to be valid: then the sets mean nothing. If `all`,
    /// all locals count as live everywhere. `None` if it would take too long or too much memory.
    ///
    /// # Errors
    ///
    /// If the body is malformed.
    pub(crate) fn of(
        body: &FunctionBody<'_>,
        locals: usize,
        all: bool,
    ) -> Result<Option<Liveness>> {
        let events = Events::scan(body, locals)?;
        let before = if all { Vec::new() } else { vec![Vec::new(); events.list.len()] };
        let mut liveness = Liveness { events, locals, all, before, cursor: 0, next_loop: 0 };
        if all {
            return Ok(Some(liveness));
        }
        let is_control = |event: &Event| !matches!(event, Event::Get(_) | Event::Set(_));
        let control = liveness.events.list.iter().filter(|(_, event)| is_control(event)).count();
        let kept = control + liveness.events.list.len() / KEPT;
        if kept.saturating_mul(locals / 64) > WORDS_MAX {
            return Ok(None);
        }
        let finished = (0..PASSES_MAX).any(|_| !liveness.pass());
        Ok(finished.then_some(liveness))
    }

    /// One pass backwards. Returns whether a loop's header has more live locals than before.
    fn pass(&mut self) -> bool {
        let mut live = LocalSet::empty(self.locals);
        let nothing = live.words.clone();
        let mut open: Vec<Construct> = Vec::new();
        let mut changed = false;
        for at in (0..self.events.list.len()).rev() {
            let label = |open: &[Construct], depth: u32| {
                let found = open.len().checked_sub(1 + depth as usize).map(|i| &open[i]);
                found.map_or_else(|| nothing.clone(), |construct| construct.label.clone())
            };
            let handlers = |open: &[Construct]| {
                open.last().map_or_else(|| nothing.clone(), |construct| construct.handlers.clone())
            };
            match &self.events.list[at].1 {
                &Event::Get(local) => live.insert(local),
                &Event::Set(local) => live.remove(local),
                Event::End => {
                    let after = live.words.clone();
                    let mut construct = Construct {
                        label: after.clone(),
                        after,
                        otherwise: None,
                        handlers: handlers(&open),
                    };
                    match self.events.starts[at].map(|start| (start, &self.events.list[start].1)) {
                        Some((start, Event::Loop)) => {
                            construct.label.clone_from(&self.before[start]);
                            construct.label.resize(nothing.len(), 0);
                        }
                        Some((_, Event::Try(labels))) => {
                            let mut caught = LocalSet { words: handlers(&open) };
                            for &depth in labels {
                                caught.add_all(&label(&open, depth));
                            }
                            construct.handlers = caught.words;
                        }
                        _ => {}
                    }
                    open.push(construct);
                }
                Event::Else => {
                    if let Some(construct) = open.last_mut() {
                        construct.otherwise = Some(live.words.clone());
                        live.words.clone_from(&construct.after);
                    }
                }
                Event::If => {
                    if let Some(construct) = open.pop() {
                        live.add_all(construct.otherwise.as_ref().unwrap_or(&construct.after));
                    }
                }
                Event::Block | Event::Try(_) => {
                    open.pop();
                }
                Event::Loop => {
                    open.pop();
                    let known = &self.before[at];
                    changed |= *known != live.words && !(known.is_empty() && live.words == nothing);
                }
                &Event::Branch(depth) => live.words = label(&open, depth),
                &Event::BranchIf(depth) => live.add_all(&label(&open, depth)),
                Event::BranchTable(depths) => {
                    live.words.fill(0);
                    for &depth in depths {
                        live.add_all(&label(&open, depth));
                    }
                }
                Event::Call => live.add_all(&handlers(&open)),
                Event::Throw => live.words = handlers(&open),
                Event::Leave => live.words.fill(0),
            }
            if self.events.is_kept(at) {
                self.before[at].clone_from(&live.words);
            }
        }
        changed
    }

    /// The locals that may be read from the operator with this ordinal on, itself included. To be
    /// asked for in ascending order. For a call these are the locals that are live behind it.
    pub(crate) fn before(&mut self, operator: u32) -> LocalSet {
        if self.all {
            return LocalSet::all(self.locals);
        }
        let list = &self.events.list;
        while list.get(self.cursor).is_some_and(|(at, _)| *at < operator) {
            self.cursor += 1;
        }
        let kept = (self.cursor..list.len()).find(|&at| self.events.is_kept(at));
        let kept = kept.unwrap_or(list.len());
        let mut live = LocalSet::empty(self.locals);
        if let Some(words) = self.before.get(kept) {
            live.add_all(words);
        }
        for (_, event) in list[self.cursor..kept].iter().rev() {
            match *event {
                Event::Get(local) => live.insert(local),
                Event::Set(local) => live.remove(local),
                _ => {}
            }
        }
        live
    }

    /// Whether the loop with this ordinal has calls in its body, and the locals that its body
    /// writes; a local can be among them several times. To be asked for in ascending order.
    pub(crate) fn in_loop(&mut self, operator: u32) -> (bool, &[u32]) {
        let loops = &self.events.loops;
        while loops.get(self.next_loop).is_some_and(|found| found.operator < operator) {
            self.next_loop += 1;
        }
        match loops.get(self.next_loop) {
            Some(found) => (found.has_call, &self.events.writes[found.writes.clone()]),
            None => (false, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    /// What is live before each operator of the module's only function.
    fn live(wat: &str, locals: usize) -> Vec<Vec<u32>> {
        let wasm = wat::parse_str(wat).unwrap();
        let body = Parser::new(0).parse_all(&wasm).find_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
        let mut liveness = Liveness::of(&body.unwrap(), locals, false).unwrap().unwrap();
        (0..liveness.events.operators).map(|op| liveness.before(op).iter().collect()).collect()
    }

    #[test]
    fn a_local_is_live_from_its_write_to_its_last_read() {
        let sets = live(
            "(module (func (param i32 i32) (local i32)
            local.get 0  local.set 2  local.get 1  drop  local.get 2  drop))",
            3,
        );
        let expected: [&[u32]; 7] = [&[0, 1], &[1], &[1, 2], &[2], &[2], &[], &[]];
        assert_eq!(sets, expected);
    }

    #[test]
    fn what_a_loop_reads_in_its_next_round_is_live_in_it() {
        // Two loops, so that what is live goes round more than once.
        let sets = live(
            "(module (func (param i32 i32 i32 i32)
            loop loop
                local.get 0  drop
                local.get 1  br_if 0
                local.get 2  br_if 1
                i32.const 0  local.set 0
                br 1
            end end))",
            4,
        );
        assert_eq!(sets[0], [0, 1, 2], "at the outer header");
        assert_eq!(sets[9], [1, 2], "before a write");
        assert_eq!(sets[10], [0, 1, 2], "before the branch back");
    }

    #[test]
    fn both_arms_and_what_is_behind_them_count() {
        let sets = live(
            "(module (func (param i32 i32 i32 i32)
            local.get 0
            if local.get 1 drop else i32.const 1 local.set 3 end
            local.get 2 drop local.get 3 drop))",
            4,
        );
        assert_eq!(sets[0], [0, 1, 2, 3]);
        assert_eq!(sets[2], [1, 2, 3], "then");
        assert_eq!(sets[5], [2], "else");
        let sets = live(
            "(module (func (param i32 i32)
            local.get 0 if i32.const 0 local.set 1 end local.get 1 drop))",
            2,
        );
        assert_eq!(sets[0], [0, 1], "without else");
    }

    #[test]
    fn leaving_ends_what_is_live_and_tables_unite_their_labels() {
        let sets = live(
            "(module (func (param i32 i32 i32)
            block block
                local.get 0 br_table 0 1 0
            end
            local.get 1 drop unreachable
            end
            local.get 2 drop))",
            3,
        );
        assert_eq!(sets[2], [0, 1, 2]);
        assert_eq!(sets[5], [1]);
        assert_eq!(sets[7], [0u32; 0], "before unreachable");
    }

    #[test]
    fn calls_and_throws_see_their_handlers() {
        let sets = live(
            "(module (tag) (func (param i32 i32 i32)
            block
                try_table (catch_all 0)
                    call 0
                    try_table (catch 0 1) local.get 2 if throw 0 end end
                end
                local.get 0 drop return
            end
            local.get 1 drop))",
            3,
        );
        assert_eq!(sets[2], [0, 1, 2], "the call returns, or throws");
        assert_eq!(sets[6], [1], "it throws");
    }
}
