;; Machine code of dispatch.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $interpret, its loop: 19 instructions (the function: 26 instructions, 94 bytes)
L1:
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     rdi, [table]
  movsxd  rsi, [rdi+rsi*4]
  add     rdi, rsi
  jmp     rdi                                ; L4, L3, L2, out1
L2:
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== fuel ====

;; $interpret, its loop: 33 instructions (the function: 70 instructions, 270 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+9]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     rdi, [table]
  movsxd  rsi, [rdi+rsi*4]
  add     rdi, rsi
  jmp     rdi                                ; L4, L3, L2, out1
L2:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== epoch ====

;; $interpret, its loop: 23 instructions (the function: 50 instructions, 197 bytes)
L1:
  mov     r8, [rsi]                          ; the epoch
  mov     r9, [rcx+16]                       ; limits.epoch_deadline
  cmp     r8, r9
  jae     slow1
  mov     r8d, edx
  movzx   r9, byte ptr [rdi+r8]              ; memory 0
  mov     r8d, 3
  mov     r9d, r9d
  cmp     r9d, r8d
  cmovb   r8d, r9d
  lea     r9, [table]
  movsxd  r8, [r9+r8*4]
  add     r9, r8
  jmp     r9                                 ; L4, L3, L2, out1
L2:
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== fuel + epoch ====

;; $interpret, its loop: 33 instructions (the function: 70 instructions, 270 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+9]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     rdi, [table]
  movsxd  rsi, [rdi+rsi*4]
  add     rdi, rsi
  jmp     rdi                                ; L4, L3, L2, out1
L2:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== Live ====

;; $interpret, its loop: 19 instructions (the function: 29 instructions, 106 bytes)
L1:
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     rdi, [table]
  movsxd  rsi, [rdi+rsi*4]
  add     rdi, rsi
  jmp     rdi                                ; L4, L3, L2, out1
L2:
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== All ====

;; $interpret, its loop: 19 instructions (the function: 29 instructions, 106 bytes)
L1:
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     rdi, [table]
  movsxd  rsi, [rdi+rsi*4]
  add     rdi, rsi
  jmp     rdi                                ; L4, L3, L2, out1
L2:
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  add     edx, 1
  add     eax, 1
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $interpret, its loop: 33 instructions (the function: 75 instructions, 295 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+9]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  movzx   rdi, byte ptr [rcx+rsi]            ; memory 0
  mov     esi, 3
  mov     edi, edi
  cmp     edi, esi
  cmovb   esi, edi
  lea     r8, [table]
  movsxd  rdi, [r8+rsi*4]
  add     r8, rdi
  jmp     r8                                 ; L4, L3, L2, out1
L2:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  add     eax, eax
  jmp     L1
L3:
  mov     rsi, r15
  add     rsi, 5
  mov     r15, rsi
  add     edx, 1
  sub     eax, 1
  jmp     L1
L4:
  mov     rdi, r15
  add     rdi, 5
  mov     r15, rdi
  add     edx, 1
  add     eax, 1
  jmp     L1
