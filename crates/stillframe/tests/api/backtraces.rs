//! Backtraces: frames, names, offsets, and source positions from DWARF.

use gimli::constants as dw;
use gimli::write::{
    Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use stillframe::{
    Caller, Config, Engine, FrameInfo, Instance, Linker, Module, Store, WasmBacktrace,
};

const GUEST: &str = r#"
    (module $guest
        (import "host" "f" (func $f))
        (func $trap (param i32) (result i32)
            (i32.add (i32.const 1) (i32.div_u (i32.const 1) (local.get 0))))
        (func $outer (export "outer")
            nop
            (call $f)
            (drop (call $trap (i32.const 0)))))
"#;

/// Where the operator with these bytes is in the module; there must be one.
fn offset_of(wasm: &[u8], operator: &[u8]) -> usize {
    let at: Vec<_> = (0..wasm.len()).filter(|&at| wasm[at..].starts_with(operator)).collect();
    assert_eq!(at.len(), 1, "{operator:x?} in {wasm:x?}");
    at[0]
}

fn instance(engine: &Engine, wasm: &[u8]) -> (Store<Option<WasmBacktrace>>, Instance) {
    let module = Module::new(engine, wasm).unwrap();
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "f", |mut caller: Caller<'_, Option<WasmBacktrace>>| {
            *caller.data_mut() = Some(WasmBacktrace::capture(&caller));
        })
        .unwrap();
    let mut store = Store::new(engine, None);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn frames_say_which_function_and_where_in_it() {
    let wasm = wat::parse_str(GUEST).unwrap();
    // `i32.div_u`; `call $f`; `call $trap` behind its argument.
    let div = offset_of(&wasm, &[0x20, 0x00, 0x6e]) + 2;
    let call_f = offset_of(&wasm, &[0x01, 0x10, 0x00]) + 1;
    let call_trap = offset_of(&wasm, &[0x41, 0x00, 0x10, 0x01]) + 2;

    let (mut store, instance) = instance(&Engine::default(), &wasm);
    let outer = instance.get_typed_func::<(), ()>(&mut store, "outer").unwrap();
    let error = outer.call(&mut store, ()).unwrap_err();
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let place = |frame: &FrameInfo| {
        assert_eq!(frame.module_name(), Some("guest"));
        assert!(frame.func_offset() < frame.module_offset() && frame.symbols().is_empty());
        (frame.func_index(), frame.func_name().unwrap().to_string(), frame.module_offset())
    };
    let places: Vec<_> = frames.iter().map(place).collect();
    assert_eq!(places, [(1, "trap".into(), div), (2, "outer".into(), call_trap)]);

    let captured = store.data().as_ref().unwrap();
    let places: Vec<_> = captured.frames().iter().map(place).collect();
    assert_eq!(places, [(2, "outer".into(), call_f)]);
    let shown = captured.to_string();
    assert!(shown.ends_with(&format!("    0: {call_f:#8x} - guest!outer")), "{shown}");
    assert_eq!(WasmBacktrace::capture(&store).frames().len(), 0);
}

/// The sections of DWARF that says: the code at `range` of the code section is `function` in
/// `dir/guest.c`, from line 100 on, one line per byte.
fn dwarf(function: &str, range: std::ops::Range<u64>) -> Vec<(String, Vec<u8>)> {
    let encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 4 };
    let string = |text: &str| LineString::String(text.into());
    let (dir, name) = (string("dir"), string("guest.c"));
    let mut program =
        LineProgram::new(encoding, LineEncoding::default(), dir, None, name.clone(), None);
    let directory = program.default_directory();
    let file = program.add_file(name, directory, None);
    program.begin_sequence(Some(Address::Constant(range.start)));
    for offset in 0..range.end - range.start {
        let row = program.row();
        (row.address_offset, row.file, row.line, row.column) = (offset, file, 100 + offset, 9);
        program.generate_row();
    }
    program.end_sequence(range.end - range.start);

    let mut dwarf = DwarfUnit::new(encoding);
    dwarf.unit.line_program = program;
    let set = |dwarf: &mut DwarfUnit, entry, values: Vec<(gimli::DwAt, AttributeValue)>| {
        let low = AttributeValue::Address(Address::Constant(range.start));
        let size = AttributeValue::Udata(range.end - range.start);
        let entry = dwarf.unit.get_mut(entry);
        for (name, value) in
            values.into_iter().chain([(dw::DW_AT_low_pc, low), (dw::DW_AT_high_pc, size)])
        {
            entry.set(name, value);
        }
    };
    let root = dwarf.unit.root();
    let text = |text: &str| AttributeValue::String(text.into());
    let unit = vec![
        (dw::DW_AT_name, text("guest.c")),
        (dw::DW_AT_comp_dir, text("dir")),
        (dw::DW_AT_stmt_list, AttributeValue::LineProgramRef),
    ];
    set(&mut dwarf, root, unit);
    let entry = dwarf.unit.add(root, dw::DW_TAG_subprogram);
    set(&mut dwarf, entry, vec![(dw::DW_AT_name, text(function))]);

    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    let mut written = Vec::new();
    let add = |id: gimli::SectionId, bytes: &EndianVec<LittleEndian>| {
        written.push((id.name().to_string(), bytes.slice().to_vec()));
        Ok::<(), gimli::write::Error>(())
    };
    sections.for_each(add).unwrap();
    written
}

/// Appends a custom section.
fn add_section(wasm: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let leb = |mut value: usize| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let body = [leb(name.len()), name.into(), bytes.into()].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
}

#[test]
fn source_positions_come_from_the_guests_dwarf() {
    let mut wasm = wat::parse_str(GUEST).unwrap();
    let div = offset_of(&wasm, &[0x20, 0x00, 0x6e]) + 2;
    // The code section: its id, its size, and its contents, which start with two bodies.
    let code = wasm.windows(3).position(|head| head[0] == 0x0a && head[2] == 2).unwrap() + 2;
    let start = div - code - 4;
    for (name, bytes) in dwarf("_ZN5guest4trapEv", start as u64..start as u64 + 6) {
        add_section(&mut wasm, &name, &bytes);
    }

    let run = |config: &Config| {
        let (mut store, instance) = instance(&Engine::new(config).unwrap(), &wasm);
        let outer = instance.get_typed_func::<(), ()>(&mut store, "outer").unwrap();
        outer.call(&mut store, ()).unwrap_err()
    };
    let error = run(&Config::new());
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let [symbol] = frames[0].symbols() else { panic!("{:?}", frames[0].symbols()) };
    assert_eq!(symbol.name(), Some("guest::trap()"));
    assert_eq!(symbol.file(), Some("dir/guest.c"));
    assert_eq!((symbol.line(), symbol.column()), (Some(104), Some(9)));
    assert!(frames[1].symbols().is_empty());
    let shown = error.to_string();
    assert!(shown.contains("guest!guest::trap()\n"), "{shown}");
    assert!(shown.contains("at dir/guest.c:104:9\n"), "{shown}");

    // Without it, the frames are the same.
    let error = run(Config::new().debug_info(false));
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    assert!(frames[0].symbols().is_empty());
    assert_eq!(frames[0].module_offset(), div);
}
