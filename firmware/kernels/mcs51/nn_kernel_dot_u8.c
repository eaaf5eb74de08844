#include "nn_kernel.h"

#if NN_KERNEL_DOT_U8

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * R0 x, R1 products to come, DPTR upper byte of the weight, R4:R3:R2 sum.
 *
 * The chip multiplies unsigned bytes only. A negative weight is made positive and its product
 * subtracted; that of -128 comes out as 128, as it should. A zero x costs 10 cycles, a product 26
 * or, of a negative weight, 30, and a carry into the upper byte one more.
 */
int32_t nn_kernel_dot_u8(const int16_t NN_XDATA *weight, const uint8_t NN_IDATA *x,
                         uint8_t n) __naked {
    __asm
    mov r0, _nn_kernel_dot_u8_PARM_2
    mov r1, _nn_kernel_dot_u8_PARM_3
    clr a
    mov r2, a
    mov r3, a
    mov r4, a
    inc dptr                ; to the upper byte
00001$:
    mov a, @r0              ; 1
    jz 00002$               ; 2
    mov b, a                ; 1
    movx a, @dptr           ; 2
    jb acc.7, 00003$        ; 2
    mul ab                  ; 4
    add a, r2               ; 1
    mov r2, a               ; 1
    mov a, b                ; 1
    addc a, r3              ; 1
    mov r3, a               ; 1
    jnc 00002$              ; 2
    inc r4                  ; (1)
00002$:
    inc r0                  ; 1
    inc dptr                ; 2
    inc dptr                ; 2
    djnz r1, 00001$         ; 2
    mov dpl, r2
    mov dph, r3
    mov b, r4
    mov a, r4               ; the sign of 24 bits
    rlc a
    subb a, acc
    ret
00003$:
    cpl a                   ; 1
    inc a                   ; 1
    mul ab                  ; 4
    xch a, r2               ; 1
    clr c                   ; 1
    subb a, r2              ; 1
    mov r2, a               ; 1
    mov a, r3               ; 1
    subb a, b               ; 1
    mov r3, a               ; 1
    jnc 00002$              ; 2
    dec r4                  ; (1)
    sjmp 00002$             ; (2)
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
