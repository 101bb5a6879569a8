;; Machine code of counted.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $sum, its loop: 9 instructions (the function: 15 instructions, 46 bytes)
L1:
  mov     r10, rdx
  sub     r10d, 1
  mov     r9d, edx
  imul    r9, r9
  add     rax, r9
  test    r10d, r10d
  je      out1
  mov     rdx, r10
  jmp     L1

;; ==== fuel ====

;; $sum, its loop: 14 instructions (the function: 50 instructions, 180 bytes)
L1:
  mov     rcx, r15
  lea     rsi, [rcx+13]
  mov     r15, rsi
  test    rcx, rcx
  jge     slow1
  mov     rcx, rdx
  sub     ecx, 1
  mov     edx, edx
  imul    rdx, rdx
  add     rax, rdx
  test    ecx, ecx
  je      out1
  mov     rdx, rcx
  jmp     L1

;; ==== epoch ====

;; $sum, its loop: 13 instructions (the function: 39 instructions, 139 bytes)
L1:
  mov     rdi, [rsi]                         ; the epoch
  mov     r8, [rcx+16]                       ; limits.epoch_deadline
  cmp     rdi, r8
  jae     slow1
  mov     rdi, rdx
  sub     edi, 1
  mov     edx, edx
  imul    rdx, rdx
  add     rax, rdx
  test    edi, edi
  je      out1
  mov     rdx, rdi
  jmp     L1

;; ==== fuel + epoch ====

;; $sum, its loop: 14 instructions (the function: 50 instructions, 180 bytes)
L1:
  mov     rcx, r15
  lea     rsi, [rcx+13]
  mov     r15, rsi
  test    rcx, rcx
  jge     slow1
  mov     rcx, rdx
  sub     ecx, 1
  mov     edx, edx
  imul    rdx, rdx
  add     rax, rdx
  test    ecx, ecx
  je      out1
  mov     rdx, rcx
  jmp     L1

;; ==== Live ====

;; $sum, its loop: 9 instructions (the function: 18 instructions, 56 bytes)
L1:
  mov     rcx, rdx
  sub     ecx, 1
  mov     r11d, edx
  imul    r11, r11
  add     rax, r11
  test    ecx, ecx
  je      out1
  mov     rdx, rcx
  jmp     L1

;; ==== All ====

;; $sum, its loop: 9 instructions (the function: 18 instructions, 56 bytes)
L1:
  mov     rcx, rdx
  sub     ecx, 1
  mov     r11d, edx
  imul    r11, r11
  add     rax, r11
  test    ecx, ecx
  je      out1
  mov     rdx, rcx
  jmp     L1

;; ==== fuel + epoch + Live ====

;; $sum, its loop: 14 instructions (the function: 55 instructions, 206 bytes)
L1:
  mov     rcx, r15
  lea     rsi, [rcx+13]
  mov     r15, rsi
  test    rcx, rcx
  jge     slow1
  mov     rcx, rdx
  sub     ecx, 1
  mov     edx, edx
  imul    rdx, rdx
  add     rax, rdx
  test    ecx, ecx
  je      out1
  mov     rdx, rcx
  jmp     L1
