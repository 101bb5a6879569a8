//! Addresses: truncated too late, extended with the wrong sign, one operand too wide.

use super::common::{alone, call, engine, engines, guest, trap_of};
use stillframe::{Caller, Extern, Func, Trap, Val};

/// wasmtime, GHSA-ff4p-7xrq-q5r8: `i32.shl` by a constant was folded into the address, where it was not
/// cut off at 32 bits, so that the guest reached 34 GiB. Cranelift, GHSA-hpqh-2wqx-7qp5: a 32-bit value
/// that had been spilled came back with its sign extended. So with everything that a code generator
/// can fold into an address or keep across a call.
#[test]
fn addresses_of_32_bits_are_cut_off_and_not_extended_by_sign() {
    // Each expression of `x`, with the static offset; and what the address is in 64 bits.
    type Address = fn(u32) -> u64;
    let expressions: [(&str, u32, Address); 13] = [
        ("(local.get $x)", 0, |x| x.into()),
        ("(local.get $x)", 16, |x| u64::from(x) + 16),
        ("(local.get $x)", 0x8000_0000, |x| u64::from(x) + 0x8000_0000),
        ("(i32.shl (local.get $x) (i32.const 1))", 4, |x| u64::from(x << 1) + 4),
        ("(i32.shl (local.get $x) (i32.const 2))", 8, |x| u64::from(x << 2) + 8),
        ("(i32.shl (local.get $x) (i32.const 3))", 0, |x| (x << 3).into()),
        ("(i32.mul (local.get $x) (i32.const 8))", 0, |x| x.wrapping_mul(8).into()),
        ("(i32.add (local.get $x) (i32.const 32))", 8, |x| u64::from(x.wrapping_add(32)) + 8),
        ("(i32.sub (local.get $x) (i32.const 8))", 0, |x| x.wrapping_sub(8).into()),
        ("(i32.add (i32.shl (local.get $x) (i32.const 3)) (i32.const -16))", 24, |x| {
            u64::from((x << 3).wrapping_sub(16)) + 24
        }),
        ("(i32.add (local.get $x) (i32.shl (local.get $x) (i32.const 2)))", 0, |x| {
            x.wrapping_add(x << 2).into()
        }),
        ("(i32.wrap_i64 (i64.shl (i64.extend_i32_s (local.get $x)) (i64.const 3)))", 0, |x| {
            (x << 3).into()
        }),
        ("(i32.shr_s (local.get $x) (i32.const 1))", 0, |x| ((x as i32 >> 1) as u32).into()),
    ];
    let values = [
        0,
        1,
        8,
        0x1000,
        0x1fff_ffff,
        0x2000_0000,
        0x2000_0001,
        0x2000_1000,
        0x3fff_fff8,
        0x4000_0002,
        0x6000_0003,
        0x7fff_fff0,
        0x8000_0000,
        0x8000_0008,
        0xa000_0001,
        0xe000_0004,
        0xffff_fff0,
        0xffff_ffe8,
        u32::MAX - 7,
        u32::MAX,
    ];
    let mut found = 0;
    for (expression, offset, address) in expressions {
        let wat = format!(
            r#"(module
                (memory (export "m") 2)
                (global $g (mut i32) (i32.const 0))
                (func $clobber (param i32) (loop (global.set $g (local.get 0))))
                (func (export "straight") (param $x i32) (result i64)
                    (i64.load offset={offset} {expression}))
                (func (export "spilled") (param $x i32) (result i64) (local $a i32)
                    (local.set $a {expression})
                    (call $clobber (local.get $a)) (call $clobber (local.get $x))
                    (i64.load offset={offset} (local.get $a)))
                (func (export "wide") (param $x i32) (result i64) (local $a i32)
                    (local.set $a {expression})
                    (call $clobber (local.get $x))
                    (i64.extend_i32_u (local.get $a)))
                (func (export "store") (param $x i32) (result i64)
                    (i32.store8 offset={offset} {expression} (i32.const 1)) (i64.const 0)))"#
        );
        for engine in engines() {
            let (mut store, instance) = alone(&engine, &wat);
            // Each word is its own address.
            let memory = instance.get_memory(&mut store, "m").unwrap();
            for (at, word) in memory.data_mut(&mut store).chunks_exact_mut(8).enumerate() {
                word.copy_from_slice(&(8 * at as u64).to_le_bytes());
            }
            for x in values {
                let at = address(x);
                let mut ask = |name| call(&mut store, instance, name, &[Val::I32(x as i32)]);
                let wide = ask("wide").unwrap()[0].unwrap_i64() as u64;
                assert_eq!(wide + u64::from(offset), at, "{expression} of {x:#x}");
                for name in ["straight", "spilled", "store"] {
                    let size = if name == "store" { 1 } else { 8 };
                    match ask(name) {
                        Ok(value) if name != "store" => {
                            assert!(at % 8 != 0 || value[0].unwrap_i64() as u64 == at, "{at:#x}");
                            assert!(at + size <= 131_072, "{name} {expression} of {x:#x}");
                            found += 1;
                        }
                        Ok(_) => assert!(at + size <= 131_072, "{name} {expression} of {x:#x}"),
                        failed => {
                            assert_eq!(trap_of(failed), Trap::MemoryOutOfBounds);
                            assert!(at + size > 131_072, "{name} {expression} of {x:#x}");
                        }
                    }
                }
                let memory = memory.data_mut(&mut store);
                if at < 131_072 {
                    let word = at as usize & !7;
                    memory[word..word + 8].copy_from_slice(&(word as u64).to_le_bytes());
                }
            }
        }
    }
    assert!(found > 500, "{found} loads went through");
}

