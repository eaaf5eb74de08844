#include "nn_kernel.h"

#if NN_KERNEL_NARROW

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/* R0 byte, DPTR word. 17 cycles a word. */
void nn_kernel_narrow(int8_t NN_IDATA *byte, const int16_t NN_XDATA *word, uint8_t n) __naked {
    __asm
    mov r0, dpl
    mov dpl, _nn_kernel_narrow_PARM_2
    mov dph, (_nn_kernel_narrow_PARM_2 + 1)
00001$:
    movx a, @dptr           ; 2
    rlc a                   ; 1  the half that rounds
    inc dptr                ; 2
    movx a, @dptr           ; 2
    inc dptr                ; 2
    addc a, #0              ; 1
    jnb ov, 00002$          ; 2
    mov a, #0x7f
00002$:
    mov @r0, a              ; 1
    inc r0                  ; 1
    djnz _nn_kernel_narrow_PARM_3, 00001$ ; 2
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
