; Unsatisfiable: two ways to compute (a + b)^2 in 7 bits, of which a counterexample is asked.
; Multipliers of different shape give the solver real work: rewriting alone doesn't find the equality.
(set-logic QF_BV)
(declare-const a (_ BitVec 7))
(declare-const b (_ BitVec 7))
(define-fun sum () (_ BitVec 7) (bvadd a b))
(define-fun shift-add ((x (_ BitVec 7)) (y (_ BitVec 7))) (_ BitVec 7)
  (bvadd
    (bvadd (ite (= ((_ extract 0 0) y) #b1) x (_ bv0 7))
           (ite (= ((_ extract 1 1) y) #b1) (bvshl x (_ bv1 7)) (_ bv0 7)))
    (bvadd
      (bvadd (ite (= ((_ extract 2 2) y) #b1) (bvshl x (_ bv2 7)) (_ bv0 7))
             (ite (= ((_ extract 3 3) y) #b1) (bvshl x (_ bv3 7)) (_ bv0 7)))
      (bvadd (ite (= ((_ extract 4 4) y) #b1) (bvshl x (_ bv4 7)) (_ bv0 7))
        (bvadd (ite (= ((_ extract 5 5) y) #b1) (bvshl x (_ bv5 7)) (_ bv0 7))
               (ite (= ((_ extract 6 6) y) #b1) (bvshl x (_ bv6 7)) (_ bv0 7)))))))
(define-fun direct () (_ BitVec 7) (shift-add sum sum))
(define-fun expanded () (_ BitVec 7)
  (bvadd (bvmul a a) (bvadd (bvmul b b) (bvshl (bvmul a b) (_ bv1 7)))))
(assert (not (= direct expanded)))
(check-sat)
(exit)
