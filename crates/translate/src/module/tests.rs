use super::*;

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"))
}

fn info(wat: &str) -> ModuleInfo {
    parse(&wasm(wat)).unwrap_or_else(|e| panic!("{e}\n{wat}")).info
}

fn error(wasm: &[u8]) -> String {
    parse(wasm).err().expect("the module must be refused").to_string()
}

/// Validates the bodies too.
fn is_valid(wat: &str) -> bool {
    let wasm = wasm(wat);
    parse(&wasm).is_ok_and(|module| {
        module.bodies.into_iter().all(|(validator, body)| {
            validator.into_validator(Default::default()).validate(&body).is_ok()
        })
    })
}

fn expr(ops: &[ConstOp]) -> ConstExpr {
    ConstExpr { ops: ops.to_vec() }
}

#[test]
fn imported_entities_come_first_in_every_index_space() {
    let info = info(
        r#"(module
            (import "a" "f" (func (param i32) (result i64 v128)))
            (import "a" "m" (memory 1))
            (import "b" "t" (table 2 10 funcref))
            (import "b" "g" (global (mut externref)))
            (func (export "own") (param f32 f64))
            (memory i64 3 70000)
            (table (export "table") i64 4 externref)
            (global (export "g") i32 (i32.const 5))
            (export "m0" (memory 0)))"#,
    );
    assert_eq!(info.functions, [0, 1]);
    assert_eq!(info.func_type(0).to_string(), "(i32) -> (i64 v128)");
    assert_eq!(info.func_type(1).to_string(), "(f32 f64) -> ()");
    assert_eq!(info.memories, [MemoryType::new(1, None), MemoryType::new64(3, Some(70000))]);
    assert_eq!(
        info.tables,
        [
            TableType::new(ValType::FuncRef, 2, Some(10)),
            TableType::new64(ValType::ExternRef, 4, None)
        ]
    );
    assert_eq!(
        info.globals,
        [
            GlobalType::new(ValType::ExternRef, Mutability::Var),
            GlobalType::new(ValType::I32, Mutability::Const)
        ]
    );
    assert_eq!((info.num_imported_functions, info.num_defined_functions()), (1, 1));
    assert_eq!((info.num_imported_memories, info.num_defined_memories()), (1, 1));
    assert_eq!((info.num_imported_tables, info.num_defined_tables()), (1, 1));
    assert_eq!((info.num_imported_globals, info.num_defined_globals()), (1, 1));
    let imports: Vec<_> =
        info.imports.iter().map(|i| (i.module.as_str(), i.name.as_str(), i.index)).collect();
    assert_eq!(
        imports,
        [
            ("a", "f", EntityIndex::Func(0)),
            ("a", "m", EntityIndex::Memory(0)),
            ("b", "t", EntityIndex::Table(0)),
            ("b", "g", EntityIndex::Global(0)),
        ]
    );
    let exports: Vec<_> = info.exports.iter().map(|e| (e.name.as_str(), e.index)).collect();
    assert_eq!(
        exports,
        [
            ("own", EntityIndex::Func(1)),
            ("table", EntityIndex::Table(1)),
            ("g", EntityIndex::Global(1)),
            ("m0", EntityIndex::Memory(0)),
        ]
    );
}

#[test]
fn constant_expressions_keep_all_their_operators() {
    let info = info(
        r#"(module
            (import "" "a" (global i32))
            (import "" "b" (global i64))
            (global i32 (i32.mul (i32.add (global.get 0) (i32.const -1)) (i32.const 3)))
            (global i64 (i64.sub (i64.mul (i64.const 2) (global.get 1)) (i64.const 1)))
            (global f32 (f32.const nan:0x200000))
            (global f64 (f64.const -0))
            (global v128 (v128.const i64x2 1 2))
            (global externref (ref.null extern))
            (global funcref (ref.null func)))"#,
    );
    use ConstOp::*;
    let expected = [
        expr(&[GlobalGet(0), I32Const(-1), I32Add, I32Const(3), I32Mul]),
        expr(&[I64Const(2), GlobalGet(1), I64Mul, I64Const(1), I64Sub]),
        expr(&[F32Const(0x7fa0_0000)]),
        expr(&[F64Const(1 << 63)]),
        expr(&[V128Const(2 << 64 | 1)]),
        expr(&[RefNull(ValType::ExternRef)]),
        expr(&[RefNull(ValType::FuncRef)]),
    ];
    assert_eq!(info.global_inits, expected);
}

