;;! A counted loop of integers in locals: what a checkpoint, a charge and frame state add to it.
;;! show: loop $sum
;;! configurations: all
(module
  (func $sum (export "run") (param $n i32) (result i64)
    (local $sum i64)
    (loop $next
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.mul (i64.extend_i32_u (local.get $n)) (i64.extend_i32_u (local.get $n)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
