;; Checkpoints of control flow: function entries, loop headers, calls of every kind. Each call is run
;; in every way in which it can be cut.

;; Function entries, with several parameters and results under way.
(module
  (global $g (export "g") (mut i64) (i64.const 1))
  (func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
  (func $middle (param i32 i64) (result i32 i64)
    (global.set $g (i64.add (i64.mul (global.get $g) (i64.const 10)) (local.get 1)))
    (call $leaf (local.get 0))
    (i64.add (local.get 1) (i64.const 5)))
  (func (export "entries") (param i32) (result i32 i64)
    (call $middle (local.get 0) (i64.const 7))
    (call $middle)
    (call $middle))

  ;; More parameters and results than registers.
  (func $wide (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64)
              (result i64 f64 i32 f32 i64 f64 i32 f32 i64 f64)
    (drop (call $leaf (i32.const 1)))
    (i64.add (local.get 1) (local.get 5)) (f64.mul (local.get 3) (local.get 7))
    (i32.xor (local.get 0) (local.get 4)) (f32.div (local.get 2) (local.get 6))
    (local.get 9) (local.get 11) (local.get 8) (local.get 10) (local.get 1) (local.get 3))
  (func (export "wide") (param i32) (result i64 f64 i32 f32 i64 f64 i32 f32 i64 f64)
    (call $wide
      (call $leaf (local.get 0)) (i64.const -2) (f32.const 0.3) (f64.const 1e100)
      (call $leaf (local.get 0)) (i64.const 1234567890123) (f32.const -7) (f64.const 0.1)
      (local.get 0) (i64.const 5) (f32.const nan) (f64.const -0)))

  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add
        (call $fib (i32.sub (local.get 0) (i32.const 1)))
        (call $fib (i32.sub (local.get 0) (i32.const 2))))))))
(invoke "entries" (i32.const 4))
(invoke "wide" (i32.const 9))
(invoke "fib" (i32.const 6))

