;;! Two counted loops, one in the other.
;;! show: loop $pairs
;;! configurations: all
(module
  (func $pairs (export "run") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $sum i32)
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $sum
          (i32.add (local.get $sum) (i32.mul (local.get $i) (local.get $j))))
        (br_if $columns
          (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $rows
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum)))
