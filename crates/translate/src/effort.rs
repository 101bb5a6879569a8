//! Effort: what it would cost to compile a function as usual.
//!
//! Cranelift's optimiser and its register allocator are made for functions that compilers write. In
//! places their time and memory grow with the square of something, and a module can be written to
//! find these places. Here a function in the intermediate language is weighed, in linear time, before
//! either is started. One that is too heavy for its size is compiled in the plain way
//! (`frame_state/homes.rs`, and without optimising), which takes linear time but for one thing: the
//! register allocator finds dominators by walking up from each predecessor of a block, which
//! takes the square of the length of a chain of blocks that all branch to one. Where that is long too,
//! registers are allocated in a single pass, which knows no dominators, but has a frame
//! that grows with calls and divisions. Likewise where many throw to one handler.

use anyhow::Result;
use cranelift_codegen::Context;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Inst, Value, ValueDef};
use std::fmt;
use wasmparser::FunctionBody;

/// Functions with fewer values, and fewer arguments of branches, are too small to be heavy.
const SMALL: usize = 2_000;

/// How large a function has become while it is translated.
pub(crate) struct Size {
    pub(crate) values: usize,
    /// Arguments of instructions and branches.
    pub(crate) listed: usize,
    /// What the variables of locals may take.
    pub(crate) variables_in_blocks: usize,
    /// What the branches to one loop may pass.
    pub(crate) arguments_of_loops: usize,
    /// What calls and branches pass as they are written.
    pub(crate) passed: u64,
    /// Squares of how many results calls have inside of a `try_table`.
    pub(crate) tried: u64,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

impl Size {
    /// # Errors
    ///
    /// If it is too large for being translated as usual, or at all.
    pub(crate) fn check(&self, plain: bool) -> Result<(), TooLarge> {
        // The code generator numbers values with 21 bits. Those of which others are aliases do not
        // count, and there are such only in the usual way.
        let values_max = if plain { 2 << 20 } else { 3 << 20 };
        // Two bytes are enough for a call that passes two thousand values.
        match self.passed > 200_000 + 20 * self.bytes
            || self.tried > 50_000_000 + 1_000 * self.bytes
            || self.values > values_max
            || self.listed > 8 << 20
            || self.variables_in_blocks > 24 << 20
            || self.arguments_of_loops > 8 << 20
        {
            true => Err(TooLarge),
            false => Ok(()),
        }
    }
}

/// The function is too large for the way in which it was to be translated.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function is too large for the code generator")
    }
}

impl std::error::Error for TooLarge {}

/// What a function weighs.
#[derive(Debug, Default)]
pub(crate) struct Weight {
    /// Instructions. The optimiser keeps alternatives of each.
    insts: u64,
    /// Arguments of branches. The register allocator merges their ranges where it can.
    args: u64,
    /// Arguments and results of calls.
    passed: u64,
    /// Parameters of loops, times the depth of the loop: their ranges go round and round.
    nested: u64,
    /// Depths of instructions in the dominator tree: block by block the optimiser looks for where a
    /// value is available.
    steps: u64,
    /// Squares of how often values are used, those that branches join counting as one: ranges are
    /// split, and searched, use by use.
    uses: u64,
    /// The same of the context, whose uses are cheaper.
    context_uses: u64,
    /// Blocks and calls that values are live across: each is in the way of others.
    spans: u64,
    /// Computations that the optimiser puts into several blocks which do not see each other, each
    /// with all that it depends on.
    repeats: u64,
    /// Steps up the dominator tree from each predecessor of a block.
    climbs: u64,
}

impl Weight {
    /// Weighs a function that has been translated. `loops` are its loops' headers and depths.
    pub(crate) fn of(context: &mut Context, loops: &[(Block, u32)]) -> Weight {
        if context.func.dfg.num_values() < SMALL && passed_by_branches(&context.func) < SMALL {
            return Weight::default();
        }
        // Nested loops make chains of aliases that are as long as the nest is deep.
        context.func.dfg.resolve_all_aliases();
        context.compute_cfg();
        context.compute_domtree();
        let mut scale = Scale::new(context);
        let params = |&(header, depth): &(Block, u32)| {
            context.func.dfg.num_block_params(header) as u64 * u64::from(depth)
        };
        scale.weight.nested = loops.iter().map(params).sum();
        scale.blocks();
        scale.weight.climbs = scale.climbs();
        scale.weight()
    }

