;; Machine code of accessor.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $count: 8 instructions, 19 bytes
  push    rbp
  mov     rbp, rsp
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     eax, [rsi+rdi+8]                   ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 8 instructions, 19 bytes
  push    rbp
  mov     rbp, rsp
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     [rsi+rdi+8], ecx                   ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 15 instructions (the function: 37 instructions, 134 bytes)
L1:
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $count
  lea     ecx, [rax+1]
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $set_count
  add     r12d, 12
  mov     rcx, r13
  cmp     r12d, ecx
  jae     out1
  mov     r13, rcx
  jmp     L1

;; ==== fuel ====

;; $count: 11 instructions, 34 bytes
  push    rbp
  mov     rbp, rsp
  mov     r8, r15
  add     r8, 3
  mov     r15, r8
  mov     r8, [rdi+48]                       ; memory 0: base
  mov     r9d, edx
  mov     eax, [r8+r9+8]                     ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 11 instructions, 34 bytes
  push    rbp
  mov     rbp, rsp
  mov     r8, r15
  add     r8, 4
  mov     r15, r8
  mov     r8, [rdi+48]                       ; memory 0: base
  mov     r9d, edx
  mov     [r8+r9+8], ecx                     ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 28 instructions (the function: 95 instructions, 355 bytes)
L1:
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  cmp     rax, 3
  jge     slow1
  mov     rbx, rsi
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $count
  mov     rcx, r15
  add     rcx, 3
  mov     r15, rcx
  lea     ecx, [rax+1]
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $set_count
  mov     rcx, r15
  add     rcx, 8
  mov     r15, rcx
  add     ebx, 12
  mov     rcx, r12
  cmp     ebx, ecx
  jae     out1
  mov     rsi, rbx
  mov     r12, rcx
  jmp     L1

;; ==== epoch ====

;; $count: 8 instructions, 19 bytes
  push    rbp
  mov     rbp, rsp
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     eax, [rsi+rdi+8]                   ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 8 instructions, 19 bytes
  push    rbp
  mov     rbp, rsp
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     [rsi+rdi+8], ecx                   ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 21 instructions (the function: 68 instructions, 263 bytes)
L1:
  mov     rax, [rbx]                         ; the epoch
  mov     rcx, [r12+16]                      ; limits.epoch_deadline
  cmp     rax, rcx
  jae     slow1
  mov     r13, rdx
  mov     rdx, r13
  mov     rsi, r15
  mov     rdi, r15
  call    $count
  lea     ecx, [rax+1]
  mov     rdx, r13
  mov     rsi, r15
  mov     rdi, r15
  call    $set_count
  add     r13d, 12
  mov     rcx, r14
  cmp     r13d, ecx
  jae     out1
  mov     rdx, r13
  mov     r14, rcx
  jmp     L1

;; ==== fuel + epoch ====

;; $count: 11 instructions, 34 bytes
  push    rbp
  mov     rbp, rsp
  mov     r8, r15
  add     r8, 3
  mov     r15, r8
  mov     r8, [rdi+48]                       ; memory 0: base
  mov     r9d, edx
  mov     eax, [r8+r9+8]                     ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 11 instructions, 34 bytes
  push    rbp
  mov     rbp, rsp
  mov     r8, r15
  add     r8, 4
  mov     r15, r8
  mov     r8, [rdi+48]                       ; memory 0: base
  mov     r9d, edx
  mov     [r8+r9+8], ecx                     ; memory 0
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 28 instructions (the function: 95 instructions, 355 bytes)
L1:
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  cmp     rax, 3
  jge     slow1
  mov     rbx, rsi
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $count
  mov     rcx, r15
  add     rcx, 3
  mov     r15, rcx
  lea     ecx, [rax+1]
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $set_count
  mov     rcx, r15
  add     rcx, 8
  mov     r15, rcx
  add     ebx, 12
  mov     rcx, r12
  cmp     ebx, ecx
  jae     out1
  mov     rsi, rbx
  mov     r12, rcx
  jmp     L1

;; ==== Live ====

;; $count: 11 instructions, 31 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     eax, [rsi+rdi+8]                   ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 11 instructions, 31 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     [rsi+rdi+8], ecx                   ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 17 instructions (the function: 41 instructions, 154 bytes)
L1:
  mov     [rsp+16], r12d
  mov     [rsp+24], r12d
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $count
  lea     ecx, [rax+1]
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $set_count
  add     r12d, 12
  mov     rcx, r13
  cmp     r12d, ecx
  jae     out1
  mov     r13, rcx
  jmp     L1

;; ==== All ====

;; $count: 11 instructions, 31 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     eax, [rsi+rdi+8]                   ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 11 instructions, 31 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     rsi, [rdi+48]                      ; memory 0: base
  mov     edi, edx
  mov     [rsi+rdi+8], ecx                   ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 17 instructions (the function: 41 instructions, 154 bytes)
L1:
  mov     [rsp+16], r12d
  mov     [rsp+24], r12d
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $count
  lea     ecx, [rax+1]
  mov     rdx, r12
  mov     rsi, r14
  mov     rdi, r14
  call    $set_count
  add     r12d, 12
  mov     rcx, r13
  cmp     r12d, ecx
  jae     out1
  mov     r13, rcx
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $count: 14 instructions, 46 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     r8, r15
  add     r8, 3
  mov     r15, r8
  mov     r9, [rdi+48]                       ; memory 0: base
  mov     r10d, edx
  mov     eax, [r9+r10+8]                    ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $set_count: 14 instructions, 46 bytes
  push    rbp
  mov     rbp, rsp
  sub     rsp, 16
  mov     [rsp], rdi
  mov     r8, r15
  add     r8, 4
  mov     r15, r8
  mov     r9, [rdi+48]                       ; memory 0: base
  mov     r10d, edx
  mov     [r9+r10+8], ecx                    ; memory 0
  add     rsp, 16
  mov     rsp, rbp
  pop     rbp
  ret

;; $bump, its loop: 30 instructions (the function: 102 instructions, 383 bytes)
L1:
  mov     rax, r15
  add     rax, 3
  mov     r15, rax
  cmp     rax, 3
  jge     slow1
  mov     rbx, rdi
  mov     [rsp+8], ebx
  mov     [rsp+24], ebx
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $count
  mov     rsi, r15
  add     rsi, 3
  mov     r15, rsi
  lea     ecx, [rax+1]
  mov     rdx, rbx
  mov     rsi, r13
  mov     rdi, r13
  call    $set_count
  mov     r8, r15
  add     r8, 8
  mov     r15, r8
  add     ebx, 12
  mov     rcx, r12
  cmp     ebx, ecx
  jae     out1
  mov     rdi, rbx
  mov     r12, rcx
  jmp     L1
