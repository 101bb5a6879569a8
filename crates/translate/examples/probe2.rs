//! probe
use stillframe_translate::*;
use stillframe_abi::types::*;
fn main() {
    let c = Compiler::new(CompilerOptions{fuel:true,epochs:true,..Default::default()}).unwrap();
    let wasm = wat::parse_str(r#"(module (memory 1) (table 3 funcref) (type $t (func (param i32) (result i32)))
      (import "a" "b" (func $imp (param i32)))
      (func $f (param i32) (result i32) (local i32)
        (loop $l
          (local.set 1 (i32.add (local.get 1) (i32.load offset=4 (local.get 0))))
          (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 4)))))
        (call $imp (local.get 1))
        (i32.add (call $f (local.get 1)) (call_indirect (type $t) (local.get 1) (local.get 0))))
      )"#).unwrap();
    let (clif, asm) = c.disassemble(&wasm, 1).unwrap();
    println!("{clif}\n{asm}");
    println!("{:?}", c.settings());
    let t = c.trampolines(&FuncType::new([ValType::I32, ValType::V128, ValType::F64], [ValType::I64, ValType::V128])).unwrap();
    std::fs::write("/work/tmp/control/tramp.bin", &t.text).unwrap();
    println!("{} {}", t.entry, t.host);
}
