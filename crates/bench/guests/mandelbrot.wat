;; Floating point in locals: iterations of the Mandelbrot set on a grid of `n` by `n` points, at most
;; 100 for each; answers the sum.
(module
  (func (export "run") (param $n i32) (result i64)
    (local $row i32) (local $column i32) (local $count i32) (local $sum i64)
    (local $cx f64) (local $cy f64) (local $x f64) (local $y f64) (local $xx f64) (local $yy f64)
    (local $step f64)
    (local.set $step (f64.div (f64.const 3) (f64.convert_i32_u (local.get $n))))
    (loop $rows
      (local.set $cy
        (f64.sub (f64.mul (f64.convert_i32_u (local.get $row)) (local.get $step)) (f64.const 1.5)))
      (local.set $column (i32.const 0))
      (loop $columns
        (local.set $cx
          (f64.sub (f64.mul (f64.convert_i32_u (local.get $column)) (local.get $step)) (f64.const 2)))
        (local.set $x (f64.const 0))
        (local.set $y (f64.const 0))
        (local.set $count (i32.const 0))
        (block $out
          (loop $iterate
            (local.set $xx (f64.mul (local.get $x) (local.get $x)))
            (local.set $yy (f64.mul (local.get $y) (local.get $y)))
            (br_if $out (f64.gt (f64.add (local.get $xx) (local.get $yy)) (f64.const 4)))
            (local.set $y
              (f64.add
                (f64.mul (f64.mul (local.get $x) (local.get $y)) (f64.const 2)) (local.get $cy)))
            (local.set $x (f64.add (f64.sub (local.get $xx) (local.get $yy)) (local.get $cx)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $iterate (i32.lt_u (local.get $count) (i32.const 100)))))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $count))))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $column) (local.get $n))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $row) (local.get $n))))
    (local.get $sum)))