/// Loads and stores of each width.
const ACCESSES: [(&str, u64); 12] = [
    ("(drop (i32.load8_u OFFSET ADDRESS))", 1),
    ("(drop (i32.load16_s OFFSET ADDRESS))", 2),
    ("(drop (f32.load OFFSET ADDRESS))", 4),
    ("(drop (i64.load OFFSET ADDRESS))", 8),
    ("(drop (v128.load OFFSET ADDRESS))", 16),
    ("(drop (v128.load64_splat OFFSET ADDRESS))", 8),
    ("(drop (i64.atomic.load OFFSET ADDRESS))", 8),
    ("(i32.store8 OFFSET ADDRESS (i32.const 1))", 1),
    ("(i64.store16 OFFSET ADDRESS (i64.const 1))", 2),
    ("(f64.store OFFSET ADDRESS (f64.const 1))", 8),
    ("(v128.store OFFSET ADDRESS (v128.const i64x2 1 1))", 16),
    ("(drop (i32.atomic.rmw8.add_u OFFSET ADDRESS (i32.const 1)))", 1),
];

fn access(access: &str, offset: u64, address: &str) -> String {
    access.replace("OFFSET", &format!("offset={offset}")).replace("ADDRESS", address)
}

/// The sum of an index and a static offset has 33 bits, or 65: several runtimes compared what was left of
/// it after an overflow, or guarded less address space than there is to reach.
#[test]
fn the_largest_index_with_the_largest_offset_is_out_of_bounds() {
    for (what, size) in ACCESSES {
        let offsets32 = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, 0xffff_fff0, 0xffff_ffff];
        let offsets64 =
            [0, 1, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX - 65_536, u64::MAX - 15, u64::MAX];
        for (ty, offsets, bits) in [("i32", &offsets32[..], 32), ("i64", &offsets64[..], 64)] {
            let functions: String = offsets
                .iter()
                .map(|offset| {
                    let access = access(what, *offset, "(local.get 0)");
                    format!("(func (export \"{offset}\") (param {ty}) {access})")
                })
                .collect();
            let memory = if ty == "i64" { "(memory i64 1)" } else { "(memory 1)" };
            let (mut store, instance) =
                alone(&engine(|_| ()), &format!("(module {memory} {functions})"));
            for offset in offsets {
                let last = 65_536 - size;
                for index in [
                    u64::MAX,
                    u64::MAX - 7,
                    u64::MAX - 15,
                    1 << 31,
                    u64::MAX - offset,
                    (u64::MAX - offset).wrapping_add(1),
                    last.wrapping_sub(*offset),
                    last.wrapping_sub(*offset).wrapping_add(1),
                    last,
                    last + 1,
                    65_536,
                    0x8000_0000,
                ] {
                    let index = if bits == 32 { index as u32 as u64 } else { index };
                    let index_val =
                        if bits == 32 { Val::I32(index as i32) } else { Val::I64(index as i64) };
                    let end = u128::from(index) + u128::from(*offset) + u128::from(size);
                    let called = call(&mut store, instance, &offset.to_string(), &[index_val]);
                    let what = format!("{what} at {index:#x} + {offset:#x}");
                    match called {
                        Ok(_) => assert!(end <= 65_536, "{what}"),
                        Err(error) => match error.downcast_ref::<Trap>().unwrap() {
                            Trap::MemoryOutOfBounds => assert!(end > 65_536, "{what}"),
                            Trap::UnalignedAtomic => assert!(what.contains("atomic"), "{what}"),
                            other => panic!("{other:?}: {what}"),
                        },
                    }
                }
            }
        }
    }
}

