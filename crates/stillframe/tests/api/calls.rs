//! Calling functions, typed and untyped.

use crate::{instantiate, text};
use stillframe::{Func, FuncType, TypedFunc, V128, Val, ValType};

const GUEST: &str = r#"
    (module
        (func (export "nothing"))
        (func (export "add") (param i32 i32) (result i32)
            (i32.add (local.get 0) (local.get 1)))
        (func (export "mixed") (param i32 i64 f32 f64 v128) (result v128 f64 f32 i64 i32)
            local.get 4 local.get 3 local.get 2 local.get 1 local.get 0))
"#;

#[test]
fn typed_functions_take_and_give_values_of_all_number_types() {
    let (mut store, instance) = instantiate(GUEST);
    let nothing = instance.get_typed_func::<(), ()>(&mut store, "nothing").unwrap();
    nothing.call(&mut store, ()).unwrap();
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add").unwrap();
    assert_eq!(add.call(&mut store, (i32::MAX, 1)).unwrap(), i32::MIN);
    let add = instance.get_typed_func::<(u32, u32), u32>(&mut store, "add").unwrap();
    assert_eq!(add.call(&mut store, (u32::MAX, 2)).unwrap(), 1);

    type Mixed = TypedFunc<(i32, i64, f32, f64, V128), (V128, f64, f32, u64, i32)>;
    let mixed: Mixed = instance.get_typed_func(&mut store, "mixed").unwrap();
    let v128 = V128::from(0x0123_4567_89ab_cdef_u128 << 60);
    let results = mixed.call(&mut store, (-1, -2, 0.5, -0.0, v128)).unwrap();
    assert_eq!((results.0, results.2, results.3, results.4), (v128, 0.5, u64::MAX - 1, -1));
    assert_eq!(results.1.to_bits(), (-0.0_f64).to_bits());
}

#[test]
fn untyped_calls_take_and_give_values_of_all_number_types() {
    let (mut store, instance) = instantiate(GUEST);
    let mixed = instance.get_func(&mut store, "mixed").unwrap();
    let nan = 0x7ff4_0000_0000_0001;
    let params = [Val::I32(-1), Val::I64(-2), Val::F32(7), Val::F64(nan), Val::from(u128::MAX)];
    let mut results = [Val::I32(0); 5];
    mixed.call(&mut store, &params, &mut results).unwrap();
    for (param, result) in params.iter().rev().zip(&results) {
        assert_eq!(format!("{param:?}"), format!("{result:?}"));
    }
}

#[test]
fn functions_say_their_type() {
    let (mut store, instance) = instantiate(GUEST);
    let add = instance.get_func(&mut store, "add").unwrap();
    assert_eq!(add.ty(&store), FuncType::new([ValType::I32, ValType::I32], [ValType::I32]));
}

#[test]
fn twenty_results_come_back_in_order() {
    let constants: String = (0..20).map(|i| format!("(i64.const {i})")).collect();
    let wat = format!(
        r#"(module (func (export "many") (param i64) (result {}) {constants} (drop) (local.get 0)))"#,
        "i64 ".repeat(20)
    );
    let (mut store, instance) = instantiate(&wat);
    let many = instance.get_func(&mut store, "many").unwrap();
    let mut results = [Val::I32(-1); 20];
    many.call(&mut store, &[Val::I64(77)], &mut results).unwrap();
    let values: Vec<_> = results.iter().map(Val::unwrap_i64).collect();
    assert_eq!(values, (0..19).chain([77]).collect::<Vec<_>>());
}

#[test]
fn sixteen_typed_parameters_and_results_come_through() {
    let all = "i32 ".repeat(16);
    let gets: String = (0..16).rev().map(|i| format!("(local.get {i})")).collect();
    let wat = format!(r#"(module (func (export "f") (param {all}) (result {all}) {gets}))"#);
    let (mut store, instance) = instantiate(&wat);
    type Sixteen = (i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32);
    let reverse = instance.get_typed_func::<Sixteen, Sixteen>(&mut store, "f").unwrap();
    let forth = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    let back = reverse.call(&mut store, forth).unwrap();
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) = back;
    assert_eq!([a, b, c, d, e, f, g, h], [16, 15, 14, 13, 12, 11, 10, 9]);
    assert_eq!([i, j, k, l, m, n, o, p], [8, 7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn wrong_types_and_numbers_of_an_untyped_call_are_errors_that_say_which() {
    let (mut store, instance) = instantiate(GUEST);
    let add = instance.get_func(&mut store, "add").unwrap();
    let mut one = [Val::I32(0)];
    let mut call =
        |params: &[Val], results: &mut [Val]| text(add.call(&mut store, params, results));
    assert_eq!(call(&[Val::I32(1)], &mut one), "expected 2 arguments, found 1");
    let room = call(&[Val::I32(1), Val::I32(2)], &mut []);
    assert_eq!(room, "expected room for 1 results, found room for 0");
    let wrong = call(&[Val::I32(1), Val::F64(2)], &mut one);
    assert_eq!(wrong, "argument 1: expected `i32`, found `f64`");
    // And then it still works.
    add.call(&mut store, &[Val::I32(1), Val::I32(2)], &mut one).unwrap();
    assert_eq!(one[0].unwrap_i32(), 3);
}

#[test]
fn a_typed_function_of_another_type_is_an_error_that_says_where_they_differ() {
    let (mut store, instance) = instantiate(GUEST);
    let add = instance.get_func(&mut store, "add").unwrap();
    let expect = |error: String, what: &str| {
        assert!(error.starts_with("the function has type `(i32 i32) -> (i32)`, not"), "{error}");
        assert!(error.ends_with(what), "{error}");
    };
    expect(text(add.typed::<(i32, i64), i32>(&store)), "parameter 1: expected `i64`, found `i32`");
    expect(text(add.typed::<(i32, i32), f32>(&store)), "result 0: expected `f32`, found `i32`");
    expect(text(add.typed::<i32, i32>(&store)), "expected 1 parameters, found 2");
    expect(text(add.typed::<(i32, i32), ()>(&store)), "expected 0 results, found 1");
    let error = text(instance.get_typed_func::<(), ()>(&mut store, "add"));
    assert!(error.starts_with("export `add`: the function has type"), "{error}");
    let error = text(instance.get_typed_func::<(), ()>(&mut store, "sub"));
    assert_eq!(error, "no function is exported as `sub`");
}

#[test]
fn host_functions_can_be_called_straight() {
    let (mut store, _) = instantiate(GUEST);
    let sum = Func::wrap(&mut store, |a: i64, b: f32| a as f64 + f64::from(b));
    assert_eq!(sum.ty(&store).to_string(), "(i64 f32) -> (f64)");
    let typed = sum.typed::<(i64, f32), f64>(&store).unwrap();
    assert_eq!(typed.call(&mut store, (3, 0.5)).unwrap(), 3.5);
    let mut results = [Val::I32(0)];
    sum.call(&mut store, &[Val::I64(3), 0.25_f32.into()], &mut results).unwrap();
    assert_eq!(results[0].unwrap_f64(), 3.25);
}