#[test]
fn exactly_the_defined_functions_that_escape_have_slots() {
    let info = info(
        r#"(module
            (import "" "imported" (func $imported))
            (func $private)
            (func $exported (export "e1") (export "e2"))
            (func $passive)
            (func $declared)
            (func $start)
            (func $in_expr)
            (func $in_global)
            (func $active)
            (table 1 funcref)
            (start $start)
            (elem func $passive)
            (elem declare func $declared)
            (elem funcref (ref.null func) (ref.func $in_expr))
            (elem (i32.const 0) func $active $imported)
            (global funcref (ref.func $in_global)))"#,
    );
    let none = NO_SLOT;
    assert_eq!(info.func_ref_slots, [none, none, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(info.num_escaping_functions, 7);
    assert_eq!(info.start, Some(5));
}

#[test]
fn segments_have_their_mode_their_items_and_their_bytes() {
    let wasm = wasm(
        r#"(module
            (memory 1) (memory 1) (func)
            (table 1 funcref) (table 1 externref)
            (elem (i32.const 1) func 0)
            (elem (table 1) (i32.const 2) externref (ref.null extern))
            (elem func 0 0)
            (data "passive")
            (data (i32.const 3) "")
            (data (memory 1) (i32.const 4) "active"))"#,
    );
    let module = parse(&wasm).unwrap();
    let active =
        |target, at| SegmentMode::Active { target, offset: expr(&[ConstOp::I32Const(at)]) };
    let null = expr(&[ConstOp::RefNull(ValType::ExternRef)]);
    assert_eq!(
        module.info.elems,
        [
            ElemSegment {
                mode: active(0, 1),
                ty: ValType::FuncRef,
                items: ElemItems::Funcs(vec![0])
            },
            ElemSegment {
                mode: active(1, 2),
                ty: ValType::ExternRef,
                items: ElemItems::Exprs(vec![null])
            },
            ElemSegment {
                mode: SegmentMode::Passive,
                ty: ValType::FuncRef,
                items: ElemItems::Funcs(vec![0, 0])
            },
        ]
    );
    assert_eq!(module.data, b"passiveactive");
    assert_eq!(
        module.info.data,
        [
            DataSegment { mode: SegmentMode::Passive, bytes: 0..7 },
            DataSegment { mode: active(0, 3), bytes: 7..7 },
            DataSegment { mode: active(1, 4), bytes: 7..13 },
        ]
    );
}

#[test]
fn positions_count_from_the_start_of_the_file() {
    let wasm = wasm("(module (func (drop (i32.const 1))) (func nop))");
    let info = parse(&wasm).unwrap().info;
    // The contents of the code section start with the number of functions and the first size.
    let code = info.code_section_start as usize;
    assert_eq!(wasm[code..code + 2], [2, 5]);
    let body = |i: usize| &wasm[info.bodies[i].start as usize..info.bodies[i].end as usize];
    assert_eq!(body(0), [0, 0x41, 1, 0x1a, 0x0b]);
    assert_eq!(body(1), [0, 0x01, 0x0b]);
    assert_eq!(info.bodies[0].start as usize, code + 2);
}

#[test]
fn names_and_dwarf_are_taken_from_the_custom_sections() {
    let wasm = wasm(
        r#"(module $the_module
            (func $f) (func) (func $h)
            (@custom ".debug_info" "abc") (@custom "other" "def") (@custom ".debug_line" "ghi"))"#,
    );
    let module = parse(&wasm).unwrap();
    assert_eq!(module.info.name.as_deref(), Some("the_module"));
    assert_eq!(module.info.func_name(0), Some("f"));
    assert_eq!(module.info.func_name(1), None);
    assert_eq!(module.info.func_name(2), Some("h"));
    let section = |name: &str, bytes: &[u8]| (name.to_string(), bytes.to_vec());
    assert_eq!(module.dwarf, [section(".debug_info", b"abc"), section(".debug_line", b"ghi")]);
}