/// wasmtime, GHSA-44mr-8vmm-wjhg: memories of no pages had no address space that would have caught an
/// access.
#[test]
fn a_memory_of_no_pages_has_no_bytes() {
    for (ty, keep) in ["0", "0 0", "0 5", "i64 0", "i64 0 0"].into_iter().zip([0, 0, 4, 4, 4]) {
        // What is kept of others would lie around it, and be reserved too.
        let engine = engine(|config| {
            config.pooled_memories(keep);
        });
        let index = if ty.contains("i64") { "i64" } else { "i32" };
        let functions: String = ACCESSES
            .iter()
            .enumerate()
            .flat_map(|(i, (what, _))| {
                [0, 8, 0xffff_fff8].map(|offset| {
                    let access = access(what, offset, "(local.get 0)");
                    format!("(func (export \"{i} {offset}\") (param {index}) {access})")
                })
            })
            .collect();
        let wat = format!("(module (memory (export \"m\") {ty}) {functions})");
        for _ in 0..3 {
            let (mut store, instance) = alone(&engine, &wat);
            let memory = instance.get_memory(&mut store, "m").unwrap();
            assert_eq!(memory.data_size(&store), 0);
            // Whatever an index and an offset of 32 bits can reach.
            let start = memory.data(&store).as_ptr() as usize;
            assert!(index == "i64" || is_reserved(start..start + (8 << 30) + 16), "{ty}");
            for (i, _) in ACCESSES.iter().enumerate() {
                for offset in [0_i64, 8, 0xffff_fff8] {
                    for at in [0_i64, 8, 4096, 65_536, 0x7fff_fff8, 0x8000_0000, 0xffff_fff8] {
                        let at = if index == "i64" { Val::I64(at) } else { Val::I32(at as i32) };
                        let called = call(&mut store, instance, &format!("{i} {offset}"), &[at]);
                        assert_eq!(trap_of(called), Trap::MemoryOutOfBounds, "{ty}: {at:?}");
                    }
                }
            }
        }
    }
}

/// Whether all of this range is mapped so that nobody can read it, and nothing else can come there.
fn is_reserved(range: std::ops::Range<usize>) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let reserved = maps.lines().filter_map(|line| {
        let (addresses, rest) = line.split_once(' ')?;
        let (start, end) = addresses.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).unwrap();
        let (start, end) = (parse(start).max(range.start), parse(end).min(range.end));
        rest.starts_with("---").then(|| end.saturating_sub(start))
    });
    reserved.sum::<usize>() == range.len()
}

