;; Indirect calls: one of four small functions, chosen by a number that is hard to predict.
(module
  (type $step (func (param i64 i32) (result i64)))
  (table funcref (elem $add $xor $mul $rotate))
  (func $add (type $step) (i64.add (local.get 0) (i64.extend_i32_u (local.get 1))))
  (func $xor (type $step)
    (i64.xor (local.get 0) (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 7))))
  (func $mul (type $step)
    (i64.mul (local.get 0) (i64.or (i64.extend_i32_u (local.get 1)) (i64.const 1))))
  (func $rotate (type $step) (i64.rotl (local.get 0) (i64.extend_i32_u (local.get 1))))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $value i64)
    (local.set $value (i64.const 1))
    (loop $next
      (local.set $value
        (call_indirect (type $step) (local.get $value) (local.get $i)
          (i32.shr_u (i32.mul (local.get $i) (i32.const 0x9e3779b1)) (i32.const 30))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $value)))
