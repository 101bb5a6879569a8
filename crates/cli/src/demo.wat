;; The guest of `stillframe demo`.
(module $demo
  (import "host" "each" (func $host.each (param i32)))
  (memory (export "memory") 1)

  ;; From dark to bright, for points that leave early to points that leave late.
  (data (i32.const 1024) " .,:;i1tfLCG08@#")

  ;; Draws line $y of $height of the Mandelbrot set: $width characters at address 0.
  (func $row (export "row") (param $y i32) (param $width i32) (param $height i32)
    (local $x i32) (local $steps i32)
    (loop $columns
      (local.set $steps
        (call $escape
          (f64.sub
            (f64.div (f64.mul (f64.const 3) (f64.convert_i32_s (local.get $x)))
                     (f64.convert_i32_s (local.get $width)))
            (f64.const 2.1))
          (f64.sub
            (f64.div (f64.mul (f64.const 2.4) (f64.convert_i32_s (local.get $y)))
                     (f64.convert_i32_s (local.get $height)))
            (f64.const 1.14))))
      (i32.store8 (local.get $x)
        (i32.load8_u offset=1024
          (select (i32.const 15)
            (i32.and (i32.sub (i32.const 32) (i32.clz (local.get $steps))) (i32.const 15))
            (i32.eq (local.get $steps) (i32.const 5000)))))
      (local.set $x (i32.add (local.get $x) (i32.const 1)))
      (br_if $columns (i32.lt_u (local.get $x) (local.get $width)))))

  ;; How many steps it takes z := z*z + c to leave the circle of radius 2; at most 5000.
  (func $escape (param $cr f64) (param $ci f64) (result i32)
    (local $r f64) (local $i f64) (local $rr f64) (local $ii f64) (local $steps i32)
    (loop $step (result i32)
      (local.set $i
        (f64.add (f64.mul (f64.const 2) (f64.mul (local.get $r) (local.get $i)))
                 (local.get $ci)))
      (local.set $r (f64.add (f64.sub (local.get $rr) (local.get $ii)) (local.get $cr)))
      (local.set $rr (f64.mul (local.get $r) (local.get $r)))
      (local.set $ii (f64.mul (local.get $i) (local.get $i)))
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (br_if $step
        (i32.and
          (f64.lt (f64.add (local.get $rr) (local.get $ii)) (f64.const 4))
          (i32.lt_u (local.get $steps) (i32.const 5000))))
      (local.get $steps)))

  ;; Never ends.
  (func $spin (export "spin") (loop $forever (br $forever)))

  ;; Asks the host to call back for each number below $n ...
  (func $report (export "report") (param $n i32) (call $host.each (local.get $n)))
  ;; ... and cannot answer for 0.
  (func $on_item (export "on_item") (param $i i32) (result i32)
    (call $share (i32.const 100) (local.get $i)))
  (func $share (param $whole i32) (param $parts i32) (result i32)
    (i32.div_u (local.get $whole) (local.get $parts))))
