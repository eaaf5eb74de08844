#include "nn_kernel.h"

#ifdef NN_PLANES

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * R6 and R7 hold the checksum, R2 counts, R4 and R5 hold parts of x (see nn_crc.c), R1 turns the
 * sign of upper bytes round: 38 cycles a lower byte, 40 an upper one.
 */
uint16_t nn_planes_checksum(const uint8_t NN_XDATA *at, uint16_t crc, uint8_t size,
                            uint8_t stride) __naked {
    __asm
    mov r7, _nn_planes_checksum_PARM_2
    mov r6, (_nn_planes_checksum_PARM_2 + 1)
    mov r2, _nn_planes_checksum_PARM_3
    mov a, dph
    rrc a
    clr a
    rrc a
    mov r1, a
00001$:
    movx a, @dptr
    xrl a, r1
    xrl a, r6
    mov r5, a
    swap a
    anl a, #0x0f
    xrl a, r5
    mov r5, a               ; x
    swap a
    mov r4, a
    anl a, #0xf0            ; x << 4
    xrl a, r7
    mov r6, a
    mov a, r4
    rl a
    mov r4, a
    anl a, #0x1f            ; x >> 3
    xrl a, r6
    mov r6, a
    mov a, r4
    anl a, #0xe0            ; x << 5
    xrl a, r5
    mov r7, a
    mov a, r1
    xrl a, #0x80
    mov r1, a
    jz 00002$
    inc dph                 ; to the upper byte
    djnz r2, 00001$
    sjmp 00003$
00002$:
    dec dph                 ; to the lower byte of the next number
    mov a, dpl
    add a, _nn_planes_checksum_PARM_4
    mov dpl, a
    djnz r2, 00001$
00003$:
    mov dpl, r7
    mov dph, r6
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
