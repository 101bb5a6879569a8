//! Liveness, against what was worked out by hand.

use stillframe_oracle::liveness::Liveness;
use stillframe_oracle::{Code, Module};
use wasmparser::Operator;

/// The live locals before each `nop` of the last function, in order: a `nop` marks a place.
fn live_at_nops(wat: &str) -> Vec<Vec<u32>> {
    questions(wat, |op| matches!(op, Operator::Nop), |live, pc| live.live_locals(pc))
}

/// The live locals after each call.
fn live_after_calls(wat: &str) -> Vec<Vec<u32>> {
    questions(wat, |op| matches!(op, Operator::Call { .. }), |live, pc| live.live_after_call(pc))
}

fn questions(
    wat: &str,
    asked: fn(&Operator<'_>) -> bool,
    answer: fn(&Liveness<'_>, u32) -> stillframe_oracle::LocalSet,
) -> Vec<Vec<u32>> {
    let module = Module::new(&wat::parse_str(wat).unwrap()).unwrap();
    let func = module.functions.last().unwrap();
    let live = Liveness::new(func);
    let ops = func.ops.iter().filter(|op| matches!(&op.code, Code::Plain(op) if asked(op)));
    ops.map(|op| answer(&live, op.pc).into_iter().collect()).collect()
}

#[test]
fn what_is_read_is_live_until_it_is_overwritten() {
    let live = live_at_nops(
        "(module (func (param i32 i32) (local i32)
            nop local.get 0 local.set 1 nop local.get 1 local.tee 2 nop drop local.get 2 drop nop))",
    );
    assert_eq!(live, [vec![0], vec![1], vec![2], vec![]]);
}

#[test]
fn both_arms_of_an_if_count_and_one_that_is_missing_is_passed() {
    let live = live_at_nops(
        "(module (func (param i32 i32 i32 i32)
            nop
            local.get 0
            if nop local.get 1 drop else nop local.get 2 drop end
            nop
            local.get 0
            if i32.const 0 local.set 3 end
            local.get 3 drop))",
    );
    assert_eq!(live, [vec![0, 1, 2, 3], vec![0, 1, 3], vec![0, 2, 3], vec![0, 3]]);
}

#[test]
fn what_a_loop_reads_first_is_live_at_its_end() {
    let live = live_at_nops(
        "(module (func (param i32 i32 i32)
            (loop
                local.get 0 drop
                i32.const 1 local.set 1
                nop
                local.get 1 br_if 0
                nop)
            local.get 2 drop))",
    );
    // In the loop, 1 is overwritten before it is read; 0 is read in the next round.
    assert_eq!(live, [vec![0, 1, 2], vec![2]]);
}

#[test]
fn every_label_of_a_table_counts_and_code_behind_it_does_not() {
    let live = live_at_nops(
        "(module (func (param i32 i32 i32 i32)
            (block $b (block $a
                nop
                local.get 0 br_table $a $b
                local.get 3 drop)
              local.get 1 drop return)
            local.get 2 drop nop return local.get 3 drop))",
    );
    assert_eq!(live, [vec![0, 1, 2], vec![]]);
}

#[test]
fn a_call_can_come_back_in_any_clause_up_to_one_that_catches_all() {
    let live = live_after_calls(
        "(module (tag $t) (func $g)
            (func (param i32 i32 i32 i32 i32)
                (block $far (block $all (block $t
                    (try_table (catch_all $far)
                        (try_table (catch $t $t) (catch_all $all)
                            call $g
                            local.get 0 drop return)
                        unreachable))
                    local.get 1 drop return)
                  local.get 2 drop return)
                local.get 3 drop
                call $g
                local.get 4 drop))",
    );
    // Not 3: nothing gets past the inner clause that catches all.
    assert_eq!(live, [vec![0, 1, 2], vec![4]]);
}

#[test]
fn a_clause_with_a_tag_lets_exceptions_past_to_the_ones_around_it() {
    let live = live_at_nops(
        "(module (tag $t) (tag $u)
            (func (param i32 i32 i32)
                (block $far (block $near
                    (try_table (catch $u $far)
                        (try_table (catch $t $near) nop throw $t)
                        unreachable))
                    local.get 0 drop return)
                local.get 1 drop))",
    );
    assert_eq!(live, [vec![0, 1]]);
}

#[test]
fn a_branch_out_of_the_function_reads_nothing() {
    let live = live_at_nops(
        "(module (func (param i32 i32)
            nop local.get 0 br_if 0 nop local.get 1 drop br 0))",
    );
    assert_eq!(live, [vec![0, 1], vec![1]]);
}