#[test]
fn names_of_locals_are_kept_by_function() {
    let info = info(
        r#"(module
            (import "a" "f" (func (param $imported i32)))
            (func (param $first i32) (param i32) (local $third i64))
            (func)
            (func (local $only f32)))"#,
    );
    assert_eq!(info.local_name(0, 0), Some("imported"));
    let named: Vec<_> = (0..4).map(|local| info.local_name(1, local)).collect();
    assert_eq!(named, [Some("first"), None, Some("third"), None]);
    assert_eq!((info.local_name(2, 0), info.local_name(3, 0)), (None, Some("only")));
    assert_eq!(info.local_name(4, 0), None);
}

#[test]
fn malformed_names_of_locals_cost_the_functions_nothing() {
    // Functions: 0 is "f". Locals, of function 0: 0 is "x" and then too little; of functions 1 and
    // 0, which is the wrong order; of function 9, which does not exist.
    for locals in [
        r"\02\06\01\00\02\00\01x",
        r"\02\0b\02\01\01\00\01x\00\01\00\01x",
        r"\02\06\01\09\01\00\01x",
    ] {
        let names = format!(r"\01\04\01\00\01f{locals}");
        let info = info(&format!(r#"(module (func) (func) (@custom "name" "{names}"))"#));
        assert_eq!(info.func_name(0), Some("f"), "{locals}");
        assert_eq!(info.local_names, [], "{locals}");
    }
}

#[test]
fn a_malformed_name_section_is_ignored() {
    for names in [
        // A subsection longer than the section.
        r"\01\7f\01\00\01a",
        // Names out of order.
        r"\01\07\02\01\01a\00\01b",
        // Not UTF-8.
        r"\01\04\01\00\01\ff",
    ] {
        let info = info(&format!(r#"(module (func) (func) (@custom "name" "{names}"))"#));
        assert_eq!(info.func_names, [], "{names}");
    }
    // The name of a function that does not exist.
    let info = info(r#"(module (@custom "name" (before first) "\01\07\02\00\01a\09\01b") (func))"#);
    assert_eq!(info.func_names, [(0, "a".to_string())]);
}

#[test]
fn supported_proposals_are_accepted() {
    for wat in [
        "(module (func (param externref funcref) (result externref) local.get 0))",
        "(module (memory i64 1) (memory 1) (func (drop (i32.load 0 (i64.const 0)))))",
        "(module (table i64 1 funcref) (func (drop (table.get (i64.const 0)))))",
        "(module (func $f (return_call $f)))",
        "(module (func (param v128) (result v128)
            (i32x4.relaxed_trunc_f32x4_s (local.get 0))))",
        "(module (func (result i32 i64) (i32.extend8_s (i32.const 0)) (i64.const 0)))",
        "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))",
        "(module (memory 1) (data \"\") (func (data.drop 0)))",
        "(module (global (mut i32) (i32.const 0)) (export \"g\" (global 0)))",
        "(module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))",
        "(module (memory 1) (func (atomic.fence) (drop (i32.atomic.load (i32.const 0)))))",
    ] {
        assert!(is_valid(wat), "{wat}");
    }
}

#[test]
fn other_proposals_are_refused() {
    for wat in [
        "(module (type (struct)))",
        "(module (func (param (ref func))))",
        "(module (type $t (func)) (func (param (ref null $t))))",
        "(module (func (param anyref)))",
        "(module (tag (export \"t\")))",
        "(module (import \"\" \"t\" (tag)))",
        "(module (memory 1 1 shared))",
        "(module (memory 1 (pagesize 1)))",
        "(module (func (drop (i64.add128
            (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) drop))",
        "(module (type $f (func)) (type (cont $f)))",
        "(component)",
    ] {
        assert!(!is_valid(wat), "{wat}");
    }
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    assert_eq!(
        error(&wasm(r#"(module (func) (export "f" (func 3)))"#)),
        "invalid module: unknown function 3: exported function index out of bounds (at offset 0x15)"
    );
    for (wat, at) in [
        ("(module (memory 1 1 shared))", 0xb),
        (r#"(module (import "a" "b" (memory 1 1 shared)))"#, 0xb),
    ] {
        let expected =
            format!("invalid module: shared memories are not supported (at offset {at:#x})");
        assert_eq!(error(&wasm(wat)), expected);
    }
    let cut_off = &wasm("(module (func))")[..12];
    assert_eq!(error(cut_off), "invalid module: unexpected end-of-file (at offset 0xa)");
    assert!(error(b"not wasm").starts_with("invalid module: magic header not detected"));
    assert!(error(b"").starts_with("invalid module: unexpected end-of-file (at offset 0x0)"));
}