/// wasmtime, GHSA-vc8c-j3xm-xj73 and GHSA-qqfj-4vcm-26hv: `f64.copysign` and `f64x2.splat` of a value
/// that was just loaded became an operation that reads 16 bytes from memory, 8 of them beyond the
/// end. Every operator that works in a vector register, on the last bytes of a memory.
#[test]
fn an_operator_on_the_last_bytes_of_a_memory_reads_no_more() {
    let mut operators: Vec<(String, &str, &str)> = Vec::new();
    for ty in ["f32", "f64"] {
        for name in ["add", "sub", "mul", "div", "min", "max", "copysign"] {
            operators.push((format!("({ty}.{name} L P)"), ty, ty));
            operators.push((format!("({ty}.{name} P L)"), ty, ty));
        }
        for name in ["abs", "neg", "sqrt", "ceil", "floor", "trunc", "nearest"] {
            operators.push((format!("({ty}.{name} L)"), ty, ty));
        }
        operators.push((
            format!("(i64x2.extend_low_i32x4_u ({ty}x{}.splat L))", 128 / bits(ty)),
            ty,
            "v128",
        ));
    }
    for (text, from, to) in [
        ("(f64.promote_f32 L)", "f32", "f64"),
        ("(f32.demote_f64 L)", "f64", "f32"),
        ("(f64.convert_i64_s L)", "i64", "f64"),
        ("(f64.convert_i32_u L)", "i32", "f64"),
        ("(f32.convert_i64_u L)", "i64", "f32"),
        ("(i64.trunc_sat_f64_s L)", "f64", "i64"),
        ("(f64.reinterpret_i64 L)", "i64", "f64"),
        ("(i64.popcnt L)", "i64", "i64"),
        ("(i32.clz L)", "i32", "i32"),
        ("(i64.rotl P L)", "i64", "i64"),
        ("(i32.mul P L)", "i32", "i32"),
        ("(f32x4.splat L)", "f32", "v128"),
        ("(f64x2.splat L)", "f64", "v128"),
        ("(i64x2.splat L)", "i64", "v128"),
        ("(i32x4.splat L)", "i32", "v128"),
        ("(i16x8.splat L)", "i32", "v128"),
        ("(i8x16.splat L)", "i32", "v128"),
        ("(f64x2.replace_lane 1 (v128.const i64x2 5 6) L)", "f64", "v128"),
        ("(f32x4.replace_lane 2 (v128.const i64x2 5 6) L)", "f32", "v128"),
        ("(i64x2.replace_lane 0 (v128.const i64x2 5 6) L)", "i64", "v128"),
        ("(f64x2.add (f64x2.splat L) (f64x2.splat P))", "f64", "v128"),
        ("(i64x2.shl (v128.const i64x2 5 6) (i32.wrap_i64 L))", "i64", "v128"),
        ("(v128.xor (f64x2.splat L) (f64x2.splat L))", "f64", "v128"),
    ] {
        operators.push((text.to_string(), from, to));
    }
    let functions: String = operators
        .iter()
        .enumerate()
        .map(|(i, (text, from, to))| {
            let load = format!("({from}.load (local.get $at))");
            let loaded = text.replace('L', &load).replace('P', "(local.get $p)");
            let given = text.replace('L', "(local.get $l)").replace('P', "(local.get $p)");
            format!(
                "(func (export \"l{i}\") (param $at i32) (param $p {from}) (result {to}) {loaded})
                 (func (export \"g{i}\") (param $l {from}) (param $p {from}) (result {to}) {given})"
            )
        })
        .collect();
    let wat = format!("(module (memory (export \"m\") 1) {functions})");
    let last: [u8; 8] = 0xc012_3456_789a_bcde_u64.to_be_bytes();
    for engine in engines() {
        let (mut store, instance) = alone(&engine, &wat);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.write(&mut store, 65_528, &last).unwrap();
        for (i, (text, from, _)) in operators.iter().enumerate() {
            let size = bits(from) / 8;
            let mut word = [0; 8];
            word[..size].copy_from_slice(&last[8 - size..]);
            let loaded = val(from, u64::from_le_bytes(word));
            let p = val(from, if size == 4 { 0x3fa0_0000 } else { 0x3ff4_0000_0000_0000 });
            let at = Val::I32((65_536 - size) as i32);
            let from_memory = call(&mut store, instance, &format!("l{i}"), &[at, p]);
            let from_register = call(&mut store, instance, &format!("g{i}"), &[loaded, p]);
            let (a, b) = (from_memory.unwrap()[0], from_register.unwrap()[0]);
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "{text}");
            let beyond = Val::I32((65_537 - size) as i32);
            let called = call(&mut store, instance, &format!("l{i}"), &[beyond, p]);
            assert_eq!(trap_of(called), Trap::MemoryOutOfBounds, "{text}");
        }
    }
}

fn bits(ty: &str) -> usize {
    ty[1..].parse().unwrap()
}

fn val(ty: &str, bits: u64) -> Val {
    match ty {
        "i32" => Val::I32(bits as i32),
        "i64" => Val::I64(bits as i64),
        "f32" => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

/// Embedders of wasmtime and wasmer (issue 3516) used the address of a memory that had moved when it
/// grew. Here the guest itself, in a loop in which only the host grows it, and memories that instances
/// share.
#[test]
fn a_memory_that_moves_during_a_call_is_used_where_it_is() {
    const WAT: &str = r#"(module
        (import "" "grow" (func $grow (param i64)))
        (memory $m (export "m") i64 1)
        (func (export "f") (result i64) (local $sum i64) (local $n i64)
            (i64.store (i64.const 8) (i64.const 1))
            (loop $again
                (local.set $sum (i64.add (local.get $sum) (i64.load (i64.const 8))))
                (call $grow (local.get $n))
                (i64.store (i64.const 8) (i64.add (i64.load (i64.const 8)) (i64.const 1)))
                (br_if $again (i64.lt_u (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const 6))))
            (i64.add (local.get $sum) (i64.mul (i64.const 100) (i64.load (i64.const 8))))))"#;
    for engine in engines() {
        let (mut store, instance) = guest(&engine, WAT, |store| {
            let grow = Func::wrap(store, |mut caller: Caller<'_, ()>, n: i64| {
                let Some(Extern::Memory(memory)) = caller.get_export("m") else { panic!() };
                let before = memory.data(&caller).as_ptr();
                // It has address space for 4 GiB at first.
                memory.grow(&mut caller, if n == 3 { 65_536 } else { 1 })?;
                let moved = before != memory.data(&caller).as_ptr();
                assert_eq!(moved, n == 3);
                stillframe::Result::Ok(())
            });
            vec![grow.into()]
        });
        let results = call(&mut store, instance, "f", &[]).unwrap();
        assert_eq!(results[0].unwrap_i64(), 1 + 2 + 3 + 4 + 5 + 6 + 700);
    }
}