    /// Whether the function with this body is too heavy to be compiled as usual. No function
    /// of the programs in `tests/programs` is; they have 55,000.
    pub(crate) fn is_too_much(&self, body: &FunctionBody<'_>) -> bool {
        let range = body.range();
        let bytes = range.end - range.start;
        self.insts > 300_000
            || self.args > 5_000 + 3 * bytes
            || self.passed > 10_000 + 2 * bytes
            || self.nested > 50_000 + 10 * bytes
            || self.steps > 50_000_000 + 1_000 * bytes
            || self.uses > 100_000_000 + 5_000 * bytes
            || self.context_uses > 1_000_000_000 + 10_000 * bytes
            || self.spans > 1_000_000 + 400 * bytes
            || self.repeats > 10_000 + bytes
            || self.climbs > climbs_max(bytes)
    }
}

/// Whether a function that has been translated in the plain way, from this body, has blocks in chains, or
/// branches to one, that the register allocator would take too long for.
pub(crate) fn needs_single_pass(context: &mut Context, body: &FunctionBody<'_>) -> bool {
    context.compute_cfg();
    context.compute_domtree();
    let range = body.range();
    let scale = Scale::new(context);
    scale.climbs() + MERGE * scale.merges() > climbs_max(range.end - range.start)
}

/// A merge takes so many steps.
const MERGE: u64 = 3;

/// A step takes about a nanosecond.
fn climbs_max(bytes: u64) -> u64 {
    100_000_000 + 2_000 * bytes
}

struct Scale<'a> {
    context: &'a Context,
    weight: Weight,
    /// More repeats than this need not be counted.
    repeats_max: u64,
    /// How often each value is used.
    uses: SecondaryMap<Value, u32>,
    /// Values that branches join are in one web, which one of them stands for.
    webs: SecondaryMap<Value, Option<Value>>,
    /// Where each value is defined, and where it is used last, in blocks and calls.
    spans: SecondaryMap<Value, (u32, u32)>,
    /// Where each computation without effect was last put by the optimiser.
    computed: SecondaryMap<Value, Option<Block>>,
    /// Of each block: its place in a walk over the dominator tree, that behind its subtree, and its depth.
    places: SecondaryMap<Block, (u32, u32, u32)>,
}

