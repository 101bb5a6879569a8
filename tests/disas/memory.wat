;;! A loop with a load and a store: a[i] = a[i] + b[i] for 32-bit numbers.
;;! show: loop $add
;;! configurations: all
(module
  (memory 1)
  (func $add (export "run") (param $a i32) (param $b i32) (param $end i32)
    (loop $next
      (i32.store (local.get $a)
        (i32.add (i32.load (local.get $a)) (i32.load (local.get $b))))
      (local.set $a (i32.add (local.get $a) (i32.const 4)))
      (local.set $b (i32.add (local.get $b) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $a) (local.get $end))))))
