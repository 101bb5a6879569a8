;;! A loop with an indirect call: bounds, null and signature tests.
;;! show: loop $apply
;;! configurations: all
(module
  (type $operation (func (param i32) (result i32)))
  (table 2 2 funcref)
  (elem (i32.const 0) $double $increment)
  (func $double (type $operation) (i32.shl (local.get 0) (i32.const 1)))
  (func $increment (type $operation) (i32.add (local.get 0) (i32.const 1)))
  (func $apply (export "run") (param $n i32) (result i32)
    (local $value i32)
    (loop $next
      (local.set $value
        (call_indirect (type $operation) (local.get $value)
          (i32.and (local.get $n) (i32.const 1))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $value)))
