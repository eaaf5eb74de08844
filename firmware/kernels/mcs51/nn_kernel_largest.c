#include "nn_kernel.h"

#if NN_KERNEL_LARGEST

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * R7:R4 the largest so far, R3:R0 a value, DPTR its place. 31 cycles a value, 8 more if it is the
 * largest so far.
 */
int32_t nn_kernel_largest(const int32_t NN_XDATA *value, uint8_t n) __naked {
    __asm
    mov r7, #0x80
    mov r6, #0
    mov r5, #0
    mov r4, #0
00001$:
    movx a, @dptr           ; 2
    mov r0, a               ; 1
    inc dptr                ; 2
    clr c                   ; 1
    subb a, r4              ; 1
    movx a, @dptr           ; 2
    mov r1, a               ; 1
    inc dptr                ; 2
    subb a, r5              ; 1
    movx a, @dptr           ; 2
    mov r2, a               ; 1
    inc dptr                ; 2
    subb a, r6              ; 1
    movx a, @dptr           ; 2
    mov r3, a               ; 1
    inc dptr                ; 2
    subb a, r7              ; 1
    jb ov, 00004$           ; 2
    jb acc.7, 00003$        ; 2
00002$:
    mov a, r0               ; 1
    mov r4, a               ; 1
    mov a, r1               ; 1
    mov r5, a               ; 1
    mov a, r2               ; 1
    mov r6, a               ; 1
    mov a, r3               ; 1
    mov r7, a               ; 1
00003$:
    djnz _nn_kernel_largest_PARM_2, 00001$ ; 2
    mov dpl, r4
    mov dph, r5
    mov b, r6
    mov a, r7
    ret
00004$:                     ; the sign of the difference is the wrong one
    jb acc.7, 00002$
    sjmp 00003$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
