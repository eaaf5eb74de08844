#include "nn_kernel.h"

#if NN_KERNEL_ADD

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * DPTR and R6:R5 weight and velocity by turns, R1 velocities to come, R3:R2 velocity.
 *
 * A zero velocity costs 21 cycles, others 43.
 */
void nn_kernel_add(int16_t NN_XDATA *weight, const int16_t NN_XDATA *velocity, uint8_t n) __naked {
    __asm
    mov r5, dpl
    mov r6, dph
    mov dpl, _nn_kernel_add_PARM_2
    mov dph, (_nn_kernel_add_PARM_2 + 1)
    mov r1, _nn_kernel_add_PARM_3
00001$:
    movx a, @dptr           ; 2
    mov r2, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    mov r3, a               ; 1
    inc dptr                ; 2
    orl a, r2               ; 1
    jz 00003$               ; 2
    mov a, dpl              ; 1
    xch a, r5               ; 1
    mov dpl, a              ; 1
    mov a, dph              ; 1
    xch a, r6               ; 1
    mov dph, a              ; 1
    movx a, @dptr           ; 2
    add a, r2               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    addc a, r3              ; 1
    jb ov, 00004$           ; 2
00002$:
    movx @dptr, a           ; 2
    inc dptr                ; 2
    mov a, dpl              ; 1
    xch a, r5               ; 1
    mov dpl, a              ; 1
    mov a, dph              ; 1
    xch a, r6               ; 1
    mov dph, a              ; 1
    djnz r1, 00001$         ; 2
    ret
00003$:
    mov a, r5               ; 1
    add a, #2               ; 1
    mov r5, a               ; 1
    clr a                   ; 1
    addc a, r6              ; 1
    mov r6, a               ; 1
    djnz r1, 00001$         ; 2
    ret
00004$:                     ; beyond the end to which the velocity points
    mov a, dpl
    jnz 00005$
    dec dph
00005$:
    dec dpl
    mov a, r3
    rlc a
    subb a, acc             ; 255 if the velocity is negative
    mov r4, a
    cpl a
    movx @dptr, a
    inc dptr
    mov a, r4
    xrl a, #0x7f
    sjmp 00002$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
