;;! An interpreter's dispatch loop: br_table over bytes of a program, an accumulator in a local.
;;! show: loop $interpret
;;! configurations: all
(module
  (memory 1)
  (func $interpret (export "run") (param $pc i32) (result i32)
    (local $value i32) (local $operation i32)
    (loop $next
      (local.set $operation (i32.load8_u (local.get $pc)))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (block $halt
        (block $double
          (block $decrement
            (block $increment
              (br_table $increment $decrement $double $halt (local.get $operation)))
            (local.set $value (i32.add (local.get $value) (i32.const 1)))
            (br $next))
          (local.set $value (i32.sub (local.get $value) (i32.const 1)))
          (br $next))
        (local.set $value (i32.add (local.get $value) (local.get $value)))
        (br $next)))
    (local.get $value)))
