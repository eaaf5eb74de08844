#include "nn_planes.h"

#include "nn_config.h"

#ifdef NN_PLANES

/* From a lower byte to its upper one and back, and what of an address tells them apart. */
#if NN_PLANES_SIZE == 256
#define UP inc dph
#define DOWN dec dph
#define PART dph
#else
#define UP xrl dpl, #NN_PLANES_SIZE
#define DOWN UP
#define PART dpl
#endif

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: results are in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * The cursor. It is the place of a byte, and what a step from there must know: columns to come in
 * the row and on the page, both with this one; the row and its span, and two numbers of the span.
 * The upper byte of a number is at the same place of the next plane, with its sign bit turned round.
 */
static NN_DATA uint16_t place;
static NN_DATA uint8_t left;
static NN_DATA uint8_t here;
static NN_DATA uint8_t row;
static const NN_CODE nn_span_t *NN_DATA span;
static NN_DATA uint8_t each;
static NN_DATA uint8_t stride;

/*
 * Steps of the cursor, which is in DPTR, R2 (left) and R3 (here). They change A and R4; here at the
 * first column of a row is nn_planes_row, at the next page nn_planes_page. nn_planes_step is from
 * any byte to the next, nn_planes_next from an upper byte, nn_planes_keep puts the cursor away.
 */
void nn_planes_steps(void) __naked {
    __asm
nn_planes_row:
    mov dpl, _span
    mov dph, (_span + 1)
    mov a, #2
    movc a, @a+dptr
    mov r3, a
    mov a, #3
    movc a, @a+dptr
    mov _each, a
    mov a, #4
    movc a, @a+dptr
    mov _stride, a
    mov a, #6
    movc a, @a+dptr
    mov r2, a
    mov a, #1
    movc a, @a+dptr
    add a, _row
    mov r4, a
    clr a
    movc a, @a+dptr
    mov dph, a
    mov dpl, r4
    ret
nn_planes_page:
    mov a, dph
    add a, #NN_PLANES
    mov dph, a
    mov dpl, _row
    mov r3, _each
    ret
nn_planes_step:
    mov a, PART
    jb NN_PLANES_UPPER, nn_planes_next
    UP
    ret
nn_planes_next:
    DOWN
    djnz r2, 00001$
    inc _row
    mov dpl, _span
    mov dph, (_span + 1)
    mov a, #5
    movc a, @a+dptr
    cjne a, _row, nn_planes_row
    mov _row, #0            ; the next span
    mov a, #7
    add a, _span
    mov _span, a
    jnc nn_planes_row
    inc (_span + 1)
    sjmp nn_planes_row
00001$:
    djnz r3, 00002$
    sjmp nn_planes_page
00002$:
    mov a, dpl
    add a, _stride
    mov dpl, a
    ret
nn_planes_load:
    mov dpl, _place
    mov dph, (_place + 1)
    mov r2, _left
    mov r3, _here
    ret
nn_planes_keep:
    mov _place, dpl
    mov (_place + 1), dph
    mov _left, r2
    mov _here, r3
    ret
    __endasm;
}

/* R7:R6 numbers to pass over. */
void nn_planes_open(uint16_t offset) __naked {
    __asm
    clr c
    mov a, dph
    rrc a
    mov r7, a
    mov a, dpl
    rrc a
    mov r6, a
    mov psw.5, c            ; the upper byte is meant
    mov dptr, #_nn_spans
00001$:                     ; whole spans
    mov a, #5
    movc a, @a+dptr
    mov b, a
    mov a, #6
    movc a, @a+dptr
    mov r2, a
    mul ab
    mov r4, a
    clr c
    mov a, r6
    subb a, r4
    mov r4, a
    mov a, r7
    subb a, b
    jc 00002$
    mov r7, a
    mov a, r4
    mov r6, a
    mov a, dpl
    add a, #7
    mov dpl, a
    jnc 00001$
    inc dph
    sjmp 00001$
00002$:
    mov _span, dpl
    mov (_span + 1), dph
    mov _row, #0
00003$:                     ; whole rows, of R2 columns
    clr c
    mov a, r6
    subb a, r2
    mov r4, a
    mov a, r7
    subb a, #0
    jc 00004$
    mov r7, a
    mov a, r4
    mov r6, a
    inc _row
    sjmp 00003$
00004$:
    lcall nn_planes_row
    clr c
    mov a, r2
    subb a, r6
    mov r2, a
00005$:                     ; whole pages, of R3 columns
    clr c
    mov a, r6
    subb a, r3
    jc 00006$
    mov r6, a
    lcall nn_planes_page
    sjmp 00005$
00006$:
    cpl a
    inc a
    mov r3, a
    mov a, r6
    mov b, _stride
    mul ab
    add a, dpl
    mov dpl, a
    jnb psw.5, 00007$
    UP
00007$:
    ljmp nn_planes_keep
    __endasm;
}

uint8_t nn_planes_take(void) __naked {
    __asm
    lcall nn_planes_load
    movx a, @dptr
    mov r7, a
    mov a, PART
    jnb NN_PLANES_UPPER, 00001$
    mov a, r7
    xrl a, #0x80
    mov r7, a
00001$:
    lcall nn_planes_step
    lcall nn_planes_keep
    mov dpl, r7
    ret
    __endasm;
}

void nn_planes_set(uint8_t byte) __naked {
    __asm
    mov r7, dpl
    lcall nn_planes_load
    mov a, PART
    jnb NN_PLANES_UPPER, 00001$
    mov a, r7
    xrl a, #0x80
    mov r7, a
00001$:
    mov a, r7
    movx @dptr, a
    lcall nn_planes_step
    ljmp nn_planes_keep
    __endasm;
}

void nn_planes_put(int16_t number) __naked {
    __asm
    mov r6, dpl
    mov r7, dph
    lcall nn_planes_load
    mov a, r6
    movx @dptr, a
    UP
    mov a, r7
    xrl a, #0x80
    movx @dptr, a
    lcall nn_planes_next
    ljmp nn_planes_keep
    __endasm;
}

/*
 * R6 and R7 hold the checksum, R4 and R5 parts of x (see nn_crc.c), R1 turns the sign of upper bytes
 * round, B and R0 count: 35 cycles a lower byte, 47 an upper one.
 */
uint16_t nn_planes_crc(uint16_t size, uint16_t crc) __naked {
    __asm
    mov r7, _nn_planes_crc_PARM_2
    mov r6, (_nn_planes_crc_PARM_2 + 1)
    mov b, dpl
    mov r0, dph
    mov a, dpl
    jz 00001$
    inc r0                  ; the last, partial turn of the outer loop
00001$:
    lcall nn_planes_load
    mov a, PART
    mov c, NN_PLANES_UPPER
    clr a
    rrc a
    mov r1, a
00002$:
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
    jz 00003$
    UP
    djnz b, 00002$
    djnz r0, 00002$
    sjmp 00004$
00003$:
    lcall nn_planes_next
    djnz b, 00002$
    djnz r0, 00002$
00004$:
    lcall nn_planes_keep
    mov dpl, r7
    mov dph, r6
    ret
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
