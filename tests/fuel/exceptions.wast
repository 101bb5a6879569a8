;; Exceptions, for the comparison of fuel and for their own test.

(module
  (tag $i (param i32))
  (tag $pair (param i64 f64))
  (tag $empty)
  (type $unary (func (param i32) (result i32)))
  (table 1 funcref) (elem (i32.const 0) $thrower)

  ;; 0: nothing; 1: $i with 7; 2: $pair; 3: $empty; 4: a trap.
  (func $thrower (type $unary)
    (block $d (block $c (block $b (block $a
      (br_table $a $b $c $d (i32.sub (local.get 0) (i32.const 1))))
      (throw $i (i32.const 7)))
      (throw $pair (i64.const 100) (f64.const 2.5)))
      (throw $empty))
    (if (i32.eq (local.get 0) (i32.const 4)) (then (unreachable)))
    (i32.const 1000))

  (func $between (type $unary) (i32.add (call $thrower (local.get 0)) (i32.const 1)))

  ;; Catches what it knows, by tag, and says which.
  (func $catcher (export "catcher") (type $unary) (local $l i32)
    (local.set $l (i32.const 5))
    (block $all
      (block $pair (result i64 f64)
        (block $i (result i32)
          (try_table (result i32) (catch $i $i) (catch $pair $pair) (catch_all $all)
            (local.set $l (i32.const 6))
            (call $between (local.get 0)))
          (return (i32.add (local.get $l))))
        (return (i32.add (i32.mul (local.get $l) (i32.const 10)))))
      (drop) (i32.wrap_i64) (return (i32.add (local.get $l))))
    (i32.add (local.get $l) (i32.const 9000)))

  ;; An inner table that does not know the tag passes it to the outer one of the same function.
  (func (export "nested") (type $unary)
    (block $outer (result i32)
      (try_table (result i32) (catch $i $outer)
        (block $inner
          (try_table (result i32) (catch $empty $inner)
            (call_indirect (type $unary) (local.get 0) (i32.const 0)))
          (return))
        (i32.const 33))))

  ;; Caught with its reference, and thrown again.
  (func $rethrow (type $unary) (local exnref)
    (block $h (result exnref)
      (try_table (result i32) (catch_all_ref $h) (call $thrower (local.get 0)))
      (return))
    (local.set 1)
    (throw_ref (local.get 1)))
  (func (export "rethrown") (type $unary)
    (block $i (result i32 exnref)
      (try_table (result i32) (catch_ref $i $i) (call $rethrow (local.get 0)))
      (return))
    (drop) (i32.add (i32.const 1)))

  ;; Thrown and caught in one function, in a loop.
  (func (export "loop") (type $unary) (local $sum i32)
    (loop $again
      (block $i (result i32)
        (try_table (catch $i $i) (throw $i (local.get 0)))
        (unreachable))
      (local.set $sum (i32.add (local.get $sum)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))

  ;; Thrown from 50 frames down.
  (func $deep (type $unary)
    (if (i32.eqz (local.get 0)) (then (throw $i (i32.const 77))))
    (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "deep") (type $unary)
    (block $i (result i32)
      (try_table (result i32) (catch $i $i) (call $deep (local.get 0)))))

  (func (export "uncaught") (type $unary) (call $between (local.get 0)))
  (func (export "null") (throw_ref (ref.null exn)))
)

(assert_return (invoke "catcher" (i32.const 0)) (i32.const 1007))
(assert_return (invoke "catcher" (i32.const 1)) (i32.const 67))
(assert_return (invoke "catcher" (i32.const 2)) (i32.const 106))
(assert_return (invoke "catcher" (i32.const 3)) (i32.const 9006))
(assert_trap (invoke "catcher" (i32.const 4)) "unreachable")
(assert_return (invoke "nested" (i32.const 0)) (i32.const 1000))
(assert_return (invoke "nested" (i32.const 1)) (i32.const 7))
(assert_return (invoke "nested" (i32.const 3)) (i32.const 33))
(assert_exception (invoke "nested" (i32.const 2)))
(assert_return (invoke "rethrown" (i32.const 0)) (i32.const 1000))
(assert_return (invoke "rethrown" (i32.const 1)) (i32.const 8))
(assert_exception (invoke "rethrown" (i32.const 2)))
(assert_exception (invoke "rethrown" (i32.const 3)))
(assert_trap (invoke "rethrown" (i32.const 4)) "unreachable")
(assert_return (invoke "loop" (i32.const 10)) (i32.const 55))
(assert_return (invoke "deep" (i32.const 50)) (i32.const 77))
(assert_exception (invoke "uncaught" (i32.const 1)))
(assert_return (invoke "uncaught" (i32.const 0)) (i32.const 1001))
(assert_trap (invoke "null") "null")
