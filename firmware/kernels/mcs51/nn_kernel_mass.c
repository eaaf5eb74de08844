#include "nn_kernel.h"

#if NN_KERNEL_MASS

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: the result is in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/* R6:R5 index, DPTR its entry, R4:R3:R2 sum, R1 entries to come. 41 cycles an entry. */
int32_t nn_kernel_mass(const uint8_t NN_XDATA *index, const uint16_t NN_CODE *table,
                       uint8_t n) __naked {
    __asm
    mov r1, _nn_kernel_mass_PARM_3
    clr a
    mov r2, a
    mov r3, a
    mov r4, a
00001$:
    movx a, @dptr           ; 2
    inc dptr                ; 2
    mov r5, dpl             ; 2
    mov r6, dph             ; 2
    mov dpl, _nn_kernel_mass_PARM_2 ; 2
    mov dph, (_nn_kernel_mass_PARM_2 + 1) ; 2
    rl a                    ; 1
    jnb acc.0, 00002$       ; 2
    dec a                   ; 1
    inc dph                 ; 1
00002$:
    mov r7, a               ; 1
    movc a, @a+dptr         ; 2
    add a, r2               ; 1
    mov r2, a               ; 1
    mov a, r7               ; 1
    inc a                   ; 1
    movc a, @a+dptr         ; 2
    addc a, r3              ; 1
    mov r3, a               ; 1
    jnc 00003$              ; 2
    inc r4                  ; 1
00003$:
    mov dpl, r5             ; 2
    mov dph, r6             ; 2
    djnz r1, 00001$         ; 2
    mov dpl, r2
    mov dph, r3
    mov b, r4
    clr a
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
