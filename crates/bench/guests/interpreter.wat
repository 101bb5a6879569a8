;; An interpreter's dispatch loop: a machine with 64-bit registers in memory runs a program of
;; three-byte instructions (operation, register, register) that adds up `i * i ^ i` for `i` from `n`
;; down to 1.
(module
  (memory 1)
  ;; 0: mov r2 r0; 3: mul r2 r0; 6: xor r2 r0; 9: add r1 r2; 12: sub r0 r3; 15: jnz r0 0; 18: halt
  (data (i32.const 0) "\01\02\00" "\02\02\00" "\03\02\00" "\04\01\02" "\05\00\03" "\06\00\00" "\00\00\00")
  (func (export "run") (param $n i32) (result i64)
    (local $pc i32) (local $a i32) (local $b i32)
    (i64.store (i32.const 1024) (i64.extend_i32_u (local.get $n)))
    (i64.store (i32.const 1032) (i64.const 0))
    (i64.store (i32.const 1048) (i64.const 1))
    (loop $next
      (local.set $a
        (i32.add (i32.const 1024)
          (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 3))))
      (local.set $b
        (i32.add (i32.const 1024)
          (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 3))))
      (block $done
        (block $jnz (block $sub (block $add (block $xor (block $mul (block $mov (block $halt
          (br_table $halt $mov $mul $xor $add $sub $jnz $halt (i32.load8_u (local.get $pc))))
          (return (i64.load (i32.const 1032))))
          (i64.store (local.get $a) (i64.load (local.get $b)))
          (br $done))
          (i64.store (local.get $a) (i64.mul (i64.load (local.get $a)) (i64.load (local.get $b))))
          (br $done))
          (i64.store (local.get $a) (i64.xor (i64.load (local.get $a)) (i64.load (local.get $b))))
          (br $done))
          (i64.store (local.get $a) (i64.add (i64.load (local.get $a)) (i64.load (local.get $b))))
          (br $done))
          (i64.store (local.get $a) (i64.sub (i64.load (local.get $a)) (i64.load (local.get $b))))
          (br $done))
        (if (i64.ne (i64.load (local.get $a)) (i64.const 0))
          (then
            (local.set $pc (i32.load8_u offset=2 (local.get $pc)))
            (br $next))))
      (local.set $pc (i32.add (local.get $pc) (i32.const 3)))
      (br $next))
    (unreachable)))
