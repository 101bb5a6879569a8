use stillframe_abi::frame_table::*;
use stillframe_translate::*;
use std::fmt::Write;
fn main() {
    let mut wat = String::from("(module (memory 1) (func (param i32) (result i32) ");
    for _ in 0..250 { wat.push_str("(local i32)"); }
    for i in 0..250 { write!(wat, "(local.set {} (i32.load offset={} (local.get 0)))", i + 1, 1000 + i * 8).unwrap(); }
    wat.push_str("(local.get 0)");
    for i in 0..250 { write!(wat, "(i32.add (local.get {}))", i + 1).unwrap(); }
    wat.push_str("))");
    run(&wat);
    run("(module (memory 1) (func (param i32 i32) (result i32) (i32.add (local.get 0) (i32.sub (i32.const 0) (i32.load offset=77 (local.get 1))))))");
    run("(module (memory 1) (func (param i32 i32) (result i32) (i32.sub (local.get 0) (i32.sub (i32.const 0) (i32.load offset=77 (local.get 1))))))");
    run("(module (memory 1) (func (param i32 i32) (result i32) (i32.and (local.get 0) (i32.or (local.get 0) (i32.load offset=77 (local.get 1))))))");
}
fn run(wat: &str) {
    let wasm = wat::parse_str(wat).unwrap();
    let c = Compiler::new(CompilerOptions::default()).unwrap();
    let a = c.compile(&wasm, &()).unwrap();
    let t = FrameTable::parse(&a.frame_table, 1).unwrap();
    let rows: Vec<_> = t.rows(0, WasmPc(a.info.bodies[0].start)).collect();
    println!("{} rows", rows.len());
    let mut pcs: Vec<_> = rows.iter().map(|r| r.wasm_pc.0).collect();
    pcs.sort(); pcs.dedup();
    println!("{} distinct", pcs.len());
    if rows.len() < 10 { println!("{rows:?}\n{}", c.disassemble(&wasm, 0).unwrap().1); println!("{}", c.disassemble(&wasm, 0).unwrap().0); }
    else { println!("{:.1500}", c.disassemble(&wasm, 0).unwrap().1); }
}
