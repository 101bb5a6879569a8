;; The host: a loop that calls a host function, which answers 3 times its parameter plus 1.
(module
  (import "host" "step" (func $step (param i64) (result i64)))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $value i64)
    (loop $next
      (local.set $value (call $step (i64.xor (local.get $value) (i64.extend_i32_u (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $value)))
