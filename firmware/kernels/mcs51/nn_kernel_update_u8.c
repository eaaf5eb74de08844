#include "nn_kernel.h"

#if NN_KERNEL_UPDATE_U8 || NN_KERNEL_GATHER_U8

/* clang-format off */
#pragma save
#pragma disable_warning 85 /* the arguments are not used by name */

/*
 * R0 x, R1 weights to come, DPTR weight, R6:R5 |factor|, R7 dither, R4:R3 step.
 *
 * A negative factor's step is added: (-p + d) >> 8 is -((p + 255 - d) >> 8), so that its dither is
 * the complement and moves by -157. The loop that subtracts and the one that adds have a form of
 * their own for factors below 256, which touch the upper byte of a weight only on a borrow or
 * carry. A zero x, which changes nothing, costs 13 cycles; a subtraction 31 (8 more with a borrow),
 * or 50 from 256 on; an addition one less.
 */
void nn_kernel_update_u8(int16_t NN_XDATA *weight, const uint8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t n) __naked {
    __asm
    mov r0, _nn_kernel_update_u8_PARM_2
    mov r5, _nn_kernel_update_u8_PARM_3
    mov a, (_nn_kernel_update_u8_PARM_3 + 1)
    mov r7, _nn_kernel_update_u8_PARM_4
    mov r1, _nn_kernel_update_u8_PARM_5
    jb acc.7, 00020$
    mov r6, a
    jnz 00010$

00001$:                     ; subtract a byte
    mov a, @r0              ; 1
    jz 00003$               ; 2
    mov b, r5               ; 2
    mul ab                  ; 4
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    movx a, @dptr           ; 2
    clr c                   ; 1
    subb a, r3              ; 1
    movx @dptr, a           ; 2
    jc 00005$               ; 2
00003$:
    inc dptr                ; 2
00004$:
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #157             ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00001$         ; 2
    ret
00005$:                     ; borrow
    inc dptr                ; 2
    movx a, @dptr           ; 2
    dec a                   ; 1
    cjne a, #0x7f, 00006$   ; 2
    mov r4, #0              ; below the least: its upper byte stays, the lower becomes 0
    lcall 00040$
    mov a, #0x80
00006$:
    movx @dptr, a           ; 2
    sjmp 00004$             ; 2

00010$:                     ; subtract a word
    mov a, @r0              ; 1
    jz 00013$               ; 2
    mov b, r5               ; 2
    mul ab                  ; 4
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    mov a, @r0              ; 1
    mov b, r6               ; 2
    mul ab                  ; 4
    add a, r3               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r4, a               ; 1
    movx a, @dptr           ; 2
    clr c                   ; 1
    subb a, r3              ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    subb a, r4              ; 1
    jb ov, 00015$           ; 2
00012$:
    movx @dptr, a           ; 2
    sjmp 00014$             ; 2
00013$:
    inc dptr                ; 2
00014$:
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #157             ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00010$         ; 2
    ret
00015$:                     ; below the least
    mov r4, #0
    lcall 00040$
    mov a, #0x80
    sjmp 00012$

00020$:                     ; a negative factor
    mov a, r7
    cpl a
    mov r7, a
    clr c
    clr a
    subb a, r5
    mov r5, a
    clr a
    subb a, (_nn_kernel_update_u8_PARM_3 + 1)
    mov r6, a
    jnz 00030$

00021$:                     ; add a byte
    mov a, @r0              ; 1
    jz 00023$               ; 2
    mov b, r5               ; 2
    mul ab                  ; 4
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    movx a, @dptr           ; 2
    add a, r3               ; 1
    movx @dptr, a           ; 2
    jc 00025$               ; 2
00023$:
    inc dptr                ; 2
00024$:
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #(256 - 157)     ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00021$         ; 2
    ret
00025$:                     ; carry
    inc dptr                ; 2
    movx a, @dptr           ; 2
    inc a                   ; 1
    cjne a, #0x80, 00026$   ; 2
    mov r4, #0xff           ; above the largest: its upper byte stays, the lower becomes 255
    lcall 00040$
    mov a, #0x7f
00026$:
    movx @dptr, a           ; 2
    sjmp 00024$             ; 2

00030$:                     ; add a word
    mov a, @r0              ; 1
    jz 00033$               ; 2
    mov b, r5               ; 2
    mul ab                  ; 4
    add a, r7               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r3, a               ; 1
    mov a, @r0              ; 1
    mov b, r6               ; 2
    mul ab                  ; 4
    add a, r3               ; 1
    mov r3, a               ; 1
    clr a                   ; 1
    addc a, b               ; 1
    mov r4, a               ; 1
    movx a, @dptr           ; 2
    add a, r3               ; 1
    movx @dptr, a           ; 2
    inc dptr                ; 2
    movx a, @dptr           ; 2
    addc a, r4              ; 1
    jb ov, 00035$           ; 2
00032$:
    movx @dptr, a           ; 2
    sjmp 00034$             ; 2
00033$:
    inc dptr                ; 2
00034$:
    inc dptr                ; 2
    mov a, r7               ; 1
    add a, #(256 - 157)     ; 1
    mov r7, a               ; 1
    inc r0                  ; 1
    djnz r1, 00030$         ; 2
    ret
00035$:                     ; above the largest
    mov r4, #0xff
    lcall 00040$
    mov a, #0x7f
    sjmp 00032$

00040$:                     ; R4 into the lower byte of the weight whose upper byte DPTR is at
    mov a, dpl
    jnz 00041$
    dec dph
00041$:
    dec dpl
    mov a, r4
    movx @dptr, a
    inc dptr
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
