#include "nn_kernel.h"

#if NN_KERNEL_GAP

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * DPTR and R1:R0 logit and gap by turns, R7:R4 top and what rounds, R3:R2 lower bytes. 77 cycles a
 * logit.
 *
 * A shift to the right by s bits is a product with 2^(8 - s) of which the lower byte falls away.
 */
void nn_kernel_gap(uint8_t NN_XDATA *gap, const int32_t NN_XDATA *logit, int32_t top,
                   uint8_t n, uint8_t factor) __naked {
    __asm
    mov r0, dpl
    mov r1, dph
    mov dpl, _nn_kernel_gap_PARM_2
    mov dph, (_nn_kernel_gap_PARM_2 + 1)
    mov a, #128             ; half of 2^s is 128 / factor
    mov b, _nn_kernel_gap_PARM_5
    div ab
    add a, _nn_kernel_gap_PARM_3
    mov r4, a
    clr a
    addc a, (_nn_kernel_gap_PARM_3 + 1)
    mov r5, a
    clr a
    addc a, (_nn_kernel_gap_PARM_3 + 2)
    mov r6, a
    clr a
    addc a, (_nn_kernel_gap_PARM_3 + 3)
    mov r7, a
00001$:                     ; top + half - logit is the complement of logit - (top + half) - 1
    setb c                  ; 1
    movx a, @dptr           ; 2
    inc dptr                ; 2
    subb a, r4              ; 1
    cpl a                   ; 1
    mov r2, a               ; 1
    movx a, @dptr           ; 2
    inc dptr                ; 2
    subb a, r5              ; 1
    cpl a                   ; 1
    mov r3, a               ; 1
    movx a, @dptr           ; 2
    inc dptr                ; 2
    subb a, r6              ; 1
    cpl a                   ; 1
    mov b, a                ; 1
    movx a, @dptr           ; 2
    inc dptr                ; 2
    subb a, r7              ; 1
    cpl a                   ; 1
    jb acc.7, 00003$        ; 2
    orl a, b                ; 1
    jnz 00004$              ; 2
    mov a, r3               ; 1
    mov b, _nn_kernel_gap_PARM_5 ; 2
    mul ab                  ; 4
    mov r3, a               ; 1
    mov a, b                ; 1
    jnz 00004$              ; 2
    mov a, r2               ; 1
    mov b, _nn_kernel_gap_PARM_5 ; 2
    mul ab                  ; 4
    mov a, b                ; 1
    orl a, r3               ; 1
00002$:
    mov r2, a               ; 1
    mov a, dpl              ; 1
    xch a, r0               ; 1
    mov dpl, a              ; 1
    mov a, dph              ; 1
    xch a, r1               ; 1
    mov dph, a              ; 1
    mov a, r2               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    mov a, dpl              ; 1
    xch a, r0               ; 1
    mov dpl, a              ; 1
    mov a, dph              ; 1
    xch a, r1               ; 1
    mov dph, a              ; 1
    djnz _nn_kernel_gap_PARM_4, 00001$ ; 2
    ret
00003$:                     ; less than 0
    clr a
    sjmp 00002$
00004$:                     ; more than 255
    mov a, #255
    sjmp 00002$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
