//! The first contents of an instance's globals, tables and memories, and the constant expressions
//! that say what they are.

use super::Instance;
use crate::store::StoreCore;
use crate::value::RawValue;
use anyhow::Error;
use stillframe_abi::Trap;
use stillframe_abi::module::{ConstExpr, ConstOp, ElemItems, SegmentMode};

impl StoreCore {
    /// Gives globals, tables and memories their first contents.
    pub(super) fn initialize(&mut self, index: usize) -> Result<(), Trap> {
        let module = self.instances[index].module.clone();
        let info = module.info();
        for (i, init) in (0..).zip(&info.global_inits) {
            let value = self.evaluate(index, init);
            let ty = info.globals[info.num_imported_globals + i as usize];
            let definition = self.instances[index].context.at(module.offsets().global(i));
            let global = self.add_global(ty, Some(definition));
            // SAFETY: checked values: the validator has checked the expression's type; references
            // are of this store.
            unsafe { self.set_global(global, value) };
            self.instances[index].globals.push(global);
        }
        for (i, init) in info.table_inits.iter().enumerate() {
            if let Some(init) = init {
                let value = self.evaluate(index, init);
                let table = self.instances[index].tables[info.num_imported_tables + i];
                let size = self.table_size(table);
                // SAFETY: checked values: as for globals.
                unsafe { self.fill_table(table, 0, value, size) }.expect("the table's own size");
            }
        }
        for segment in &info.elems {
            let values = match &segment.items {
                ElemItems::Funcs(funcs) => {
                    let instance = &self.instances[index];
                    funcs.iter().map(|&f| instance.function(f).func_ref.as_ptr() as u64).collect()
                }
                ElemItems::Exprs(exprs) => {
                    exprs.iter().map(|e| self.evaluate(index, e).as_reference()).collect()
                }
            };
            self.instances[index].elems.push(values);
        }
        let trap = |error: Error| error.downcast().unwrap_or(Trap::TableOutOfBounds);
        for (i, segment) in (0..).zip(&info.elems) {
            if let SegmentMode::Active { target, offset } = &segment.mode {
                let dst = self.offset(index, offset, info.tables[*target as usize].is_64());
                let len = segment.items.len() as u64;
                self.init_table(index, *target, i, dst, 0, len).map_err(trap)?;
            }
            if segment.mode != SegmentMode::Passive {
                self.instances[index].drop_elem(i);
            }
        }
        let trap = |error: Error| error.downcast().unwrap_or(Trap::MemoryOutOfBounds);
        for (i, segment) in (0..).zip(&info.data) {
            if let SegmentMode::Active { target, offset } = &segment.mode {
                let imported = info.num_imported_memories as u32;
                let defined = target.checked_sub(imported);
                // An image has been mapped with the memory and holds this segment already.
                if defined.is_none_or(|defined| module.image(defined as usize).is_none()) {
                    let is_64 = info.memories[*target as usize].is_64();
                    let dst = self.offset(index, offset, is_64);
                    let len = u64::from(segment.bytes.end - segment.bytes.start);
                    self.init_memory(index, *target, i, dst, 0, len).map_err(trap)?;
                }
                self.instances[index].drop_data(i);
            }
        }
        Ok(())
    }

    fn offset(&self, index: usize, offset: &ConstExpr, is_64: bool) -> u64 {
        let value = self.evaluate(index, offset);
        if is_64 { value.as_i64() as u64 } else { u64::from(value.as_i32() as u32) }
    }

    /// Evaluates a constant expression in an instance.
    fn evaluate(&self, index: usize, expr: &ConstExpr) -> RawValue {
        let instance = &self.instances[index];
        if let [op] = expr.ops[..]
            && let Some(value) = self.operand(instance, op)
        {
            return value;
        }
        let mut stack: Vec<RawValue> = Vec::new();
        for &op in &expr.ops {
            let value = self.operand(instance, op).unwrap_or_else(|| {
                let (b, a) = (stack.pop().expect("validated"), stack.pop().expect("validated"));
                combine(op, a, b)
            });
            stack.push(value);
        }
        stack.pop().expect("a validated expression leaves a value")
    }

    /// The value of an operator without operands; `None` if it has two.
    fn operand(&self, instance: &Instance, op: ConstOp) -> Option<RawValue> {
        Some(match op {
            ConstOp::I32Const(value) => RawValue::i32(value),
            ConstOp::I64Const(value) => RawValue::i64(value),
            ConstOp::F32Const(bits) => RawValue::f32(bits),
            ConstOp::F64Const(bits) => RawValue::f64(bits),
            ConstOp::V128Const(bits) => RawValue::v128(bits),
            ConstOp::GlobalGet(global) => self.global(instance.globals[global as usize]),
            ConstOp::RefNull(_) => RawValue::reference(0),
            ConstOp::RefFunc(func) => {
                RawValue::reference(instance.function(func).func_ref.as_ptr() as u64)
            }
            ConstOp::I32Add
            | ConstOp::I32Sub
            | ConstOp::I32Mul
            | ConstOp::I64Add
            | ConstOp::I64Sub
            | ConstOp::I64Mul => return None,
        })
    }
}

/// The value of an operator of constant expressions with two operands.
fn combine(op: ConstOp, a: RawValue, b: RawValue) -> RawValue {
    let i32_op = |op: fn(i32, i32) -> i32| RawValue::i32(op(a.as_i32(), b.as_i32()));
    let i64_op = |op: fn(i64, i64) -> i64| RawValue::i64(op(a.as_i64(), b.as_i64()));
    match op {
        ConstOp::I32Add => i32_op(i32::wrapping_add),
        ConstOp::I32Sub => i32_op(i32::wrapping_sub),
        ConstOp::I32Mul => i32_op(i32::wrapping_mul),
        ConstOp::I64Add => i64_op(i64::wrapping_add),
        ConstOp::I64Sub => i64_op(i64::wrapping_sub),
        ConstOp::I64Mul => i64_op(i64::wrapping_mul),
        other => unreachable!("{other:?} has no operands"),
    }
}
