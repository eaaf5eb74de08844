#include "nn_kernel.h"

#if NN_KERNEL_SQUARES

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * DPTR value, R3:R2 its magnitude, R1:R0:R4 its square without the lowest byte, R7:R6:R5 sum. A
 * shift by 16 less the factor's is a product of which the lowest byte falls away. 111 cycles a
 * value.
 */
int32_t nn_kernel_squares(const int16_t NN_XDATA *value, uint8_t n, uint8_t factor) __naked {
    __asm
    clr a
    mov r5, a
    mov r6, a
    mov r7, a
00001$:
    movx a, @dptr           ; 2
    mov r2, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    inc dptr                ; 2
    jnb acc.7, 00002$       ; 2
    cpl a                   ; 1
    xch a, r2               ; 1
    cpl a                   ; 1
    add a, #1               ; 1
    xch a, r2               ; 1
    addc a, #0              ; 1
00002$:
    mov r3, a               ; 1
    mov a, r2               ; 1
    mov b, a                ; 1
    mul ab                  ; 4
    mov r4, b               ; 2
    mov a, r2               ; 1
    mov b, r3               ; 2
    mul ab                  ; 4
    clr c                   ; 1
    rlc a                   ; 1
    xch a, b                ; 1
    rlc a                   ; 1
    mov r0, a               ; 1
    clr a                   ; 1
    rlc a                   ; 1
    mov r1, a               ; 1
    mov a, b                ; 1
    add a, r4               ; 1
    mov r4, a               ; 1
    clr a                   ; 1
    addc a, r0              ; 1
    mov r0, a               ; 1
    clr a                   ; 1
    addc a, r1              ; 1
    mov r1, a               ; 1
    mov a, r3               ; 1
    mov b, a                ; 1
    mul ab                  ; 4
    add a, r0               ; 1
    mov r0, a               ; 1
    mov a, b                ; 1
    addc a, r1              ; 1
    mov b, _nn_kernel_squares_PARM_3 ; 2
    mul ab                  ; 4
    mov r1, a               ; 1
    mov r3, b               ; 2
    mov a, r0               ; 1
    mov b, _nn_kernel_squares_PARM_3 ; 2
    mul ab                  ; 4
    mov r0, a               ; 1
    mov a, b                ; 1
    orl a, r1               ; 1
    mov r1, a               ; 1
    mov a, r4               ; 1
    mov b, _nn_kernel_squares_PARM_3 ; 2
    mul ab                  ; 4
    mov a, b                ; 1
    orl a, r0               ; 1
    add a, r5               ; 1
    mov r5, a               ; 1
    mov a, r1               ; 1
    addc a, r6              ; 1
    mov r6, a               ; 1
    mov a, r3               ; 1
    addc a, r7              ; 1
    mov r7, a               ; 1
    djnz _nn_kernel_squares_PARM_2, 00001$ ; 2
    mov dpl, r5
    mov dph, r6
    mov b, r7
    clr a
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
