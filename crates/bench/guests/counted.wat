;; Tight counted loops, one in the other: integer arithmetic in locals, no calls, no memory.
(module
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $j i32) (local $sum i64)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (local.set $sum
          (i64.add
            (i64.rotl
              (i64.xor (local.get $sum)
                (i64.extend_i32_u (i32.mul (local.get $i) (local.get $j))))
              (i64.const 5))
            (i64.extend_i32_u (local.get $j))))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get $j) (i32.const 1000))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum)))
