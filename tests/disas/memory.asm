;; Machine code of memory.wat, written by `STILLFRAME_BLESS=1 cargo test --workspace --test disas`.

;; ==== plain ====

;; $add, its loop: 9 instructions (the function: 15 instructions, 49 bytes)
L1:
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== fuel ====

;; $add, its loop: 14 instructions (the function: 47 instructions, 173 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+19]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== epoch ====

;; $add, its loop: 13 instructions (the function: 39 instructions, 150 bytes)
L1:
  mov     r9, [rax]                          ; the epoch
  mov     r10, [rsi+16]                      ; limits.epoch_deadline
  cmp     r9, r10
  jae     slow1
  mov     r9d, edx
  mov     r10d, [rdi+r9]                     ; memory 0
  mov     r11d, ecx
  add     r10d, [rdi+r11]                    ; memory 0
  mov     [rdi+r9], r10d                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== fuel + epoch ====

;; $add, its loop: 14 instructions (the function: 47 instructions, 173 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+19]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== Live ====

;; $add, its loop: 9 instructions (the function: 18 instructions, 61 bytes)
L1:
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== All ====

;; $add, its loop: 9 instructions (the function: 18 instructions, 61 bytes)
L1:
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1

;; ==== fuel + epoch + Live ====

;; $add, its loop: 14 instructions (the function: 54 instructions, 203 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+19]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  mov     edi, [rax+rsi]                     ; memory 0
  mov     r9d, ecx
  add     edi, [rax+r9]                      ; memory 0
  mov     [rax+rsi], edi                     ; memory 0
  add     edx, 4
  add     ecx, 4
  cmp     edx, r8d
  jb      L1
