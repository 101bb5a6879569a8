;; The guest of `stillframe demo` that is looked at.
(module $look
  (import "host" "look" (func $host.look))
  ;; The average of the numbers from 1 to $n.
  (func $average (export "average") (param $n i32) (result f64)
    (f64.div (f64.convert_i32_u (call $sum (local.get $n)))
             (f64.convert_i32_u (local.get $n))))
  ;; Their sum; has the host look when half of them are added.
  (func $sum (param $n i32) (result i32) (local $i i32) (local $total i32)
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $total (i32.add (local.get $total) (local.get $i)))
      (if (i32.eq (local.get $i) (i32.div_u (local.get $n) (i32.const 2)))
        (then (call $host.look)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $total)))
