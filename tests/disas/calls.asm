;; Machine code of calls.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $sum, its loop: 11 instructions (the function: 38 instructions, 135 bytes)
L1:
  mov     rcx, r12
  mov     rdx, r13
  mov     rsi, r14
  mov     rdi, r14
  call    $gcd
  add     r12d, 1
  mov     rcx, r15
  add     ecx, eax
  mov     r15, rcx
  cmp     r12d, r13d
  jb      L1

;; $gcd: 24 instructions, 75 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 16
  cmp     r10, rsp
  ja      L3
  mov     r11, rdx
  test    ecx, ecx
  je      L1
  xor     rdx, rdx
  mov     rax, r11
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L2
L1:
  mov     rax, r11
L2:
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== fuel ====

;; $sum, its loop: 22 instructions (the function: 78 instructions, 293 bytes)
L1:
  mov     rcx, r15
  lea     rax, [rcx+4]
  mov     r15, rax
  test    rcx, rcx
  jge     slow1
  mov     r12, rdx
  mov     rcx, rbx
  mov     rdx, r12
  mov     rsi, r13
  mov     rdi, r13
  call    $gcd
  mov     rcx, r15
  add     rcx, 10
  mov     r15, rcx
  add     ebx, 1
  mov     r10, r14
  add     r10d, eax
  mov     r14, r10
  cmp     ebx, r12d
  jae     out1
  mov     rdx, r12
  jmp     L1

;; $gcd: 41 instructions, 142 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 16
  cmp     r10, rsp
  ja      L5
  mov     rsi, rdx
  mov     rax, r15
  lea     rdx, [rax+5]
  mov     r15, rdx
  test    rax, rax
  jge     L4
L1:
  test    ecx, ecx
  je      L2
  mov     rax, r15
  add     rax, 4
  mov     r15, rax
  xor     rdx, rdx
  mov     rax, rsi
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L3
L2:
  mov     rax, rsi
L3:
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  movq   xmm0, rdi
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 5
  mov     r15, rax
  jmp     L1
L5:
  ud2

;; ==== epoch ====

;; $sum, its loop: 18 instructions (the function: 66 instructions, 261 bytes)
L1:
  mov     rcx, [r12]                         ; the epoch
  mov     rax, [rbx+16]                      ; limits.epoch_deadline
  cmp     rcx, rax
  jae     slow1
  mov     r14, rdx
  mov     rcx, r13
  mov     rdx, r14
  mov     rsi, r15
  mov     rdi, r15
  call    $gcd
  add     r13d, 1
  mov     rcx, [rsp+8]
  add     ecx, eax
  mov     [rsp+8], rcx
  cmp     r13d, r14d
  jae     out1
  mov     rdx, r14
  jmp     L1

;; $gcd: 35 instructions, 119 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 16
  cmp     r10, rsp
  ja      L5
  mov     rsi, rdx
  mov     rax, [rdi+24]                      ; vmctx.epoch
  mov     rax, [rax]                         ; the epoch
  mov     rdx, [rdi+8]                       ; vmctx.limits
  mov     rdx, [rdx+16]                      ; limits.epoch_deadline
  cmp     rax, rdx
  jae     L4
L1:
  test    ecx, ecx
  je      L2
  xor     rdx, rdx
  mov     rax, rsi
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L3
L2:
  mov     rax, rsi
L3:
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax+8]                       ; builtins.EpochCheckpoint
  movq   xmm0, rdi
  call    rax                                ; EpochCheckpoint
  jmp     L1
L5:
  ud2

;; ==== fuel + epoch ====

;; $sum, its loop: 22 instructions (the function: 78 instructions, 293 bytes)
L1:
  mov     rcx, r15
  lea     rax, [rcx+4]
  mov     r15, rax
  test    rcx, rcx
  jge     slow1
  mov     r12, rdx
  mov     rcx, rbx
  mov     rdx, r12
  mov     rsi, r13
  mov     rdi, r13
  call    $gcd
  mov     rcx, r15
  add     rcx, 10
  mov     r15, rcx
  add     ebx, 1
  mov     r10, r14
  add     r10d, eax
  mov     r14, r10
  cmp     ebx, r12d
  jae     out1
  mov     rdx, r12
  jmp     L1

;; $gcd: 41 instructions, 142 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 16
  cmp     r10, rsp
  ja      L5
  mov     rsi, rdx
  mov     rax, r15
  lea     rdx, [rax+5]
  mov     r15, rdx
  test    rax, rax
  jge     L4
L1:
  test    ecx, ecx
  je      L2
  mov     rax, r15
  add     rax, 4
  mov     r15, rax
  xor     rdx, rdx
  mov     rax, rsi
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L3
L2:
  mov     rax, rsi
