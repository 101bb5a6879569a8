;; Programs for the comparison of fuel: control flow, calls, bulk operations and tables together.

(module
  (memory 2 10)
  (table $t 10 20 funcref)
  (elem declare func $inc)
  (elem $e func $inc $dec $inc)
  (data $d "0123456789")
  (type $unary (func (param i32) (result i32)))
  (global $g (mut i64) (i64.const 0))
  (func $inc (type $unary) local.get 0 i32.const 1 i32.add)
  (func $dec (type $unary) local.get 0 i32.const 1 i32.sub)

  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add
        (call $fib (i32.sub (local.get 0) (i32.const 1)))
        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))

  (func (export "switch") (param i32) (result i32) (local i32)
    (block $out
      (block $c (block $b (block $a
        (br_table $a $b $c $out (local.get 0)))
        (local.set 1 (i32.const 10)) (br $out))
        (local.set 1 (i32.const 20)) nop (drop (i32.const 5)) (br $out))
      (local.set 1 (i32.add (local.get 1) (i32.const 30))))
    (return (local.get 1)))

  (func (export "bulk") (param i32) (result i32)
    (memory.fill (i32.const 100) (i32.const 7) (local.get 0))
    (memory.copy (i32.const 1000) (i32.const 100) (local.get 0))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 128))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 129))
    (memory.init $d (i32.const 5) (i32.const 0) (i32.const 10))
    (drop (memory.grow (i32.const 1)))
    (drop (memory.grow (local.get 0)))
    (i32.load8_u (i32.const 1000)))

  (func (export "tables") (param i32) (result i32)
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 3))
    (table.copy $t $t (i32.const 4) (i32.const 0) (local.get 0))
    (table.fill $t (i32.const 8) (ref.func $inc) (i32.const 2))
    (drop (table.grow $t (ref.null func) (i32.const 2)))
    (table.set $t (i32.const 3) (table.get $t (i32.const 1)))
    (call_indirect $t (type $unary) (i32.const 40)
      (call_indirect $t (type $unary) (i32.const 3) (i32.const 3))))

  (func $count (export "count") (param i32) (result i64)
    (loop $l
      (global.set $g (i64.add (global.get $g) (i64.const 1)))
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (global.get $g))

  (func (export "tail") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
    (return_call $countdown (i32.sub (local.get 0) (i32.const 1))))
  (func $countdown (param i32) (result i32)
    (block (br_if 0 (local.get 0)) (return (i32.const 8)))
    (return_call $countdown (i32.sub (local.get 0) (i32.const 1))))

  (func (export "nested") (param i32) (result i32) (local i32 i32)
    (loop $i
      (local.set 2 (i32.const 0))
      (loop $j
        (local.set 1 (i32.add (local.get 1) (select (local.get 0) (local.get 2) (local.get 2))))
        (local.set 2 (i32.add (local.get 2) (i32.const 1)))
        (br_if $j (i32.lt_u (local.get 2) (i32.const 5))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $i (local.get 0)))
    (local.get 1))

  (func (export "dead") (result i32)
    (block (result i32) (i32.const 1) (br 0) (i32.const 2) (drop) unreachable))
)

(invoke "fib" (i32.const 15))
(invoke "switch" (i32.const 0))
(invoke "switch" (i32.const 1))
(invoke "switch" (i32.const 2))
(invoke "switch" (i32.const 3))
(invoke "switch" (i32.const 99))
(invoke "bulk" (i32.const 0))
(invoke "bulk" (i32.const 1))
(invoke "bulk" (i32.const 500))
(invoke "tables" (i32.const 3))
(invoke "count" (i32.const 1000))
(invoke "tail" (i32.const 0))
(invoke "tail" (i32.const 100))
(invoke "nested" (i32.const 9))
(invoke "dead")
