; Satisfiable: take a product of two 16-bit primes apart again.
; The factors are asked for, so that the answer can be checked by hand, and ordered, so that there is one.
(set-logic QF_BV)
(set-option :produce-models true)
(declare-const p (_ BitVec 16))
(declare-const q (_ BitVec 16))
(define-fun wide ((x (_ BitVec 16))) (_ BitVec 32) ((_ zero_extend 16) x))
(assert (= (bvmul (wide p) (wide q)) (_ bv2148766511 32)))
(assert (bvult (_ bv1 16) p))
(assert (bvult p q))
(check-sat)
(get-value (p q))
(exit)
