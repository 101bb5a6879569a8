//! What operators cost, in units of fuel.

use std::fmt;
use wasmparser::Operator;

/// What each operator costs, in units of fuel.
///
/// The default is 0 for `nop`, `block`, `loop`, `drop`, `end`, `else`, `return` and `unreachable`,
/// 1 for every other operator, 1 for entering a function, and for the bulk operations 1 more per
/// byte or element (nothing more for `memory.grow`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OperatorCosts {
    /// By operator, in the order of `wasmparser::for_each_operator`.
    flat: Vec<u32>,
    function_entry: u32,
    /// By [`BulkUnit`].
    per_unit: [u32; BulkUnit::NAMES.len()],
}

/// The operations that cost something per byte, element or page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BulkUnit {
    MemoryCopy,
    MemoryFill,
    MemoryInit,
    MemoryGrow,
    TableCopy,
    TableFill,
    TableInit,
    TableGrow,
}

impl BulkUnit {
    const NAMES: [&'static str; 8] = [
        "memory.copy per byte",
        "memory.fill per byte",
        "memory.init per byte",
        "memory.grow per page",
        "table.copy per element",
        "table.fill per element",
        "table.init per element",
        "table.grow per element",
    ];
}

/// There is no operator, and no other thing that costs fuel, of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownOperator(String);

impl fmt::Display for UnknownOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no operator is called `{}`", self.0)
    }
}

impl std::error::Error for UnknownOperator {}

macro_rules! operators {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// Position of each operator in `OperatorCosts::flat`.
        #[allow(clippy::enum_variant_names)]
        #[derive(Clone, Copy)]
        enum Index { $($op,)* }

        /// The visitor names of the operators, by index: `i32_add`, `memory_grow`.
        const NAMES: &[&str] = &[$(stringify!($visit),)*];

        /// The proposals that the operators belong to, by index: `mvp`, `bulk_memory`.
        const PROPOSALS: &[&str] = &[$(stringify!($proposal),)*];

        fn index(op: &Operator<'_>) -> Option<usize> {
            match op {
                $(Operator::$op $({ $($arg: _),* })? => Some(Index::$op as usize),)*
                _ => None,
            }
        }
    };
}
wasmparser::for_each_operator!(operators);

/// Which proposal an operator belongs to, and its visitor name: `mvp` and `visit_i32_add`.
pub(crate) fn operator_names(op: &Operator<'_>) -> Option<(&'static str, &'static str)> {
    index(op).map(|i| (PROPOSALS[i], NAMES[i]))
}

impl Default for OperatorCosts {
    fn default() -> OperatorCosts {
        let mut flat = vec![1; NAMES.len()];
        for free in [
            Index::Nop,
            Index::Block,
            Index::Loop,
            Index::Drop,
            Index::End,
            Index::Else,
            Index::Return,
            Index::Unreachable,
        ] {
            flat[free as usize] = 0;
        }
        let mut per_unit = [1; BulkUnit::NAMES.len()];
        per_unit[BulkUnit::MemoryGrow as usize] = 0;
        OperatorCosts { flat, function_entry: 1, per_unit }
    }
}

impl OperatorCosts {
    /// A table in which everything costs nothing; set what shall cost.
    pub fn free() -> OperatorCosts {
        let mut costs = OperatorCosts::default();
        costs.flat.fill(0);
        costs.per_unit.fill(0);
        costs.function_entry = 0;
        costs
    }

    /// Sets the cost of the operator with this name in the text format (`i32.add`, `br_if`), of
    /// `"function entry"`, or of a bulk operation's unit (`"memory.copy per byte"`,
    /// `"table.grow per element"`, `"memory.grow per page"`, and so on).
    ///
    /// # Errors
    ///
    /// If nothing has this name.
    pub fn set(&mut self, name: &str, cost: u32) -> Result<&mut OperatorCosts, UnknownOperator> {
        if name == "function entry" {
            self.function_entry = cost;
        } else if let Some(i) = BulkUnit::NAMES.iter().position(|unit| *unit == name) {
            self.per_unit[i] = cost;
        } else {
            let visit = format!("visit_{}", name.replace('.', "_"));
            let i = NAMES.iter().position(|known| *known == visit);
            let i = i.ok_or_else(|| UnknownOperator(name.to_string()))?;
            self.flat[i] = cost;
        }
        Ok(self)
    }

