#include "nn_kernel.h"

#if NN_KERNEL_DOT_S8

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * R0 x, R1 products to come, DPTR upper byte of the weight, R4:R3:R2 sum, R6:R5 stride.
 *
 * As nn_kernel_dot_u8, with both factors made positive: the product is added where their signs are
 * equal and subtracted where they are not.
 */
int32_t nn_kernel_dot_s8(const int16_t NN_XDATA *weight, const int8_t NN_IDATA *x, uint8_t n,
                         uint16_t stride) __naked {
    __asm
    mov r0, _nn_kernel_dot_s8_PARM_2
    mov r1, _nn_kernel_dot_s8_PARM_3
    mov r5, _nn_kernel_dot_s8_PARM_4
    mov r6, (_nn_kernel_dot_s8_PARM_4 + 1)
    clr a
    mov r2, a
    mov r3, a
    mov r4, a
    inc dptr                ; to the upper byte
00001$:
    mov a, @r0              ; 1
    jz 00004$               ; 2
    jb acc.7, 00005$        ; 2
    mov b, a                ; 1
    movx a, @dptr           ; 2
    jb acc.7, 00006$        ; 2
00002$:                     ; equal signs
    mul ab                  ; 4
    add a, r2               ; 1
    mov r2, a               ; 1
    mov a, b                ; 1
    addc a, r3              ; 1
    mov r3, a               ; 1
    jnc 00004$              ; 2
    inc r4                  ; (1)
00004$:
    inc r0                  ; 1
    mov a, r5               ; 1
    add a, dpl              ; 1
    mov dpl, a              ; 1
    mov a, r6               ; 1
    addc a, dph             ; 1
    mov dph, a              ; 1
    djnz r1, 00001$         ; 2
    mov dpl, r2
    mov dph, r3
    mov b, r4
    mov a, r4               ; the sign of 24 bits
    rlc a
    subb a, acc
    ret
00005$:                     ; x is negative
    cpl a                   ; 1
    inc a                   ; 1
    mov b, a                ; 1
    movx a, @dptr           ; 2
    jnb acc.7, 00007$       ; 2
    cpl a                   ; 1
    inc a                   ; 1
    sjmp 00002$             ; 2
00006$:                     ; the weight is negative
    cpl a                   ; 1
    inc a                   ; 1
00007$:                     ; signs differ
    mul ab                  ; 4
    xch a, r2               ; 1
    clr c                   ; 1
    subb a, r2              ; 1
    mov r2, a               ; 1
    mov a, r3               ; 1
    subb a, b               ; 1
    mov r3, a               ; 1
    jnc 00004$              ; 2
    dec r4                  ; (1)
    sjmp 00004$             ; (2)
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