L3:
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     rax, [rdi+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  movq   xmm0, rdi
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 5
  mov     r15, rax
  jmp     L1
L5:
  ud2

;; ==== Live ====

;; $sum, its loop: 16 instructions (the function: 44 instructions, 162 bytes)
L1:
  mov     [rsp+16], r12d
  mov     rax, r14
  mov     [rsp+24], eax
  mov     rbx, rdx
  mov     rcx, r12
  mov     rsi, r13
  mov     rdi, r13
  call    $gcd
  add     r12d, 1
  mov     rcx, r14
  add     eax, ecx
  mov     r14, rax
  cmp     r12d, ebx
  jae     out1
  mov     rdx, rbx
  jmp     L1

;; $gcd: 27 instructions, 87 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 32
  cmp     r10, rsp
  ja      L3
  sub     rsp, 16
  mov     r11, rdx
  mov     [rsp], rdi
  test    ecx, ecx
  je      L1
  xor     rdx, rdx
  mov     rax, r11
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L2
L1:
  mov     rax, r11
L2:
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== All ====

;; $sum, its loop: 17 instructions (the function: 45 instructions, 166 bytes)
L1:
  mov     [rsp+16], r12d
  mov     rax, r14
  mov     [rsp+24], eax
  mov     [rsp+32], eax
  mov     rbx, rdx
  mov     rcx, r12
  mov     rsi, r13
  mov     rdi, r13
  call    $gcd
  add     r12d, 1
  mov     rcx, r14
  add     eax, ecx
  mov     r14, rax
  cmp     r12d, ebx
  jae     out1
  mov     rdx, rbx
  jmp     L1

;; $gcd: 30 instructions, 98 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 48
  cmp     r10, rsp
  ja      L3
  sub     rsp, 32
  mov     rsi, rdx
  mov     [rsp], rdi
  test    ecx, ecx
  je      L1
  xor     rdx, rdx
  mov     rax, rsi
  div     ecx
  mov     rax, rsi
  mov     [rsp+8], eax
  mov     [rsp+16], ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L2
L1:
  mov     rax, rsi
L2:
  add     rsp, 32
  mov     rsp, rbp
  pop     rbp
  ret
L3:
  ud2

;; ==== fuel + epoch + Live ====

;; $sum, its loop: 24 instructions (the function: 85 instructions, 330 bytes)
L1:
  mov     rcx, r15
  lea     rdx, [rcx+4]
  mov     r15, rdx
  test    rcx, rcx
  jge     slow1
  mov     [rsp+16], ebx
  mov     [rsp+32], eax
  mov     r14, rax
  mov     rcx, rbx
  mov     rdx, r12
  mov     rsi, r13
  mov     rdi, r13
  call    $gcd
  mov     rcx, r15
  add     rcx, 10
  mov     r15, rcx
  add     ebx, 1
  mov     rcx, r14
  add     ecx, eax
  mov     r14, rcx
  cmp     ebx, r12d
  jae     out1
  mov     rax, r14
  jmp     L1

;; $gcd: 48 instructions, 169 bytes
  push    rbp
  mov     rbp, rsp
  mov     r10, [rdi+8]                       ; vmctx.limits
  mov     r10, [r10]                         ; limits.stack_limit
  add     r10, 48
  cmp     r10, rsp
  ja      L5
  sub     rsp, 32
  mov     [rsp], rdi
  mov     rax, r15
  lea     rsi, [rax+5]
  mov     r15, rsi
  test    rax, rax
  jge     L4
  mov     rsi, rdx
L1:
  test    ecx, ecx
  je      L2
  mov     rax, r15
  add     rax, 4
  mov     r15, rax
  xor     rdx, rdx
  mov     rax, rsi
  div     ecx
  mov     rsi, rdi
  mov     rax, rcx
  mov     rcx, rdx
  mov     rdx, rax
  call    $gcd
  jmp     L3
L2:
  mov     rax, rsi
L3:
  add     rsp, 32
  mov     rsp, rbp
  pop     rbp
  ret
L4:
  mov     r15, rax
  mov     [rsp+8], edx
  mov     rsi, rdx
  mov     [rsp+16], ecx
  mov     rax, [rsp]
  movsd  xmm0, [rsp]
  mov     rax, [rax+16]                      ; vmctx.builtins
  mov     rax, [rax]                         ; builtins.Checkpoint
  call    rax                                ; Checkpoint
  mov     rax, r15
  add     rax, 5
  mov     r15, rax
  jmp     L1
L5:
  ud2
