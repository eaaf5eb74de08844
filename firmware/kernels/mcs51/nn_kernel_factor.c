#include "nn_kernel.h"

#if NN_KERNEL_FACTOR

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * DPTR and what the arguments hold are the places of factor, delta and draw by turns; R4:R3:R2
 * delta, then its product with rate, R1:R0 dither. The product plus the dither fits 24 bits with
 * its sign. 121 cycles from a shift of 8 on, and 9 for each bit more; 8 more if delta is negative;
 * 52 if it is 0.
 */
void nn_kernel_factor(int16_t NN_XDATA *factor, const int16_t NN_XDATA *delta,
                      const uint16_t NN_XDATA *draw, uint8_t rate, uint8_t n, uint16_t stride,
                      uint16_t mask, uint8_t shift) __naked {
    __asm
    mov r5, dpl
    mov r6, dph
00001$:
    mov dpl, _nn_kernel_factor_PARM_3 ; 2
    mov dph, (_nn_kernel_factor_PARM_3 + 1) ; 2
    movx a, @dptr           ; 2
    anl a, _nn_kernel_factor_PARM_7 ; 1
    mov r0, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    anl a, (_nn_kernel_factor_PARM_7 + 1) ; 1
    mov r1, a               ; 1
    mov a, _nn_kernel_factor_PARM_3 ; 1
    add a, _nn_kernel_factor_PARM_6 ; 1
    mov _nn_kernel_factor_PARM_3, a ; 1
    mov a, (_nn_kernel_factor_PARM_3 + 1) ; 1
    addc a, (_nn_kernel_factor_PARM_6 + 1) ; 1
    mov (_nn_kernel_factor_PARM_3 + 1), a ; 1
    mov dpl, _nn_kernel_factor_PARM_2 ; 2
    mov dph, (_nn_kernel_factor_PARM_2 + 1) ; 2
    movx a, @dptr           ; 2
    mov r2, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    inc dptr                ; 2
    mov _nn_kernel_factor_PARM_2, dpl ; 2
    mov (_nn_kernel_factor_PARM_2 + 1), dph ; 2
    mov dpl, r5             ; 2
    mov dph, r6             ; 2
    mov r3, a               ; 1
    orl a, r2               ; 1
    jnz 00002$              ; 2
    movx @dptr, a
    inc dptr
    ljmp 00009$
00002$:
    mov a, r3               ; 1
    mov c, acc.7            ; 1
    mov f0, c               ; 2
    jnc 00003$              ; 2
    clr c
    clr a
    subb a, r2
    mov r2, a
    clr a
    subb a, r3
    mov r3, a
00003$:
    mov a, r2               ; 1
    mov b, _nn_kernel_factor_PARM_4 ; 2
    mul ab                  ; 4
    mov r2, a               ; 1
    mov r4, b               ; 2
    mov a, r3               ; 1
    mov b, _nn_kernel_factor_PARM_4 ; 2
    mul ab                  ; 4
    add a, r4               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r4, a               ; 1
    jb f0, 00004$           ; 2
    mov a, r2               ; 1
    add a, r0               ; 1
    mov r2, a               ; 1
    mov a, r3               ; 1
    addc a, r1              ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, r4              ; 1
    sjmp 00005$             ; 2
00004$:                     ; dither less product
    mov a, r0
    clr c
    subb a, r2
    mov r2, a
    mov a, r1
    subb a, r3
    mov r3, a
    clr a
    subb a, r4
00005$:
    mov r4, a               ; 1
    mov a, _nn_kernel_factor_PARM_8 ; 1
    add a, #-8              ; 1
    jnc 00010$              ; 2
    mov r0, a               ; 1
    mov a, r4               ; 1
    cjne r0, #0, 00006$     ; 2
    sjmp 00007$
00006$:
    mov c, acc.7            ; 1
    rrc a                   ; 1
    xch a, r3               ; 1
    rrc a                   ; 1
    xch a, r3               ; 1
    djnz r0, 00006$         ; 2
00007$:
    xch a, r3               ; 1
00008$:                     ; R3:A is the factor
    movx @dptr, a           ; 2
    inc dptr                ; 2
    mov a, r3               ; 1
00009$:
    movx @dptr, a           ; 2
    inc dptr                ; 2
    mov r5, dpl             ; 2
    mov r6, dph             ; 2
    djnz _nn_kernel_factor_PARM_5, 00011$ ; 2
    ret
00011$:
    ljmp 00001$             ; 2

00010$:                     ; a shift by less than 8: the result may not fit
    mov r0, _nn_kernel_factor_PARM_8
00012$:
    mov a, r4
    mov c, acc.7
    rrc a
    mov r4, a
    mov a, r3
    rrc a
    mov r3, a
    mov a, r2
    rrc a
    mov r2, a
    djnz r0, 00012$
    mov a, r3               ; it fits if R4 is the sign of R3
    rlc a
    clr a
    addc a, r4
    jz 00013$
    mov a, r4
    rlc a
    mov r3, #0x7f
    mov a, #0xff
    jnc 00008$
    mov r3, #0x80
    clr a
    sjmp 00008$
00013$:
    mov a, r2
    sjmp 00008$
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
