;; Floating point in memory: the product of two matrices of `n` by `n` (at most 256); answers the sum
;; of its elements, all of them whole numbers.
(module
  (memory 32)
  (func $at (param $matrix i32) (param $row i32) (param $column i32) (result i32)
    (i32.add
      (i32.shl (local.get $matrix) (i32.const 19))
      (i32.shl
        (i32.add (i32.shl (local.get $row) (i32.const 8)) (local.get $column)) (i32.const 3))))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $j i32) (local $k i32) (local $dot f64) (local $sum f64)
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (f64.store (call $at (i32.const 0) (local.get $i) (local.get $j))
          (f64.convert_i32_s (i32.sub (local.get $i) (local.get $j))))
        (f64.store (call $at (i32.const 1) (local.get $i) (local.get $j))
          (f64.convert_i32_s (i32.add (local.get $i) (local.get $j))))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $j) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $i) (local.get $n))))
    (local.set $i (i32.const 0))
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $dot (f64.const 0))
        (local.set $k (i32.const 0))
        (loop $terms
          (local.set $dot
            (f64.add (local.get $dot)
              (f64.mul
                (f64.load
                  (i32.shl
                    (i32.add (i32.shl (local.get $i) (i32.const 8)) (local.get $k))
                    (i32.const 3)))
                (f64.load offset=524288
                  (i32.shl
                    (i32.add (i32.shl (local.get $k) (i32.const 8)) (local.get $j))
                    (i32.const 3))))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $terms (i32.lt_u (local.get $k) (local.get $n))))
        (local.set $sum (f64.add (local.get $sum) (local.get $dot)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $j) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $i) (local.get $n))))
    (i64.trunc_f64_s (local.get $sum))))
