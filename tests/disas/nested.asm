;; Machine code of nested.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $pairs, its loop: 12 instructions (the function: 19 instructions, 60 bytes)
L1:
  xor     r8d, r8d
L2:
  lea     ecx, [r8+1]
  mov     rdi, rsi
  imul    edi, r8d
  add     eax, edi
  cmp     ecx, edx
  jae     L3
  mov     r8, rcx
  jmp     L2
L3:
  add     esi, 1
  cmp     esi, edx
  jb      L1

;; ==== fuel ====

;; $pairs, its loop: 25 instructions (the function: 72 instructions, 267 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+2]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  xor     esi, esi
L2:
  mov     rdi, r15
  lea     r8, [rdi+13]
  mov     r15, r8
  test    rdi, rdi
  jge     slow2
  lea     edi, [rsi+1]
  mov     r8, rcx
  imul    r8d, esi
  add     eax, r8d
  cmp     edi, edx
  jae     L3
  mov     rsi, rdi
  jmp     L2
L3:
  mov     r8, r15
  add     r8, 7
  mov     r15, r8
  add     ecx, 1
  cmp     ecx, edx
  jb      L1

;; ==== epoch ====

;; $pairs, its loop: 20 instructions (the function: 53 instructions, 200 bytes)
L1:
  mov     r8, [rsi]                          ; the epoch
  mov     r9, [rcx+16]                       ; limits.epoch_deadline
  cmp     r8, r9
  jae     slow1
  xor     r8d, r8d
L2:
  mov     r9, [rsi]                          ; the epoch
  mov     r10, [rcx+16]                      ; limits.epoch_deadline
  cmp     r9, r10
  jae     slow2
  lea     r9d, [r8+1]
  mov     r10, rdi
  imul    r10d, r8d
  add     eax, r10d
  cmp     r9d, edx
  jae     L3
  mov     r8, r9
  jmp     L2
L3:
  add     edi, 1
  cmp     edi, edx
  jb      L1

;; ==== fuel + epoch ====

;; $pairs, its loop: 25 instructions (the function: 72 instructions, 267 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+2]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  xor     esi, esi
L2:
  mov     rdi, r15
  lea     r8, [rdi+13]
  mov     r15, r8
  test    rdi, rdi
  jge     slow2
  lea     edi, [rsi+1]
  mov     r8, rcx
  imul    r8d, esi
  add     eax, r8d
  cmp     edi, edx
  jae     L3
  mov     rsi, rdi
  jmp     L2
L3:
  mov     r8, r15
  add     r8, 7
  mov     r15, r8
  add     ecx, 1
  cmp     ecx, edx
  jb      L1

;; ==== Live ====

;; $pairs, its loop: 12 instructions (the function: 22 instructions, 74 bytes)
L1:
  xor     r10d, r10d
L2:
  lea     ecx, [r10+1]
  mov     rsi, r8
  imul    esi, r10d
  add     eax, esi
  cmp     ecx, edx
  jae     L3
  mov     r10, rcx
  jmp     L2
L3:
  add     r8d, 1
  cmp     r8d, edx
  jb      L1

;; ==== All ====

;; $pairs, its loop: 12 instructions (the function: 22 instructions, 74 bytes)
L1:
  xor     r10d, r10d
L2:
  lea     ecx, [r10+1]
  mov     rsi, r8
  imul    esi, r10d
  add     eax, esi
  cmp     ecx, edx
  jae     L3
  mov     r10, rcx
  jmp     L2
L3:
  add     r8d, 1
  cmp     r8d, edx
  jb      L1

;; ==== fuel + epoch + Live ====

;; $pairs, its loop: 26 instructions (the function: 83 instructions, 322 bytes)
L1:
  mov     rdi, r15
  lea     r8, [rdi+2]
  mov     r15, r8
  test    rdi, rdi
  jge     slow1
  mov     [rsp+16], esi
  mov     rdi, rcx
L2:
  mov     r8, r15
  lea     r9, [r8+13]
  mov     r15, r9
  test    r8, r8
  jge     slow2
  lea     r8d, [rdi+1]
  mov     r9, rsi
  imul    r9d, edi
  add     eax, r9d
  cmp     r8d, edx
  jae     L3
  mov     rdi, r8
  jmp     L2
L3:
  mov     rdi, r15
  add     rdi, 7
  mov     r15, rdi
  add     esi, 1
  cmp     esi, edx
  jb      L1
