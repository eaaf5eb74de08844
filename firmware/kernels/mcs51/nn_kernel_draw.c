#include "nn_kernel.h"

#if NN_KERNEL_DRAW

#include "nn_prng.h"

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R7:R6 state, R2:R1 numbers to come. 23 cycles a number.
 *
 * The byte that a rotation to the right leaves is the shift's by 7 or by 9 alike: the bit that
 * falls out of one is what goes into the other.
 */
void nn_kernel_draw(uint16_t NN_XDATA *to, uint8_t n, uint8_t many) __naked {
    __asm
    mov r6, _nn_prng_state
    mov r7, (_nn_prng_state + 1)
    mov a, _nn_kernel_draw_PARM_2
    mov b, _nn_kernel_draw_PARM_3
    mul ab
    mov r1, a
    mov r2, b
    jz 00001$
    inc r2                  ; the last, partial turn of the outer loop
00001$:
    mov a, r7               ; 1
    rrc a                   ; 1
    mov a, r6               ; 1
    rrc a                   ; 1  upper byte of x << 7; the lower is in C
    xrl a, r7               ; 1
    mov r7, a               ; 1
    rrc a                   ; 1  lower bytes of x << 7 and of the new x >> 9
    xrl a, r6               ; 1
    mov r6, a               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    xrl a, r7               ; 1
    mov r7, a               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    djnz r1, 00001$         ; 2
    djnz r2, 00001$
    mov _nn_prng_state, r6
    mov (_nn_prng_state + 1), r7
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
