;;! A loop with branches: looks for a byte, leaves where it finds it, and counts the bytes that are
;;! above it.
;;! show: loop $find
;;! configurations: all
(module
  (memory 1)
  (func $find (export "run") (param $at i32) (param $end i32) (param $byte i32) (result i32)
    (local $c i32) (local $above i32)
    (block $found
      (loop $next
        (local.set $c (i32.load8_u (local.get $at)))
        (br_if $found (i32.eq (local.get $c) (local.get $byte)))
        (if (i32.gt_u (local.get $c) (local.get $byte))
          (then (local.set $above (i32.add (local.get $above) (i32.const 1)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.ne (local.get $at) (local.get $end)))))
    (i32.add (local.get $above) (local.get $at))))
