#include "nn_kernel.h"

#if NN_KERNEL_SHARE

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R1:R0 r = floor(2^31 / mass), R3:R2 e, R7:R6 quotient, R5:R4 the bits below it.
 *
 * One division makes all quotients: q = (e * r + 2^15) >> 16 lacks what e * (2^31 / mass - r) < e
 * would add, so that it is right unless those bits plus e carry. Then q * mass is subtracted from
 * the dividend, in the 24 bits that hold the difference, and compared with mass. A mass of 2^15,
 * whose r has 17 bits, leaves e as it is. The division takes 560 cycles, a quotient 115, or 205 if
 * it must be looked at; 95 if e is below 256, 55 if it is 0.
 */
void nn_kernel_share(int16_t NN_XDATA *delta, const uint8_t NN_XDATA *gap,
                     const uint16_t NN_CODE *table, uint32_t mass, uint8_t target,
                     uint8_t n) __naked {
    __asm
    inc _nn_kernel_share_PARM_5 ; DJNZ finds the target
    clr a
    mov r0, a
    mov r1, a
    mov r2, a
    mov r4, a
    mov r3, #0x80           ; R4:R3:R2 remainder, less than mass
    mov r7, #16
    mov a, (_nn_kernel_share_PARM_4 + 2)
    jnz 00001$
    mov a, _nn_kernel_share_PARM_4
    jnz 00001$
    mov a, (_nn_kernel_share_PARM_4 + 1)
    cjne a, #0x80, 00001$
    sjmp 00010$
00001$:
    mov a, r2               ; 1
    add a, r2               ; 1
    mov r2, a               ; 1
    mov a, r3               ; 1
    rlc a                   ; 1
    mov r3, a               ; 1
    mov a, r4               ; 1
    rlc a                   ; 1
    mov r4, a               ; 1
    clr c                   ; 1
    mov a, r2               ; 1
    subb a, _nn_kernel_share_PARM_4 ; 1
    mov r5, a               ; 1
    mov a, r3               ; 1
    subb a, (_nn_kernel_share_PARM_4 + 1) ; 1
    mov r6, a               ; 1
    mov a, r4               ; 1
    subb a, (_nn_kernel_share_PARM_4 + 2) ; 1
    jc 00002$               ; 2
    mov r4, a               ; 1
    mov a, r6               ; 1
    mov r3, a               ; 1
    mov a, r5               ; 1
    mov r2, a               ; 1
00002$:
    cpl c                   ; 1
    mov a, r0               ; 1
    rlc a                   ; 1
    mov r0, a               ; 1
    mov a, r1               ; 1
    rlc a                   ; 1
    mov r1, a               ; 1
    djnz r7, 00001$         ; 2

00010$:
    push dpl                ; 2
    push dph                ; 2
    mov dpl, _nn_kernel_share_PARM_2 ; 2
    mov dph, (_nn_kernel_share_PARM_2 + 1) ; 2
    movx a, @dptr           ; 2
    inc dptr                ; 2
    mov _nn_kernel_share_PARM_2, dpl ; 2
    mov (_nn_kernel_share_PARM_2 + 1), dph ; 2
    mov dpl, _nn_kernel_share_PARM_3 ; 2
    mov dph, (_nn_kernel_share_PARM_3 + 1) ; 2
    rl a                    ; 1
    jnb acc.0, 00011$       ; 2
    dec a                   ; 1
    inc dph                 ; 1
00011$:
    mov r2, a               ; 1
    inc a                   ; 1
    movc a, @a+dptr         ; 2
    mov r3, a               ; 1
    mov a, r2               ; 1
    movc a, @a+dptr         ; 2
    mov r2, a               ; 1
    mov r6, a               ; 1
    mov a, r3               ; 1
    mov r7, a               ; 1
    cjne r1, #0, 00012$     ; 2
    sjmp 00020$
00012$:
    orl a, r2               ; 1
    jz 00020$               ; 2
    mov a, r2               ; 1
    mov b, r0               ; 2
    mul ab                  ; 4
    mov r4, a               ; 1
    mov a, b                ; 1
    add a, #0x80            ; 1
    mov r5, a               ; 1
    clr a                   ; 1
    mov r7, a               ; 1
    rlc a                   ; 1
    mov r6, a               ; 1
    mov a, r2               ; 1
    mov b, r1               ; 2
    mul ab                  ; 4
    add a, r5               ; 1
    mov r5, a               ; 1
    mov a, b                ; 1
    addc a, r6              ; 1
    mov r6, a               ; 1  no carry: 255 * 255 + 256 < 2^16
    mov a, r3               ; 1
    jz 00013$               ; 2
    mov b, r0               ; 2
    mul ab                  ; 4
    add a, r5               ; 1
    mov r5, a               ; 1
    mov a, b                ; 1
    addc a, r6              ; 1
    mov r6, a               ; 1
    clr a                   ; 1
    rlc a                   ; 1
    mov r7, a               ; 1
    mov a, r3               ; 1
    mov b, r1               ; 2
    mul ab                  ; 4
    add a, r6               ; 1
    mov r6, a               ; 1
    mov a, b                ; 1
    addc a, r7              ; 1
    mov r7, a               ; 1
00013$:
    mov a, r4               ; 1
    add a, r2               ; 1
    mov a, r5               ; 1
    addc a, r3              ; 1
    jc 00030$               ; 2
00020$:
    djnz _nn_kernel_share_PARM_5, 00021$ ; 2
    mov a, r7
    xrl a, #0x80            ; less 32768
    mov r7, a
    sjmp 00022$
00021$:
    mov a, r7               ; 1
    jnb acc.7, 00022$       ; 2
    mov r7, #0x7f
    mov r6, #0xff
00022$:
    pop dph                 ; 2
    pop dpl                 ; 2
    mov a, r6               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    mov a, r7               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    djnz _nn_kernel_share_PARM_6, 00023$ ; 2
    ret
00023$:
    ljmp 00010$             ; 2

00030$:                     ; DPH:R5:R4 = (e << 15) + (mass >> 1) - q * mass
    mov a, (_nn_kernel_share_PARM_4 + 2)
    clr c
    rrc a
    mov dph, a
    mov a, (_nn_kernel_share_PARM_4 + 1)
    rrc a
    mov r5, a
    mov a, _nn_kernel_share_PARM_4
    rrc a
    mov r4, a
    mov a, r3
    rrc a
    mov a, r2
    rrc a
    mov dpl, a
    clr a
    rrc a
    add a, r5
    mov r5, a
    mov a, dpl
    addc a, dph
    mov dph, a
    mov a, r6
    mov b, _nn_kernel_share_PARM_4
    mul ab
    xch a, r4
    clr c
    subb a, r4
    mov r4, a
    mov a, r5
    subb a, b
    mov r5, a
    jnc 00031$
    dec dph
00031$:
    mov a, r6
    mov b, (_nn_kernel_share_PARM_4 + 1)
    lcall 00034$
    mov a, r7
    mov b, _nn_kernel_share_PARM_4
    lcall 00034$
    mov a, r6
    mov b, (_nn_kernel_share_PARM_4 + 2)
    lcall 00035$
    mov a, r7
    mov b, (_nn_kernel_share_PARM_4 + 1)
    lcall 00035$
    clr c
    mov a, r4
    subb a, _nn_kernel_share_PARM_4
    mov a, r5
    subb a, (_nn_kernel_share_PARM_4 + 1)
    mov a, dph
    subb a, (_nn_kernel_share_PARM_4 + 2)
    jc 00033$
    inc r6
    cjne r6, #0, 00033$
    inc r7
00033$:
    ljmp 00020$
00034$:                     ; DPH:R5 less A * B
    mul ab
    xch a, r5
    clr c
    subb a, r5
    mov r5, a
    mov a, dph
    subb a, b
    mov dph, a
    ret
00035$:                     ; DPH less A * B
    mul ab
    xch a, dph
    clr c
    subb a, dph
    mov dph, a
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
