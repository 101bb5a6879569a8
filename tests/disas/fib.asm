;; Machine code of fib.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $fib: 40 instructions, 138 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 48
  cmp     r10, rsp
  ja      L3
  sub     rsp, 32
  mov     [rsp], r12
  mov     [rsp+8], r13
  mov     [rsp+16], r15
  mov     r13, rdi
  cmp     edx, 2
  mov     r12, rdx
  jl      L1
  mov     rax, r12
  mov     rdx, rax
  sub     edx, 1
  mov     rsi, r13
  mov     rdi, r13
  call    $fib
  mov     rdx, r12
  mov     r15, rax
  sub     edx, 2
  mov     rsi, r13
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     eax, ecx
  jmp     L2
L1:
  mov     rdx, r12
  mov     rax, rdx
L2:
  mov     r12, [rsp]
  mov     r13, [rsp+8]
  mov     r15, [rsp+16]
  add     rsp, 32
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== fuel ====

;; $fib: 64 instructions, 234 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 48
  cmp     r10, rsp
  ja      L5
  sub     rsp, 32
  mov     [rsp], rbx
  mov     [rsp+8], r12
  mov     [rsp+16], r13
  mov     rax, r15
  lea     rcx, [rax+6]
  mov     r15, rcx
  test    rax, rax
  jge     L4
  mov     r12, rdi
L1:
  cmp     edx, 2
  mov     rbx, rdx
  jl      L2
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  mov     rax, rbx
  mov     rdx, rax
  sub     edx, 1
  mov     rsi, r12
  mov     rdi, r12
  call    $fib
  mov     r13, rax
  mov     rax, r15
  add     rax, 4
  mov     r15, rax
  mov     rdx, rbx
  sub     edx, 2
  mov     rsi, r12
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     rcx, 1
  mov     r15, rcx
  mov     rcx, r13
  add     eax, ecx
  jmp     L3
L2:
  mov     rdx, rbx
  mov     rax, rdx
L3:
  mov     rbx, [rsp]
  mov     r12, [rsp+8]
  mov     r13, [rsp+16]
  add     rsp, 32
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  movq   xmm0, rdi
  mov     r12, rdi
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 6
  mov     r15, rax
  jmp     L1
L5:
  ud2

;; ==== epoch ====

;; $fib: 50 instructions, 175 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 32
  cmp     r10, rsp
  ja      L5
  sub     rsp, 16
  mov     [rsp], rbx
  mov     [rsp+8], r12
  mov     rax, [rdi+24]                      ; vmctx.epoch
  mov     rax, [rax]                         ; the epoch
  mov     rcx, [rdi+8]                       ; vmctx.limits
  mov     rcx, [rcx+16]                      ; limits.epoch_deadline
  cmp     rax, rcx
  jae     L4
  mov     r12, rdi
L1:
  cmp     edx, 2
  mov     rbx, rdx
  jl      L2
  mov     rax, rbx
  mov     rdx, rax
  sub     edx, 1
  mov     rsi, r12
  mov     rdi, r12
  call    $fib
  mov     rdx, rbx
  mov     rbx, rax
  sub     edx, 2
  mov     rsi, r12
  mov     rdi, rsi
  call    $fib
  mov     rcx, rbx
  add     eax, ecx
  jmp     L3
L2:
  mov     rdx, rbx
  mov     rax, rdx
L3:
  mov     rbx, [rsp]
  mov     r12, [rsp+8]
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax+8]                       ; builtins.EpochCheckpoint
  movq   xmm0, rdi
  mov     r12, rdi
  call    rax                                ; EpochCheckpoint
  jmp     L1
L5:
  ud2

;; ==== fuel + epoch ====

;; $fib: 64 instructions, 234 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 48
  cmp     r10, rsp
  ja      L5
  sub     rsp, 32
  mov     [rsp], rbx
  mov     [rsp+8], r12
  mov     [rsp+16], r13
  mov     rax, r15
  lea     rcx, [rax+6]
  mov     r15, rcx
  test    rax, rax
  jge     L4
  mov     r12, rdi