    /// The cost of entering a function.
    pub(crate) fn function_entry(&self) -> u32 {
        self.function_entry
    }

    /// The flat cost of an operator.
    pub(crate) fn of(&self, op: &Operator<'_>) -> u32 {
        index(op).map_or(1, |i| self.flat[i])
    }

    /// What whatever does work costs at least: 0 if an operator, or a byte or element of a bulk
    /// operation, is free that is not by default. So many units are never less than so much work.
    pub(crate) fn cheapest(&self) -> u32 {
        let default = OperatorCosts::default();
        let all = |costs: &OperatorCosts| {
            let flat = costs.flat.iter().chain(&costs.per_unit).chain([&costs.function_entry]);
            flat.copied().collect::<Vec<u32>>()
        };
        let works = all(self).into_iter().zip(all(&default)).filter(|&(_, default)| default > 0);
        works.map(|(cost, _)| cost).min().unwrap_or(0)
    }

    /// The cost of each unit of a bulk operation.
    pub(crate) fn per_unit(&self, unit: BulkUnit) -> u32 {
        self.per_unit[unit as usize]
    }

    /// A hash of the table that is the same in every process.
    pub(crate) fn stable_hash(&self) -> u64 {
        let all = self.flat.iter().chain(&self.per_unit).chain([&self.function_entry]);
        // FNV-1a.
        all.flat_map(|cost| cost.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_named_as_in_the_text_format() {
        let mut costs = OperatorCosts::default();
        costs.set("i32.add", 5).unwrap().set("br_if", 6).unwrap();
        costs.set("memory.grow", 7).unwrap().set("i32.trunc_sat_f64_u", 8).unwrap();
        assert_eq!(costs.of(&Operator::I32Add), 5);
        assert_eq!(costs.of(&Operator::BrIf { relative_depth: 0 }), 6);
        assert_eq!(costs.of(&Operator::MemoryGrow { mem: 0 }), 7);
        assert_eq!(costs.of(&Operator::I32TruncSatF64U), 8);
        assert_eq!(costs.of(&Operator::I32Sub), 1);
        assert_eq!(costs.of(&Operator::Nop), 0);
        assert!(costs.set("i32.nonsense", 1).is_err());
    }

    #[test]
    fn the_cheapest_is_what_is_not_free_by_default() {
        let mut costs = OperatorCosts::default();
        assert_eq!(costs.cheapest(), 1);
        costs.set("memory.grow per page", 5).unwrap().set("nop", 3).unwrap();
        assert_eq!(costs.cheapest(), 1);
        for free in ["throw_ref", "memory.fill per byte", "i32.add", "function entry"] {
            let mut costs = costs.clone();
            costs.set(free, 0).unwrap();
            assert_eq!(costs.cheapest(), 0, "{free}");
        }
        for cost in costs.flat.iter_mut().chain(&mut costs.per_unit) {
            *cost = 7;
        }
        costs.set("function entry", 6).unwrap();
        assert_eq!(costs.cheapest(), 6);
        assert_eq!(OperatorCosts::free().cheapest(), 0);
    }

    #[test]
    fn any_change_of_the_table_changes_its_hash() {
        let default = OperatorCosts::default();
        let mut changed = default.clone();
        changed.set("memory.copy per byte", 2).unwrap();
        assert_ne!(default.stable_hash(), changed.stable_hash());
        assert_eq!(default.stable_hash(), OperatorCosts::default().stable_hash());
    }
}
