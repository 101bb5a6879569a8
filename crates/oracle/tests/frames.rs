//! What frames say, against what was worked out by hand.

use stillframe_oracle::{
    Activation, Code, Extern, FuncId, FuncType, Machine, Module, Step, TrapKind, ValType, Value,
};
use wasmparser::Operator;

const I32: fn(u32) -> Value = Value::I32;

struct Run {
    machine: Machine,
    call: Activation,
    wasm: Vec<u8>,
}

impl Run {
    /// A call of `f`; imports are host functions without parameters.
    fn new(wat: &str, args: Vec<Value>) -> Run {
        let wasm = wat::parse_str(wat).unwrap();
        let module = Module::shared(&wasm).unwrap();
        let mut machine = Machine::new();
        let ty = || FuncType::new([], [ValType::I32]);
        let imports = module.imports.iter().map(|_| Extern::Func(machine.host_func(ty())));
        let imports: Vec<_> = imports.collect();
        let instance = machine.instantiate(&module, &imports).unwrap();
        let Some(Extern::Func(f)) = machine.export(instance, "f") else { panic!("no f") };
        let call = machine.start(f, args).unwrap();
        Run { machine, call, wasm }
    }

    /// Steps until something other than [`Step::Running`] comes.
    fn run(&mut self) -> Step {
        loop {
            match self.call.step(&mut self.machine) {
                Step::Running => {}
                other => return other,
            }
        }
    }

    /// Steps until the operator with this first byte is next.
    fn to(&mut self, byte: u8) {
        while self.call.innermost().unwrap().entering || self.byte(0) != byte {
            assert_eq!(self.call.step(&mut self.machine), Step::Running);
        }
    }

    /// The byte at the pc of the frame at `depth`.
    fn byte(&self, depth: usize) -> u8 {
        self.wasm[self.call.frames().nth(depth).unwrap().pc as usize]
    }

    /// Function index, first byte of the operator, locals, operands.
    fn frames(&self) -> Vec<(u32, u8, Vec<Value>, Vec<Value>)> {
        self.call
            .frames()
            .map(|frame| {
                let byte = self.wasm[frame.pc as usize];
                (frame.func_index, byte, frame.locals.to_vec(), frame.operands.to_vec())
            })
            .collect()
    }
}

const CALL: u8 = 0x10;
const LOOP: u8 = 0x03;
const ADD: u8 = 0x6a;
const DIV_U: u8 = 0x6e;
const THROW: u8 = 0x08;
const LOCAL_GET: u8 = 0x20;

#[test]
fn a_caller_stands_at_its_call_without_the_arguments() {
    let mut run = Run::new(
        "(module
            (func $g (param i32 i32) (result i32) (local i64) local.get 0 local.get 1 i32.add)
            (func (export \"f\") (param i32) (result i32)
                i32.const 5 local.get 0 i32.const 7 call $g i32.add))",
        vec![I32(3)],
    );
    assert_eq!(run.frames(), [(1, 0x41, vec![I32(3)], vec![])]);
    assert!(run.call.innermost().unwrap().entering);
    run.to(CALL);
    assert_eq!(run.frames(), [(1, CALL, vec![I32(3)], vec![I32(5), I32(3), I32(7)])]);
    assert_eq!(run.call.step(&mut run.machine), Step::Running);
    let locals = vec![I32(3), I32(7), Value::I64(0)];
    let caller = (1, CALL, vec![I32(3)], vec![I32(5)]);
    assert_eq!(run.frames(), [(0, LOCAL_GET, locals.clone(), vec![]), caller.clone()]);
    assert!(run.call.innermost().unwrap().entering);
    run.to(ADD);
    assert_eq!(run.frames(), [(0, ADD, locals, vec![I32(3), I32(7)]), caller]);
    // The `end` returns; the caller goes on behind its call.
    run.call.step(&mut run.machine);
    run.call.step(&mut run.machine);
    assert_eq!(run.frames(), [(1, ADD, vec![I32(3)], vec![I32(5), I32(10)])]);
    assert_eq!(run.run(), Step::Finished(vec![I32(15)]));
    assert_eq!(run.call.depth(), 0);
}

#[test]
fn a_trap_leaves_everything_as_it_was_before_the_operator() {
    let mut run = Run::new(
        "(module (func (export \"f\") (param i32) (result i32)
            i32.const 9 i32.const 1 local.get 0 i32.div_u i32.add))",
        vec![I32(0)],
    );
    assert_eq!(run.run(), Step::Trapped(TrapKind::IntegerDivisionByZero));
    assert_eq!(run.frames(), [(0, DIV_U, vec![I32(0)], vec![I32(9), I32(1), I32(0)])]);
    // Three operands, and a bulk operation.
    let mut run = Run::new(
        "(module (memory 1) (func (export \"f\")
            i32.const 65535 i32.const 1 i32.const 2 memory.fill))",
        vec![],
    );
    assert_eq!(run.run(), Step::Trapped(TrapKind::MemoryOutOfBounds));
    assert_eq!(run.frames(), [(0, 0xfc, vec![], vec![I32(65535), I32(1), I32(2)])]);
}

