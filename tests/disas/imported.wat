;;! A loop with a call of an imported function.
;;! show: loop $repeat
;;! configurations: all
(module
  (import "host" "step" (func $step (param i32) (result i32)))
  (func $repeat (export "run") (param $n i32) (result i32)
    (local $value i32)
    (loop $next
      (local.set $value (call $step (local.get $value)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $value)))