;; Loops.
(module
  (memory (export "memory") 1)
  (global $steps (export "steps") (mut i32) (i32.const 0))

  ;; A state machine on br_table that runs through memory.
  (func (export "states") (param $state i32) (result i32 i32) (local $n i32)
    (block $done
      (loop $again
        (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
        (i32.store8 (local.get $n) (local.get $state))
        (block $c (block $b (block $a
          (br_table $a $b $c $done (local.get $state)))
          (local.set $state (i32.const 2)) (br $again))
          (local.set $state (i32.const 3)) (br $again))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (local.set $state (select (i32.const 1) (i32.const 0)
          (i32.gt_u (local.get $n) (i32.const 3))))
        (br $again)))
    (local.get $n) (local.get $state))

  ;; Loops in a loop, with values on the operand stack and a loop that has parameters.
  (func (export "nested") (param $n i32) (result i64) (local $j i32)
    (i64.const 3)
    (loop $outer (param i64) (result i64)
      (local.set $j (local.get $n))
      (i64.const 1)
      (loop $inner (param i64 i64) (result i64)
        (i64.mul) (i64.add (i64.extend_i32_u (local.get $j)))
        (i64.const 2)
        (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1))))
        (i64.sub))
      (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  ;; Left from the middle, by a branch out of both.
  (func (export "left") (param $n i32) (result i32) (local $i i32)
    (block $out (result i32)
      (loop $a
        (loop $b
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (drop (br_if $out (local.get $i) (i32.gt_u (local.get $i) (local.get $n))))
          (br_if $b (i32.rem_u (local.get $i) (i32.const 3))))
        (br $a))
      (unreachable))))
(invoke "states" (i32.const 0))
(invoke "nested" (i32.const 4))
(invoke "left" (i32.const 7))

;; Indirect calls and tail calls, to wasm and to the host.
(module
  (import "host" "next" (func $next (param i32) (result i32)))
  (type $unary (func (param i32) (result i32)))
  (table (export "table") 4 funcref)
  (elem (i32.const 0) $double $next $even)
  (func $double (type $unary) (i32.add (call $same (local.get 0)) (local.get 0)))
  (func $same (type $unary) (local.get 0))
  (func (export "indirect") (param i32) (result i32) (local i32)
    (local.set 1 (i32.mul (local.get 0) (i32.const 13)))
    (i32.add (local.get 1)
      (call_indirect (type $unary)
        (call_indirect (type $unary) (local.get 0) (i32.const 0)) (i32.const 1))))
  (func $even (export "even") (type $unary)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
    (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
  (func $odd (type $unary)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (return_call_indirect (type $unary)
      (i32.sub (local.get 0) (i32.const 1)) (i32.const 2)))
  (func $to_host (export "to the host") (type $unary)
    (return_call $next (i32.add (local.get 0) (i32.const 1))))
  (func (export "to the host, indirectly") (type $unary)
    (return_call_indirect (type $unary) (call $to_host (local.get 0)) (i32.const 1)))
  ;; From a frame with few parameters to one with many, and back.
  (func $grown (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
    (if (i64.eqz (local.get 0)) (then (return (local.get 8))))
    (return_call $shrunk (local.get 8)))
  (func $shrunk (param i64) (result i64)
    (return_call $grown
      (i64.and (local.get 0) (i64.const 3)) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
      (i64.const 5) (i64.const 6) (i64.const 7) (i64.add (local.get 0) (i64.const 1))))
  (func (export "frames") (param i64) (result i64)
    (i64.add (call $shrunk (local.get 0)) (local.get 0))))
(invoke "indirect" (i32.const 5))
(invoke "even" (i32.const 9))
(invoke "to the host" (i32.const 3))
(invoke "to the host, indirectly" (i32.const 3))
(invoke "frames" (i64.const 1))

;; The host's functions: their trampolines have a checkpoint, and they can fail.
(module
  (import "host" "next" (func $next (param i32) (result i32)))
  (import "host" "split" (func $split (param i64) (result i32 i64 f32 f64 v128)))
  (import "host" "mix" (func $mix (param i32 i64 f32 f64 v128) (result i64)))
  (import "host" "note" (func $note (param i64)))
  (memory (export "memory") 1)
  (global $f (export "f") (mut f64) (f64.const 0))

  ;; Values of every type live across each call.
  (func (export "across") (param $i i32) (param $l i64) (param $f f32) (param $d f64)
      (result i32 i64 f32 f64 v128) (local $v v128)
    (local.set $v (i64x2.splat (i64.mul (local.get $l) (local.get $l))))
    (call $note (local.get $l))
    (local.set $i (call $next (local.get $i)))
    (local.set $l (call $mix (call $split (local.get $l))))
    (call $note (i64.add (local.get $l) (i64.extend_i32_s (local.get $i))))
    (global.set $f (local.get $d))
    (v128.store (i32.const 16) (local.get $v))
    (local.get $i) (local.get $l)
    (f32.mul (local.get $f) (local.get $f)) (f64.add (local.get $d) (f64.const 0.125))
    (i64x2.add (local.get $v) (local.get $v)))

  (func (export "in a loop") (param $n i32) (result i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (call $mix (call $split (local.get $sum)))
        (i64.extend_i32_u (call $next (local.get $n)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  (func $deep (export "deep") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (local.get $n) (call $deep (i32.sub (local.get $n) (i32.const 1)))))
      (else (call $note (i64.const -1)) (call $next (i32.const 1))))))
(invoke "across" (i32.const 3) (i64.const 0x123456789abcdef) (f32.const 1.1) (f64.const -2.7))
(invoke "in a loop" (i32.const 5))
(invoke "deep" (i32.const 12))

;; Exceptions: thrown from, and caught in, frames that were suspended.
(module
  (import "host" "next" (func $next (param i32) (result i32)))
  (tag $t (param i32 i64))
  (tag $other)
  (memory (export "memory") 1)
  (func $throws (param $n i32) (result i32) (local $i i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (local.get $n))))
    (memory.fill (i32.const 0) (local.get $n) (i32.mul (local.get $n) (i32.const 4)))
    (if (i32.gt_u (call $next (local.get $i)) (i32.const 20))
      (then (throw $t (call $next (local.get $i)) (i64.const 9))))
    (local.get $i))
  (func $passes (param $n i32) (result i32)
    (block $other
      (try_table (catch $other $other)
        (return (i32.add (call $throws (local.get $n)) (i32.const 1)))))
    (i32.const -1))
  (func (export "caught") (param $n i32) (result i32 i64) (local $l i64)
    (local.set $l (i64.mul (i64.extend_i32_u (local.get $n)) (i64.const 1000)))
    (block $h (result i32 i64)
      (try_table (result i32) (catch $t $h)
        (i32.add (call $next (local.get $n)) (call $passes (local.get $n))))
      (return (local.get $l)))
    (i64.add (local.get $l)))
  (func (export "again") (param $n i32) (result i32) (local $sum i32) (local $e exnref)
    (loop $again
      (block $h (result exnref)
        (try_table (result i32) (catch_all_ref $h) (call $throws (local.get $n)))
        (local.set $sum (i32.add (local.get $sum)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
        (return (local.get $sum)))
      (local.set $e)
      (local.set $sum (i32.add (local.get $sum) (i32.const 100)))
      (block $back (result i32 i64)
        (try_table (catch $t $back) (throw_ref (local.get $e)))
        (unreachable))
      (drop)
      (local.set $sum (i32.add (local.get $sum)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "uncaught") (param $n i32) (result i32) (call $passes (local.get $n))))
(invoke "caught" (i32.const 2))
(invoke "caught" (i32.const 4))
(invoke "again" (i32.const 4))
(invoke "uncaught" (i32.const 3))
