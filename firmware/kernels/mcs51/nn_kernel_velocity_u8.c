#include "nn_kernel.h"

#if NN_KERNEL_VELOCITY_U8

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R0 x, R1 velocities to come, DPTR velocity, R4:R2 its new value, R6:R5 |factor|, R7 dither,
 * B:R3 step, F0 set if the factor is negative; the upper byte of the argument becomes a mask for
 * x, 0 if the factor is.
 *
 * (v * m + d) >> 8 is hi * m + ((lo * m + d) >> 8). Nearly all velocities have an upper byte of 0 or
 * -1, which need no second product. A negative factor's step is added: see nn_kernel_update_u8.
 * A positive velocity costs 45 cycles where x or the factor is zero, else 68, or 78 with a factor
 * from 256 on; one from -256 to -1 costs 9 more, one whose lower byte is zero 8 less.
 */
void nn_kernel_velocity_u8(int16_t NN_XDATA *velocity, const uint8_t NN_IDATA *x,
                           int16_t factor, uint8_t dither, uint8_t decay, uint8_t n) __naked {
    __asm
    mov r0, _nn_kernel_velocity_u8_PARM_2
    mov r5, _nn_kernel_velocity_u8_PARM_3
    mov a, (_nn_kernel_velocity_u8_PARM_3 + 1)
    mov r7, _nn_kernel_velocity_u8_PARM_4
    mov r1, _nn_kernel_velocity_u8_PARM_6
    clr psw.5
    jnb acc.7, 00001$
    setb psw.5
    mov r6, a
    clr c
    clr a
    subb a, r5
    mov r5, a
    clr a
    subb a, r6
00001$:
    mov r6, a
    orl a, r5
    jz 00002$
    mov a, #0xff
00002$:
    mov (_nn_kernel_velocity_u8_PARM_3 + 1), a

00003$:
    movx a, @dptr           ; 2
    jz 00005$               ; 2
    mov b, _nn_kernel_velocity_u8_PARM_5 ; 2
    mul ab                  ; 4
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
00005$:
    mov r2, a               ; 1
    inc dptr                ; 2
    movx a, @dptr           ; 2
    jnz 00020$              ; 2
00021$:
    mov r4, a               ; 1
    mov a, @r0              ; 1
    anl a, (_nn_kernel_velocity_u8_PARM_3 + 1) ; 1
    jz 00006$               ; 2
    mov b, r5               ; 2
    mul ab                  ; 4
    jb psw.5, 00010$        ; 2
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    mov a, r6               ; 1
    jz 00008$               ; 2
    mov b, a                ; 1
    mov a, @r0              ; 1
    mul ab                  ; 4
    add a, r3               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
00008$:
    mov b, a                ; 1
    mov a, r2               ; 1
    clr c                   ; 1
    subb a, r3              ; 1
    mov r2, a               ; 1
    mov a, r4               ; 1
    subb a, b               ; 1
    jnb ov, 00007$          ; 2
    mov r2, #0              ; below the least
    mov a, #0x80
    sjmp 00007$
00006$:
    mov a, r4               ; 1
00007$:                     ; the upper byte is in A
    movx @dptr, a           ; 2
    mov a, dpl              ; 1
    jnz 00012$              ; 2
    dec dph
00012$:
    dec dpl                 ; 1
    mov a, r2               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #157             ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00003$         ; 2
    ret

00010$:                     ; add the step; the carry is that of the product and 255 - dither
    mov r3, a               ; 1
    mov a, r7               ; 1
    clr c                   ; 1
    subb a, r3              ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    mov a, r6               ; 1
    jz 00011$               ; 2
    mov b, a                ; 1
    mov a, @r0              ; 1
    mul ab                  ; 4
    add a, r3               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
00011$:
    mov b, a                ; 1
    mov a, r2               ; 1
    add a, r3               ; 1
    mov r2, a               ; 1
    mov a, r4               ; 1
    addc a, b               ; 1
    jnb ov, 00007$          ; 2
    mov r2, #0xff           ; above the largest
    mov a, #0x7f
    sjmp 00007$

00020$:                     ; the velocity is not below 256
    cjne a, #0xff, 00022$   ; 2
    mov a, r2               ; 1  it is above -257
    clr c                   ; 1
    subb a, _nn_kernel_velocity_u8_PARM_5 ; 1
    mov r2, a               ; 1
    subb a, acc             ; 1
    sjmp 00021$             ; 2
00022$:                     ; (hi + 128) * m - 128 * m
    xrl a, #0x80            ; 1
    mov b, _nn_kernel_velocity_u8_PARM_5 ; 2
    mul ab                  ; 4
    add a, r2               ; 1
    mov r2, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r4, a               ; 1
    mov a, _nn_kernel_velocity_u8_PARM_5 ; 1
    clr c                   ; 1
    rrc a                   ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    rrc a                   ; 1
    mov b, a                ; 1
    clr c                   ; 1
    mov a, r2               ; 1
    subb a, b               ; 1
    mov r2, a               ; 1
    mov a, r4               ; 1
    subb a, r3              ; 1
    ljmp 00021$             ; 2
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