L1:
  cmp     edx, 2
  mov     rbx, rdx
  jl      L2
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  mov     rax, rbx
  mov     rdx, rax
  sub     edx, 1
  mov     rsi, r12
  mov     rdi, r12
  call    $fib
  mov     r13, rax
  mov     rax, r15
  add     rax, 4
  mov     r15, rax
  mov     rdx, rbx
  sub     edx, 2
  mov     rsi, r12
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     rcx, 1
  mov     r15, rcx
  mov     rcx, r13
  add     eax, ecx
  jmp     L3
L2:
  mov     rdx, rbx
  mov     rax, rdx
L3:
  mov     rbx, [rsp]
  mov     r12, [rsp+8]
  mov     r13, [rsp+16]
  add     rsp, 32
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  movq   xmm0, rdi
  mov     r12, rdi
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 6
  mov     r15, rax
  jmp     L1
L5:
  ud2

;; ==== Live ====

;; $fib: 41 instructions, 146 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 80
  cmp     r10, rsp
  ja      L3
  sub     rsp, 64
  mov     [rsp+32], r12
  mov     [rsp+40], r13
  mov     [rsp+48], r15
  mov     [rsp], rdi
  mov     r13, rdi
  cmp     edx, 2
  jl      L1
  mov     [rsp+8], edx
  mov     rax, rdx
  sub     edx, 1
  mov     r12, rax
  mov     rsi, r13
  mov     rdi, r13
  call    $fib
  mov     [rsp+16], eax
  mov     rdx, r12
  mov     r15, rax
  sub     edx, 2
  mov     rsi, r13
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     eax, ecx
  jmp     L2
L1:
  mov     rax, rdx
L2:
  mov     r12, [rsp+32]
  mov     r13, [rsp+40]
  mov     r15, [rsp+48]
  add     rsp, 64
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== All ====

;; $fib: 41 instructions, 146 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 80
  cmp     r10, rsp
  ja      L3
  sub     rsp, 64
  mov     [rsp+32], r12
  mov     [rsp+40], r13
  mov     [rsp+48], r15
  mov     [rsp], rdi
  mov     r13, rdi
  cmp     edx, 2
  jl      L1
  mov     [rsp+8], edx
  mov     rax, rdx
  sub     edx, 1
  mov     r12, rax
  mov     rsi, r13
  mov     rdi, r13
  call    $fib
  mov     [rsp+16], eax
  mov     rdx, r12
  mov     r15, rax
  sub     edx, 2
  mov     rsi, r13
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     eax, ecx
  jmp     L2
L1:
  mov     rax, rdx
L2:
  mov     r12, [rsp+32]
  mov     r13, [rsp+40]
  mov     r15, [rsp+48]
  add     rsp, 64
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== fuel + epoch + Live ====

;; $fib: 64 instructions, 237 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 64
  cmp     r10, rsp
  ja      L5
  sub     rsp, 48
  mov     [rsp+32], rbx
  mov     [rsp+40], r12
  mov     [rsp], rdi
  mov     r12, rdi
  mov     rax, r15
  lea     rcx, [rax+6]
  mov     r15, rcx
  test    rax, rax
  jge     L4
L1:
  cmp     edx, 2
  jl      L2
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  mov     [rsp+8], edx
  mov     rax, rdx
  sub     edx, 1
  mov     rbx, rax
  mov     rsi, r12
  mov     rdi, r12
  call    $fib
  mov     rcx, r15
  add     rcx, 4
  mov     r15, rcx
  mov     [rsp+16], eax
  mov     rdx, rbx
  mov     rbx, rax
  sub     edx, 2
  mov     rsi, r12
  mov     rdi, rsi
  call    $fib
  mov     rcx, r15
  add     rcx, 1
  mov     r15, rcx
  mov     rcx, rbx
  add     eax, ecx
  jmp     L3
L2:
  mov     rax, rdx
L3:
  mov     rbx, [rsp+32]
  mov     r12, [rsp+40]
  add     rsp, 48
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     [rsp+8], edx
  mov     rax, [rsp]
  movsd  xmm0, [rsp]
  mov     rax, [rax+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 6
  mov     r15, rax
  jmp     L1
L5:
  ud2
