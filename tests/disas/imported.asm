;; Machine code of imported.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $repeat, its loop: 10 instructions (the function: 36 instructions, 127 bytes)
L1:
  mov     rsi, r15
  mov     rdi, r12
  call    r13                                ; import 0
  mov     rdx, r14
  sub     edx, 1
  test    edx, edx
  je      out1
  mov     r14, rdx
  mov     rdx, rax
  jmp     L1

;; ==== fuel ====

;; $repeat, its loop: 18 instructions (the function: 72 instructions, 271 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+2]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     rsi, r14
  mov     rdi, rbx
  call    r12                                ; import 0
  mov     rcx, r15
  add     rcx, 6
  mov     r15, rcx
  mov     rdx, r13
  sub     edx, 1
  test    edx, edx
  je      out1
  mov     r13, rdx
  mov     rdx, rax
  jmp     L1

;; ==== epoch ====

;; $repeat, its loop: 14 instructions (the function: 60 instructions, 231 bytes)
L1:
  mov     rax, [r14]                         ; the epoch
  mov     rcx, [rbx+16]                      ; limits.epoch_deadline
  cmp     rax, rcx
  jae     slow1
  mov     rsi, [rsp+8]
  mov     rdi, r13
  call    r12                                ; import 0
  mov     rdx, r15
  sub     edx, 1
  test    edx, edx
  je      out1
  mov     r15, rdx
  mov     rdx, rax
  jmp     L1

;; ==== fuel + epoch ====

;; $repeat, its loop: 18 instructions (the function: 72 instructions, 271 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+2]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     rsi, r14
  mov     rdi, rbx
  call    r12                                ; import 0
  mov     rcx, r15
  add     rcx, 6
  mov     r15, rcx
  mov     rdx, r13
  sub     edx, 1
  test    edx, edx
  je      out1
  mov     r13, rdx
  mov     rdx, rax
  jmp     L1

;; ==== Live ====

;; $repeat, its loop: 9 instructions (the function: 37 instructions, 134 bytes)
L1:
  mov     [rsp+8], ebx
  mov     rsi, r14
  mov     rdi, r12
  call    r13                                ; import 0
  sub     ebx, 1
  test    ebx, ebx
  je      out1
  mov     rdx, rax
  jmp     L1

;; ==== All ====

;; $repeat, its loop: 10 instructions (the function: 38 instructions, 138 bytes)
L1:
  mov     [rsp+8], ebx
  mov     [rsp+16], edx
  mov     rsi, r14
  mov     rdi, r12
  call    r13                                ; import 0
  sub     ebx, 1
  test    ebx, ebx
  je      out1
  mov     rdx, rax
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $repeat, its loop: 19 instructions (the function: 80 instructions, 309 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+2]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     r12, rsi
  mov     [rsp+8], r12d
  mov     rsi, r14
  mov     rdi, rbx
  call    r13                                ; import 0
  mov     rcx, r15
  add     rcx, 6
  mov     r15, rcx
  sub     r12d, 1
  test    r12d, r12d
  je      out1
  mov     rdx, rax
  mov     rsi, r12
  jmp     L1
