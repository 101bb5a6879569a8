;; Machine code of indirect.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $apply, its loop: 23 instructions (the function: 49 instructions, 171 bytes)
L1:
  mov     rcx, [rbx+56]                      ; table 0: length
  mov     r12, rsi
  and     esi, 1
  cmp     rsi, rcx
  jae     out1
  mov     rax, [rbx+48]                      ; table 0: base
  lea     rdi, [rax+rsi*8]
  cmp     rsi, rcx
  cmovae  rdi, rax
  mov     rcx, [rdi]
  mov     eax, [rcx+16]
  cmp     eax, r13d
  jne     out2
  mov     rax, [rcx]
  mov     rdi, [rcx+8]
  mov     rsi, rbx
  call    rax
  sub     r12d, 1
  test    r12d, r12d
  je      out3
  mov     rdx, rax
  mov     rsi, r12
  jmp     L1

;; ==== fuel ====

;; $apply, its loop: 34 instructions (the function: 88 instructions, 324 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+5]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     rbx, rdi
  mov     rax, [rbx+56]                      ; table 0: length
  mov     r14, rsi
  mov     rcx, r14
  and     ecx, 1
  cmp     rcx, rax
  jae     out1
  mov     rsi, [rbx+48]                      ; table 0: base
  lea     rdi, [rsi+rcx*8]
  cmp     rcx, rax
  cmovae  rdi, rsi
  mov     rax, [rdi]
  mov     ecx, [rax+16]
  cmp     ecx, r12d
  jne     out2
  mov     rcx, [rax]
  mov     rdi, [rax+8]
  mov     rsi, rbx
  call    rcx
  mov     rcx, r15
  add     rcx, 6
  mov     r15, rcx
  sub     r14d, 1
  test    r14d, r14d
  je      out3
  mov     rdx, rax
  mov     rsi, r14
  mov     rdi, rbx
  jmp     L1

;; ==== epoch ====

;; $apply, its loop: 29 instructions (the function: 77 instructions, 287 bytes)
L1:
  mov     rax, [r15]                         ; the epoch
  mov     rcx, [rbx+16]                      ; limits.epoch_deadline
  cmp     rax, rcx
  jae     slow1
  mov     r13, rdi
  mov     rcx, [r13+56]                      ; table 0: length
  mov     r14, rsi
  and     esi, 1
  cmp     rsi, rcx
  jae     out1
  mov     rax, [r13+48]                      ; table 0: base
  lea     rdi, [rax+rsi*8]
  cmp     rsi, rcx
  cmovae  rdi, rax
  mov     rcx, [rdi]
  mov     eax, [rcx+16]
  cmp     eax, r12d
  jne     out2
  mov     rax, [rcx]
  mov     rdi, [rcx+8]
  mov     rsi, r13
  call    rax
  sub     r14d, 1
  test    r14d, r14d
  je      out3
  mov     rdx, rax
  mov     rsi, r14
  mov     rdi, r13
  jmp     L1

;; ==== fuel + epoch ====

;; $apply, its loop: 34 instructions (the function: 88 instructions, 324 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+5]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     rbx, rdi
  mov     rax, [rbx+56]                      ; table 0: length
  mov     r14, rsi
  mov     rcx, r14
  and     ecx, 1
  cmp     rcx, rax
  jae     out1
  mov     rsi, [rbx+48]                      ; table 0: base
  lea     rdi, [rsi+rcx*8]
  cmp     rcx, rax
  cmovae  rdi, rsi
  mov     rax, [rdi]
  mov     ecx, [rax+16]
  cmp     ecx, r12d
  jne     out2
  mov     rcx, [rax]
  mov     rdi, [rax+8]
  mov     rsi, rbx
  call    rcx
  mov     rcx, r15
  add     rcx, 6
  mov     r15, rcx
  sub     r14d, 1
  test    r14d, r14d
  je      out3
  mov     rdx, rax
  mov     rsi, r14
  mov     rdi, rbx
  jmp     L1

;; ==== Live ====

;; $apply, its loop: 24 instructions (the function: 55 instructions, 200 bytes)
L1:
  mov     rcx, [rbx+56]                      ; table 0: length
  mov     r12, rsi
  and     esi, 1
  cmp     rsi, rcx
  jae     out1
  mov     rax, [rbx+48]                      ; table 0: base
  lea     rdi, [rax+rsi*8]
  cmp     rsi, rcx
  cmovae  rdi, rax
  mov     rcx, [rdi]
  mov     eax, [rcx+16]
  cmp     eax, r13d
  jne     out2
  mov     rax, [rcx]
  mov     rdi, [rcx+8]
  mov     [rsp+8], r12d
  mov     rsi, rbx
  call    rax
  sub     r12d, 1
  test    r12d, r12d
  je      out3
  mov     rdx, rax
  mov     rsi, r12
  jmp     L1

;; ==== All ====

;; $apply, its loop: 25 instructions (the function: 58 instructions, 212 bytes)
L1:
  mov     rcx, [rbx+56]                      ; table 0: length
  mov     r12, rsi
  and     esi, 1
  cmp     rsi, rcx
  jae     out1
  mov     rax, [rbx+48]                      ; table 0: base
  lea     rdi, [rax+rsi*8]
  cmp     rsi, rcx
  cmovae  rdi, rax
  mov     rcx, [rdi]
  mov     eax, [rcx+16]
  cmp     eax, r13d
  jne     out2
  mov     rax, [rcx]
  mov     rdi, [rcx+8]
  mov     [rsp+8], r12d
  mov     [rsp+16], edx
  mov     rsi, rbx
  call    rax
  sub     r12d, 1
  test    r12d, r12d
  je      out3
  mov     rdx, rax
  mov     rsi, r12
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $apply, its loop: 35 instructions (the function: 100 instructions, 379 bytes)
L1:
  mov     rax, r15
  lea     rcx, [rax+5]
  mov     r15, rcx
  test    rax, rax
  jge     slow1
  mov     rbx, rdi
  mov     r12, rsi
  mov     rax, [rbx+56]                      ; table 0: length
  mov     rcx, r12
  and     ecx, 1
  cmp     rcx, rax
  jae     out1
  mov     rsi, [rbx+48]                      ; table 0: base
  lea     rdi, [rsi+rcx*8]
  cmp     rcx, rax
  cmovae  rdi, rsi
  mov     rcx, [rdi]
  mov     esi, [rcx+16]
  cmp     esi, r13d
  jne     out2
  mov     r8, [rcx]
  mov     rdi, [rcx+8]
  mov     [rsp+8], r12d
  mov     rsi, rbx
  call    r8
  mov     rsi, r15
  add     rsi, 6
  mov     r15, rsi
  sub     r12d, 1
  test    r12d, r12d
  je      out3
  mov     rdx, rax
  mov     rsi, r12
  mov     rdi, rbx
  jmp     L1
