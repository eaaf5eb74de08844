#include "nn_kernel.h"

#if NN_KERNEL_UPDATE_S8 || NN_KERNEL_GATHER_S8

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R0 x, R1 weights to come, DPTR weight, R6:R5 |factor|, R7 dither, R4:R3 step, R2 mask; the
 * argument's lower byte keeps the mask of positive x.
 *
 * Where factor and x have equal signs the step is subtracted, and the mask is 255; else it is added
 * with the complement of the dither (see nn_kernel_update_u8), and the mask is 0. Since
 * w - s = ~(~w + s), saturation included, one addition under the mask does both: 62 cycles, 67 for a negative x, 15
 * for zero.
 */
void nn_kernel_update_s8(int16_t NN_XDATA *weight, const int8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t n) __naked {
    __asm
    mov r0, _nn_kernel_update_s8_PARM_2
    mov r5, _nn_kernel_update_s8_PARM_3
    mov r7, _nn_kernel_update_s8_PARM_4
    mov r1, _nn_kernel_update_s8_PARM_5
    mov a, (_nn_kernel_update_s8_PARM_3 + 1)
    mov r6, a
    mov _nn_kernel_update_s8_PARM_3, #0xff
    jnb acc.7, 00001$
    mov _nn_kernel_update_s8_PARM_3, #0
    clr c
    clr a
    subb a, r5
    mov r5, a
    clr a
    subb a, r6
    mov r6, a
00001$:
    mov r2, _nn_kernel_update_s8_PARM_3 ; 2
    mov a, @r0              ; 1
    jz 00005$               ; 2
    jnb acc.7, 00002$       ; 2
    xch a, r2               ; 1  a negative x turns mask and x round
    cpl a                   ; 1
    xch a, r2               ; 1
    cpl a                   ; 1
    inc a                   ; 1
00002$:
    mov r4, a               ; 1
    mov b, r5               ; 2
    mul ab                  ; 4
    mov r3, a               ; 1
    mov a, r7               ; 1
    xrl a, r2               ; 1
    cpl a                   ; 1
    add a, r3               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    mov a, r4               ; 1
    mov b, r6               ; 2
    mul ab                  ; 4
    add a, r3               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r4, a               ; 1
    movx a, @dptr           ; 2
    xrl a, r2               ; 1
    add a, r3               ; 1
    xrl a, r2               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    xrl a, r2               ; 1
    addc a, r4              ; 1
    jb ov, 00007$           ; 2
00004$:
    xrl a, r2               ; 1
    movx @dptr, a           ; 2
    sjmp 00006$             ; 2
00005$:
    inc dptr                ; 2
00006$:
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #157             ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00001$         ; 2
    ret
00007$:                     ; beyond the end: 255 into the lower byte, 127 into the upper
    mov a, dpl
    jnz 00008$
    dec dph
00008$:
    dec dpl
    mov a, #0xff
    xrl a, r2
    movx @dptr, a
    inc dptr
    mov a, #0x7f
    sjmp 00004$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