#[test]
fn a_stack_overflow_leaves_the_frame_that_was_not_entered() {
    let mut run = Run::new(
        "(module (func $f (export \"f\") (param i32)
            local.get 0 i32.const 1 i32.add call $f))",
        vec![I32(0)],
    );
    run.machine.max_depth = 2;
    assert_eq!(run.run(), Step::Trapped(TrapKind::StackOverflow));
    let frame = |n, byte| (0, byte, vec![I32(n)], vec![]);
    assert_eq!(run.frames(), [frame(2, LOCAL_GET), frame(1, CALL), frame(0, CALL)]);
}

#[test]
fn an_exception_that_nobody_catches_leaves_the_frames() {
    let mut run = Run::new(
        "(module (tag $t (param i32)) (tag $u)
            (func $g i32.const 1 i32.const 2 throw $t)
            (func (export \"f\") (block $h (try_table (catch $u $h) call $g))))",
        vec![],
    );
    let Step::Threw(exn) = run.run() else { panic!("nothing thrown") };
    assert_eq!(run.machine.exception(exn).1, [I32(2)]);
    let inner = (0, THROW, vec![], vec![I32(1), I32(2)]);
    assert_eq!(run.frames(), [inner, (1, CALL, vec![], vec![])]);
}

#[test]
fn a_caught_exception_drops_frames_and_operands() {
    let mut run = Run::new(
        "(module (tag $t (param i32))
            (func $g (param i32) local.get 0 throw $t)
            (func (export \"f\") (result i32)
                i32.const 100
                (block $h (result i32)
                    i32.const 200
                    (try_table (catch $t $h) i32.const 300 i32.const 7 call $g drop)
                    drop i32.const 0)
                i32.add))",
        vec![],
    );
    run.to(THROW);
    assert_eq!(run.call.depth(), 2);
    assert_eq!(run.call.step(&mut run.machine), Step::Running);
    assert_eq!(run.frames(), [(1, ADD, vec![], vec![I32(100), I32(7)])]);
}

#[test]
fn a_loop_stands_at_its_operator_each_time_round() {
    let mut run = Run::new(
        "(module (func (export \"f\") (param i32)
            i32.const 1 i32.const 2
            (loop (param i32) i32.const 1 i32.add
                local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 drop)
            drop))",
        vec![I32(3)],
    );
    let mut seen = Vec::new();
    loop {
        let frame = run.frames().remove(0);
        if frame.1 == LOOP && !run.call.innermost().unwrap().entering {
            assert!(matches!(run.call.next_op().unwrap().code, Code::Plain(Operator::Loop { .. })));
            seen.push((frame.2, frame.3, run.machine.fuel_consumed()));
        }
        if run.call.step(&mut run.machine) != Step::Running {
            break;
        }
    }
    // entry const const 3; a round is const add get const sub tee br_if 7.
    let expected = [(3, 2, 3), (2, 3, 10), (1, 4, 17)];
    let expected = expected.map(|(n, top, fuel)| (vec![I32(n)], vec![I32(1), I32(top)], fuel));
    assert_eq!(seen, expected);
}

#[test]
fn a_host_call_leaves_the_caller_at_its_call_and_a_tail_call_leaves_none() {
    let mut run = Run::new(
        "(module (import \"\" \"h\" (func $h (result i32)))
            (func $g (result i32) return_call $h)
            (func (export \"f\") (param i32) (result i32)
                i32.const 1 call $h call $g i32.add i32.add))",
        vec![I32(4)],
    );
    assert_eq!(run.run(), Step::HostCall { func: FuncId(0), args: vec![] });
    assert_eq!(run.frames(), [(2, CALL, vec![I32(4)], vec![I32(1)])]);
    assert!(run.call.is_awaiting_host() && run.call.next_op().is_none());
    assert!(run.call.host_returned(&run.machine, vec![Value::I64(0)]).is_err());
    run.call.host_returned(&run.machine, vec![I32(10)]).unwrap();
    assert_eq!(run.run(), Step::HostCall { func: FuncId(0), args: vec![] });
    // $g is gone.
    assert_eq!(run.frames(), [(2, CALL, vec![I32(4)], vec![I32(1), I32(10)])]);
    run.call.host_returned(&run.machine, vec![I32(100)]).unwrap();
    assert_eq!(run.run(), Step::Finished(vec![I32(111)]));
}

#[test]
fn a_host_function_can_trap_and_throw() {
    let wat = "(module (import \"\" \"h\" (func $h (result i32)))
        (func (export \"f\") (result i32)
            i32.const 5
            (block $all (try_table (catch_all $all) call $h drop) i32.const 1 drop)
            i32.const 6 i32.add))";
    let mut run = Run::new(wat, vec![]);
    run.run();
    run.call.host_trapped(TrapKind::Host);
    assert_eq!(run.run(), Step::Trapped(TrapKind::Host));
    assert_eq!(run.frames(), [(1, CALL, vec![], vec![I32(5)])]);

    let mut run = Run::new(wat, vec![]);
    run.run();
    let tag = run.machine.new_tag(FuncType::default());
    let exn = run.machine.new_exception(tag, vec![]);
    run.call.host_threw(exn);
    assert_eq!(run.run(), Step::Finished(vec![I32(11)]));

    // Straight from the host: no frames.
    let mut run = Run::new(wat, vec![]);
    run.call = run.machine.start(FuncId(0), vec![]).unwrap();
    assert_eq!(run.run(), Step::HostCall { func: FuncId(0), args: vec![] });
    assert_eq!(run.call.depth(), 0);
    run.call.host_returned(&run.machine, vec![I32(3)]).unwrap();
    assert_eq!(run.run(), Step::Finished(vec![I32(3)]));
}
