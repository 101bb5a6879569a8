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

;; $bump, its loop: 7 instructions (the function: 13 instructions, 46 bytes)
L1:
  mov     r10d, edx
  mov     r11d, 1
  add     r11d, [r9+r10+8]                   ; memory 0
  mov     [r9+r10+8], r11d                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 12 instructions (the function: 45 instructions, 166 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+21]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  mov     edi, 1
  add     edi, [rax+rsi+8]                   ; memory 0
  mov     [rax+rsi+8], edi                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 11 instructions (the function: 37 instructions, 144 bytes)
L1:
  mov     r8, [rax]                          ; the epoch
  mov     r9, [rsi+16]                       ; limits.epoch_deadline
  cmp     r8, r9
  jae     slow1
  mov     r8d, edx
  mov     r9d, 1
  add     r9d, [rdi+r8+8]                    ; memory 0
  mov     [rdi+r8+8], r9d                    ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 12 instructions (the function: 45 instructions, 166 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+21]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     esi, edx
  mov     edi, 1
  add     edi, [rax+rsi+8]                   ; memory 0
  mov     [rax+rsi+8], edi                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 9 instructions (the function: 19 instructions, 68 bytes)
L1:
  mov     [rsp+16], edx
  mov     [rsp+24], edx
  mov     eax, edx
  mov     esi, 1
  add     esi, [r11+rax+8]                   ; memory 0
  mov     [r11+rax+8], esi                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 9 instructions (the function: 19 instructions, 68 bytes)
L1:
  mov     [rsp+16], edx
  mov     [rsp+24], edx
  mov     eax, edx
  mov     esi, 1
  add     esi, [r11+rax+8]                   ; memory 0
  mov     [r11+rax+8], esi                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1

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

;; $bump, its loop: 14 instructions (the function: 52 instructions, 194 bytes)
L1:
  mov     rsi, r15
  lea     rdi, [rsi+21]
  mov     r15, rdi
  test    rsi, rsi
  jge     slow1
  mov     [rsp+8], edx
  mov     [rsp+24], edx
  mov     esi, edx
  mov     edi, 1
  add     edi, [rax+rsi+8]                   ; memory 0
  mov     [rax+rsi+8], edi                   ; memory 0
  add     edx, 12
  cmp     edx, ecx
  jb      L1
