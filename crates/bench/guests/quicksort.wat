;; Sorting: quicksort, recursive, of `n` random 32-bit numbers; answers the sum of each times its
;; place from 0 on, or -1 if two are in the wrong order.
(module
  (memory 64)
  (func $get (param $i i32) (result i32) (i32.load (i32.shl (local.get $i) (i32.const 2))))
  (func $set (param $i i32) (param $value i32)
    (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $value)))
  (func $sort (param $low i32) (param $high i32)
    (local $i i32) (local $j i32) (local $pivot i32) (local $kept i32)
    (if (i32.ge_s (local.get $low) (local.get $high)) (then (return)))
    (local.set $pivot
      (call $get
        (i32.add (local.get $low)
          (i32.shr_u (i32.sub (local.get $high) (local.get $low)) (i32.const 1)))))
    (local.set $i (local.get $low))
    (local.set $j (local.get $high))
    (loop $partition
      (loop $up
        (if (i32.lt_u (call $get (local.get $i)) (local.get $pivot))
          (then
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $up))))
      (loop $down
        (if (i32.gt_u (call $get (local.get $j)) (local.get $pivot))
          (then
            (local.set $j (i32.sub (local.get $j) (i32.const 1)))
            (br $down))))
      (if (i32.le_s (local.get $i) (local.get $j))
        (then
          (local.set $kept (call $get (local.get $i)))
          (call $set (local.get $i) (call $get (local.get $j)))
          (call $set (local.get $j) (local.get $kept))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))))
      (br_if $partition (i32.le_s (local.get $i) (local.get $j))))
    (call $sort (local.get $low) (local.get $j))
    (call $sort (local.get $i) (local.get $high)))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $seed i32) (local $sum i64)
    (local.set $seed (i32.const 12345))
    (loop $fill
      (local.set $seed
        (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
      (call $set (local.get $i) (local.get $seed))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (local.get $n))))
    (call $sort (i32.const 0) (i32.sub (local.get $n) (i32.const 1)))
    (local.set $i (i32.const 1))
    (loop $check
      (if (i32.gt_u (call $get (i32.sub (local.get $i) (i32.const 1))) (call $get (local.get $i)))
        (then (return (i64.const -1))))
      (local.set $sum
        (i64.add (local.get $sum)
          (i64.mul
            (i64.extend_i32_u (local.get $i)) (i64.extend_i32_u (call $get (local.get $i))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $check (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum)))
