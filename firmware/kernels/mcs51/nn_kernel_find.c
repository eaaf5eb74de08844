#include "nn_kernel.h"

#if NN_KERNEL_FIND

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/* R7 index, DPTR a value's place. Mostly 15 cycles a value. */
uint8_t nn_kernel_find(const int32_t NN_XDATA *value, int32_t wanted, uint8_t last,
                       uint8_t n) __naked {
    __asm
    mov r7, #0
00001$:
    movx a, @dptr           ; 2
    inc dptr                ; 2
    cjne a, _nn_kernel_find_PARM_2, 00004$ ; 2
    movx a, @dptr
    inc dptr
    cjne a, (_nn_kernel_find_PARM_2 + 1), 00005$
    movx a, @dptr
    inc dptr
    cjne a, (_nn_kernel_find_PARM_2 + 2), 00006$
    movx a, @dptr
    inc dptr
    cjne a, (_nn_kernel_find_PARM_2 + 3), 00007$
    mov a, r7
    clr c
    subb a, _nn_kernel_find_PARM_3
    jnc 00003$
    mov dpl, r7
    ret
00003$:
    mov dpl, _nn_kernel_find_PARM_3
    ret
00004$:
    inc dptr                ; 2
00005$:
    inc dptr                ; 2
00006$:
    inc dptr                ; 2
00007$:
    inc r7                  ; 1
    djnz _nn_kernel_find_PARM_4, 00001$ ; 2
    sjmp 00003$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
