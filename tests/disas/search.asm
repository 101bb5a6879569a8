;; Machine code of search.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $find, its loop: 10 instructions (the function: 18 instructions, 66 bytes)
L1:
  mov     esi, edx
  movzx   rsi, byte ptr [rax+rsi]            ; memory 0
  cmp     esi, r8d
  je      out1
  cmp     esi, r8d
  jbe     L2
  add     r9d, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  jne     L1

;; ==== fuel ====

;; $find, its loop: 18 instructions (the function: 60 instructions, 230 bytes)
L1:
  mov     rdi, r15
  lea     r9, [rdi+19]
  mov     r15, r9
  test    rdi, rdi
  jge     slow1
  mov     edi, edx
  movzx   rdi, byte ptr [rsi+rdi]            ; memory 0
  cmp     edi, r8d
  je      out1
  cmp     edi, r8d
  jbe     L2
  mov     rdi, r15
  add     rdi, 4
  mov     r15, rdi
  add     eax, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  jne     L1

;; ==== epoch ====

;; $find, its loop: 14 instructions (the function: 42 instructions, 163 bytes)
L1:
  mov     rdi, [rax]                         ; the epoch
  mov     r11, [rsi+16]                      ; limits.epoch_deadline
  cmp     rdi, r11
  jae     slow1
  mov     edi, edx
  movzx   rdi, byte ptr [r9+rdi]             ; memory 0
  cmp     edi, r8d
  je      out1
  cmp     edi, r8d
  jbe     L2
  add     r10d, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  jne     L1

;; ==== fuel + epoch ====

;; $find, its loop: 18 instructions (the function: 60 instructions, 230 bytes)
L1:
  mov     rdi, r15
  lea     r9, [rdi+19]
  mov     r15, r9
  test    rdi, rdi
  jge     slow1
  mov     edi, edx
  movzx   rdi, byte ptr [rsi+rdi]            ; memory 0
  cmp     edi, r8d
  je      out1
  cmp     edi, r8d
  jbe     L2
  mov     rdi, r15
  add     rdi, 4
  mov     r15, rdi
  add     eax, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  jne     L1

;; ==== Live ====

;; $find, its loop: 13 instructions (the function: 25 instructions, 90 bytes)
L1:
  mov     esi, edx
  movzx   rdi, byte ptr [rax+rsi]            ; memory 0
  mov     rsi, r9
  cmp     edi, esi
  je      out1
  cmp     edi, esi
  jbe     L2
  add     r8d, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  je      out1
  mov     r9, rsi
  jmp     L1

;; ==== All ====

;; $find, its loop: 13 instructions (the function: 25 instructions, 90 bytes)
L1:
  mov     esi, edx
  movzx   rdi, byte ptr [rax+rsi]            ; memory 0
  mov     rsi, r9
  cmp     edi, esi
  je      out1
  cmp     edi, esi
  jbe     L2
  add     r8d, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  je      out1
  mov     r9, rsi
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $find, its loop: 18 instructions (the function: 69 instructions, 272 bytes)
L1:
  mov     rdi, r15
  lea     r9, [rdi+19]
  mov     r15, r9
  test    rdi, rdi
  jge     slow1
  mov     edi, edx
  movzx   rdi, byte ptr [rsi+rdi]            ; memory 0
  cmp     edi, r8d
  je      out1
  cmp     edi, r8d
  jbe     L2
  mov     rdi, r15
  add     rdi, 4
  mov     r15, rdi
  add     eax, 1
L2:
  add     edx, 1
  cmp     edx, ecx
  jne     L1
