#include "nn_kernel.h"

#if NN_KERNEL_SLOPE

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * R3:R2 |gradient|, R7:R4 product. 2^13, which rounds, is one less where the gradient is negative:
 * halves are rounded up. 95 cycles.
 */
int16_t nn_kernel_slope(int16_t gradient, uint16_t slope) __naked {
    __asm
    mov r4, #0
    mov r5, #0x20
    mov r2, dpl
    mov a, dph
    mov c, acc.7
    mov f0, c
    jnc 00001$
    clr c
    clr a
    subb a, r2
    mov r2, a
    clr a
    subb a, dph
    dec r4
    dec r5
00001$:
    mov r3, a
    mov b, _nn_kernel_slope_PARM_2
    mov a, r2
    mul ab
    add a, r4
    mov a, b
    addc a, r5
    mov r5, a
    clr a
    rlc a
    mov r6, a
    mov b, _nn_kernel_slope_PARM_2
    mov a, r3
    mul ab
    add a, r5
    mov r5, a
    mov a, b
    addc a, r6
    mov r6, a
    mov b, (_nn_kernel_slope_PARM_2 + 1)
    mov a, r2
    mul ab
    add a, r5
    mov r5, a
    mov a, b
    addc a, r6
    mov r6, a
    clr a
    rlc a
    mov r7, a
    mov b, (_nn_kernel_slope_PARM_2 + 1)
    mov a, r3
    mul ab
    add a, r6
    mov r6, a
    mov a, b
    addc a, r7
    mov r7, a
    mov r2, #2              ; >> 14 is << 2 and two bytes less
00002$:
    mov a, r5
    rlc a
    mov r5, a
    mov a, r6
    rlc a
    mov r6, a
    mov a, r7
    rlc a
    mov r7, a
    djnz r2, 00002$
    mov dpl, r6
    mov dph, r7
    jnb f0, 00003$
    clr c
    clr a
    subb a, dpl
    mov dpl, a
    clr a
    subb a, dph
    mov dph, a
00003$:
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