impl<'a> Scale<'a> {
    fn new(context: &'a Context) -> Scale<'a> {
        let mut scale = Scale {
            context,
            weight: Weight::default(),
            repeats_max: 8 << 20,
            uses: SecondaryMap::new(),
            webs: SecondaryMap::new(),
            spans: SecondaryMap::new(),
            computed: SecondaryMap::new(),
            places: SecondaryMap::new(),
        };
        scale.place_blocks();
        scale
    }

    fn place_blocks(&mut self) {
        let domtree = &self.context.domtree;
        let Some(entry) = self.context.func.layout.entry_block() else { return };
        let mut next = 0;
        let mut open = vec![(entry, false)];
        let mut depth = 0;
        while let Some((block, entered)) = open.pop() {
            if entered {
                self.places[block].1 = next;
                depth -= 1;
                continue;
            }
            self.places[block] = (next, next, depth);
            next += 1;
            depth += 1;
            open.push((block, true));
            open.extend(domtree.children(block).map(|child| (child, false)));
        }
    }

    /// Of blocks that have parameters, the squares of how many predecessors they have: what these pass is
    /// merged one by one, and all that is merged already looked at each time. In plain code only handlers of
    /// exceptions have any.
    fn merges(&self) -> u64 {
        let Context { func, cfg, .. } = self.context;
        let blocks = func.layout.blocks().filter(|&block| !func.dfg.block_params(block).is_empty());
        blocks.map(|block| (cfg.pred_iter(block).count() as u64).pow(2)).sum()
    }

    fn climbs(&self) -> u64 {
        let Context { func, cfg, domtree, .. } = self.context;
        let blocks = func.layout.blocks().filter_map(|block| Some((block, domtree.idom(block)?)));
        let depth = |block| u64::from(self.places[block].2);
        let steps = |(block, idom): (Block, Block)| {
            let predecessors = cfg.pred_iter(block).map(|pred| depth(pred.block));
            predecessors.map(|from| from.saturating_sub(depth(idom))).sum::<u64>()
        };
        blocks.map(steps).sum()
    }

    fn dominates(&self, above: Block, below: Block) -> bool {
        let ((start, end, _), (at, _, _)) = (self.places[above], self.places[below]);
        (start..end).contains(&at)
    }

    fn blocks(&mut self) {
        let func: &Function = &self.context.func;
        // In the order of the dominator tree: what a block can see comes before it.
        let mut blocks: Vec<Block> = self.context.domtree.cfg_rpo().copied().collect();
        let mut at = 0;
        for block in func.layout.blocks() {
            at += 1;
            for &param in func.dfg.block_params(block) {
                self.spans[param] = (at, at);
            }
            for inst in func.layout.block_insts(block) {
                self.inst(inst, block, at);
                at += u32::from(func.dfg.insts[inst].opcode().is_call());
                for &result in func.dfg.inst_results(inst) {
                    self.spans[result] = (at, at);
                }
            }
        }
        blocks.sort_unstable_by_key(|&block| self.places[block].0);
        for block in blocks {
            for inst in func.layout.block_insts(block) {
                if !is_pure(func, inst) {
                    self.compute(inst, block);
                }
            }
        }
    }

    /// An instruction in a block.
    fn inst(&mut self, inst: Inst, block: Block, at: u32) {
        let dfg = &self.context.func.dfg;
        self.weight.insts += 1;
        if dfg.insts[inst].opcode().is_call() {
            self.weight.passed += (dfg.inst_args(inst).len() + dfg.inst_results(inst).len()) as u64;
        }
        if is_pure(&self.context.func, inst) {
            self.weight.steps += u64::from(self.places[block].2);
        }
        for value in dfg.inst_values(inst) {
            self.uses[value] += 1;
            self.spans[value].1 = self.spans[value].1.max(at);
        }
        let (tables, handlers) = (&dfg.jump_tables, &dfg.exception_tables);
        for call in dfg.insts[inst].branch_destination(tables, handlers) {
            let params = dfg.block_params(call.block(&dfg.value_lists));
            for (arg, &param) in call.args(&dfg.value_lists).zip(params) {
                self.weight.args += 1;
                let Some(value) = arg.as_value() else { continue };
                let (one, other) = (self.web(value), self.web(param));
                if one != other {
                    self.webs[one] = Some(other);
                    self.uses[other] += self.uses[one];
                    self.uses[one] = 0;
                }
            }
        }
    }

    fn web(&mut self, mut value: Value) -> Value {
        while let Some(next) = self.webs[value] {
            if let Some(after) = self.webs[next] {
                self.webs[value] = Some(after);
            }
            value = next;
        }
        value
    }

    /// What the optimiser computes for an instruction with an effect in a block.
    fn compute(&mut self, inst: Inst, block: Block) {
        let dfg = &self.context.func.dfg;
        let mut open: Vec<Value> = dfg.inst_values(inst).collect();
        while let Some(value) = open.pop() {
            if self.weight.repeats > self.repeats_max {
                return;
            }
            let ValueDef::Result(inst, _) = dfg.value_def(value) else { continue };
            if !is_pure(&self.context.func, inst)
                || self.computed[value].is_some_and(|there| self.dominates(there, block))
            {
                continue;
            }
            if self.computed[value].is_some() && !dfg.inst_args(inst).is_empty() {
                self.weight.repeats += 1;
            }
            self.computed[value] = Some(block);
            open.extend(dfg.inst_values(inst));
        }
    }

    fn weight(mut self) -> Weight {
        let square = |uses: u32| u64::from(uses).pow(2);
        let entry = self.context.func.layout.entry_block();
        let params = entry.map_or(&[][..], |entry| self.context.func.dfg.block_params(entry));
        if let Some(&vmctx) = params.first() {
            self.weight.context_uses = square(std::mem::take(&mut self.uses[vmctx]));
        }
        self.weight.uses = self.uses.values().map(|&uses| square(uses)).sum();
        let span = |&(start, end): &(u32, u32)| u64::from(end.saturating_sub(start));
        self.weight.spans = self.spans.values().map(span).sum();
        self.weight
    }
}

fn passed_by_branches(func: &Function) -> usize {
    let (dfg, layout) = (&func.dfg, &func.layout);
    let branches = layout.blocks().filter_map(|block| layout.last_inst(block));
    let passed = branches.flat_map(|inst| {
        dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
    });
    passed.map(|call| call.len(&dfg.value_lists)).sum()
}

/// Whether the optimiser takes the instruction for a computation without effect, which it puts where
/// it is needed.
fn is_pure(func: &Function, inst: Inst) -> bool {
    let op = func.dfg.insts[inst].opcode();
    let is_constant_load = func.dfg.insts[inst]
        .memflags_data(&func.dfg)
        .is_some_and(|flags| flags.readonly() && flags.can_move() && flags.trap_code().is_none());
    let has_effect = op.is_call()
        || op.is_branch()
        || op.is_terminator()
        || op.is_return()
        || op.can_trap()
        || op.other_side_effects()
        || op.can_store()
        || op.can_load() && !is_constant_load;
    func.dfg.inst_results(inst).len() == 1 && !has_effect
}
