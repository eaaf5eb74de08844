#include "nn_kernel.h"

#if NN_KERNEL_ROWS

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R0 x, R1 weights to come, R6:R5 |factor|, R2 its sign (255 if negative), R4 that of the product,
 * R7 dither, F1 whether x is signed.
 *
 * As in nn_kernel_update_u8, a step is that of the magnitudes, with the complement of the dither
 * where the product is negative; then it is added, or its complement and 1. A row takes 90 cycles
 * and 85 for each weight whose input is not zero, and as much for the bias.
 */
void nn_kernel_rows(int16_t NN_XDATA *weight, const void NN_IDATA *x,
                    const int16_t NN_XDATA *factor, const uint16_t NN_XDATA *draw,
                    int16_t NN_XDATA *bias, uint8_t one, uint16_t offset, uint8_t rows, uint8_t n,
                    uint8_t is_signed) __naked {
    __asm
    mov a, _nn_kernel_rows_PARM_10
    rrc a
    mov psw.1, c
00001$:
    push dpl                ; 2
    push dph                ; 2
    mov dpl, _nn_kernel_rows_PARM_4 ; 2
    mov dph, (_nn_kernel_rows_PARM_4 + 1) ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    mov r7, a               ; 1
    mov a, _nn_kernel_rows_PARM_4 ; 1
    add a, #4               ; 1
    mov _nn_kernel_rows_PARM_4, a ; 1
    jnc 00002$              ; 2
    inc (_nn_kernel_rows_PARM_4 + 1)
00002$:
    mov dpl, _nn_kernel_rows_PARM_3 ; 2
    mov dph, (_nn_kernel_rows_PARM_3 + 1) ; 2
    movx a, @dptr           ; 2
    mov r5, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    mov r6, a               ; 1
    inc dptr                ; 2
    mov _nn_kernel_rows_PARM_3, dpl ; 2
    mov (_nn_kernel_rows_PARM_3 + 1), dph ; 2
    pop dph                 ; 2
    pop dpl                 ; 2
    mov r1, _nn_kernel_rows_PARM_9 ; 2
    orl a, r5               ; 1
    jz 00030$               ; 2
    mov a, r6               ; 1
    mov r2, #0              ; 1
    jnb acc.7, 00003$       ; 2
    dec r2
    clr c
    clr a
    subb a, r5
    mov r5, a
    clr a
    subb a, r6
    mov r6, a
00003$:
    mov a, r7               ; 1
    add a, _nn_kernel_rows_PARM_7 ; 1
    push acc                ; 2  the dither of the bias
    mov r0, _nn_kernel_rows_PARM_2 ; 2
00010$:
    mov a, r2               ; 1
    mov r4, a               ; 1
    mov a, @r0              ; 1
    jz 00013$               ; 2
    jnb psw.1, 00011$       ; 2
    jnb acc.7, 00011$       ; 2
    cpl a                   ; 1
    inc a                   ; 1
    xch a, r4               ; 1
    cpl a                   ; 1
    xch a, r4               ; 1
00011$:
    lcall 00020$            ; 2
00012$:
    mov a, r7               ; 1
    add a, #157             ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00010$         ; 2
    pop acc                 ; 2
    mov r7, a               ; 1
    push dpl                ; 2
    push dph                ; 2
    mov dpl, _nn_kernel_rows_PARM_5 ; 2
    mov dph, (_nn_kernel_rows_PARM_5 + 1) ; 2
    mov a, r2               ; 1
    mov r4, a               ; 1
    mov a, _nn_kernel_rows_PARM_6 ; 1
    lcall 00020$            ; 2
    mov _nn_kernel_rows_PARM_5, dpl ; 2
    mov (_nn_kernel_rows_PARM_5 + 1), dph ; 2
    pop dph                 ; 2
    pop dpl                 ; 2
00004$:
    djnz _nn_kernel_rows_PARM_8, 00005$ ; 2
    ret
00005$:
    ljmp 00001$             ; 2
00013$:
    inc dptr                ; 2
    inc dptr                ; 2
    sjmp 00012$             ; 2

00030$:                     ; the factor is zero
    mov a, #2
    add a, _nn_kernel_rows_PARM_5
    mov _nn_kernel_rows_PARM_5, a
    clr a
    addc a, (_nn_kernel_rows_PARM_5 + 1)
    mov (_nn_kernel_rows_PARM_5 + 1), a
00031$:
    inc dptr
    inc dptr
    djnz r1, 00031$
    sjmp 00004$

00020$:                     ; the weight at DPTR less A times the factor; DPTR to the next
    mov r3, a               ; 1
    mov a, r7               ; 1
    xrl a, r4               ; 1
    mov _nn_kernel_rows_PARM_10, a ; 1
    mov a, r3               ; 1
    mov b, r5               ; 2
    mul ab                  ; 4
    add a, _nn_kernel_rows_PARM_10 ; 1
    clr a                   ; 1
    addc a, b               ; 1
    xch a, r3               ; 1
    mov b, r6               ; 2
    mul ab                  ; 4
    add a, r3               ; 1
    xrl a, r4               ; 1
    cpl a                   ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    xrl a, r4               ; 1
    cpl a                   ; 1
    mov _nn_kernel_rows_PARM_10, a ; 1
    mov a, r4               ; 1
    cpl a                   ; 1
    rrc a                   ; 1
    movx a, @dptr           ; 2
    addc a, r3              ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    addc a, _nn_kernel_rows_PARM_10 ; 1
    jb ov, 00022$           ; 2
    movx @dptr, a           ; 2
    inc dptr                ; 2
    ret                     ; 2
00022$:                     ; beyond the end whose sign A has not got
    rlc a
    clr a
    subb a, #0
    mov r3, a
    xrl a, #0x80
    movx @dptr, a
    mov a, dpl
    jnz 00023$
    dec dph
00023$:
    dec dpl
    mov a, r3
    movx @dptr, a
    inc dptr
    inc dptr
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
