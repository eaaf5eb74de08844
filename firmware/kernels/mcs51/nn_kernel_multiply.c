#include "nn_kernel.h"

#if NN_KERNEL_MULTIPLY

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/* R2 and A |word|, B:DPH:DPL product of the magnitudes. 45 cycles, 65 if word is negative. */
int32_t nn_kernel_multiply(int16_t word, uint8_t byte) __naked {
    __asm
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
00001$:
    mov b, _nn_kernel_multiply_PARM_2
    mul ab
    mov r3, a
    mov r4, b
    mov a, r2
    mov b, _nn_kernel_multiply_PARM_2
    mul ab
    mov dpl, a
    mov a, b
    add a, r3
    mov dph, a
    clr a
    addc a, r4
    mov b, a
    clr a
    jnb f0, 00002$
    clr c
    subb a, dpl
    mov dpl, a
    clr a
    subb a, dph
    mov dph, a
    clr a
    subb a, b
    mov b, a
    subb a, acc             ; the sign of 24 bits
00002$:
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
