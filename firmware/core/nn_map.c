#include "nn_map.h"

#include "nn_config.h"
#include "nn_crc.h"

/* The cursor: `left` bytes of `segment` are still to come, the first of them `at`. */
static const NN_CODE nn_segment_t *NN_DATA segment;
static uint8_t *NN_DATA at;
static NN_DATA uint16_t left;

#if !defined(__SDCC_mcs51)

void nn_map_open(const nn_segment_t *map, nn_offset_t offset) {
    segment = map;
    while (offset >= segment->size) {
        offset = (nn_offset_t)(offset - segment->size);
        segment++;
    }
    at = segment->at + offset;
    left = (uint16_t)(segment->size - offset);
}

/* Enters the next segment when one is used up, and only when more is wanted. */
static void proceed(void) {
    while (left == 0U) {
        segment++;
        at = segment->at;
        left = segment->size;
    }
}

uint8_t nn_map_get(void) {
    uint8_t byte;
    proceed();
    left--;
    byte = *at;
    at++;
    return byte;
}

void nn_map_put(const uint8_t *from, uint8_t size) {
    for (; size != 0U; size--) {
        proceed();
        left--;
        *at = *from;
        at++;
        from++;
    }
}

uint16_t nn_map_crc(nn_offset_t size) {
    nn_crc_begin(NN_CRC_START);
    while (size != 0U) {
        uint16_t run;
        proceed();
        run = (left < size) ? left : (uint16_t)size;
        nn_crc_add(at, run);
        at += run;
        left = (uint16_t)(left - run);
        size = (nn_offset_t)(size - run);
    }
    return nn_crc_value();
}

#else

#ifdef NN_PLANES
#include "nn_planes.h"
#endif

/* clang-format off */
#pragma save
#pragma disable_warning 59 /* no return statement: results are in the registers */
#pragma disable_warning 85 /* nor are the arguments used by name */

/*
 * The same in a third of the bytes and half the cycles. A segment is five bytes: address, space and
 * size. The third byte of `at` says where it is: 0 is xdata, 0x40 idata; 1 are numbers in planes,
 * which the first segment of the state may be. Its address is 0 then.
 *
 * nn_map_enter finds the place R7:R6 bytes from the segment at DPTR on. nn_map_run gives in R5:R4
 * how many of R7:R6 bytes, not none, lie there in a row, and takes them off: R7:R6 are left.
 */
void nn_map_open(const NN_CODE nn_segment_t *map, nn_offset_t offset) __naked {
    __asm
    mov r6, _nn_map_open_PARM_2
    mov r7, (_nn_map_open_PARM_2 + 1)
nn_map_enter:
    mov a, #3
    movc a, @a + dptr
    mov r4, a
    mov a, #4
    movc a, @a + dptr
    mov r5, a
    clr c
    mov a, r6
    subb a, r4
    mov r4, a
    mov a, r7
    subb a, r5
    jc nn_map_here
    mov r7, a
    mov a, r4
    mov r6, a
nn_map_after:               ; the next segment
    mov a, #5
    add a, dpl
    mov dpl, a
    jnc nn_map_enter
    inc dph
    sjmp nn_map_enter
nn_map_here:
    mov r5, a               ; what is left is what the offset falls short of the size
    clr c
    clr a
    subb a, r4
    mov _left, a
    clr a
    subb a, r5
    mov (_left + 1), a
    mov _segment, dpl
    mov (_segment + 1), dph
    mov a, #2
    movc a, @a + dptr
    mov (_at + 2), a
    mov r4, a
    clr a
    movc a, @a + dptr
    mov r5, a
    mov a, #1
    movc a, @a + dptr
#ifdef NN_PLANES
    mov dpl, r6
    mov dph, r7
    jnz 00002$
    orl a, r4
    orl a, r5
    jnz 00003$
    inc (_at + 2)
    ljmp _nn_planes_open
00003$:
    clr a
00002$:
#endif
    xch a, r5
    add a, r6
    mov _at, a
    mov a, r5
    addc a, r7
    mov (_at + 1), a
    ret
nn_map_run:
    mov a, _left
    orl a, (_left + 1)
    jnz 00004$
    mov dpl, _segment
    mov dph, (_segment + 1)
    push 6
    push 7
    mov r6, #0
    mov r7, #0
    lcall nn_map_after
    pop 7
    pop 6
00004$:
    clr c
    mov a, _left
    subb a, r6
    mov r4, a
    mov a, (_left + 1)
    subb a, r7
    jc 00005$
    mov _left, r4
    mov (_left + 1), a
    mov a, r6
    mov r4, a
    mov a, r7
    mov r5, a
    mov r6, #0
    mov r7, #0
    ret
00005$:
    mov r5, a
    clr c
    clr a
    subb a, r4
    mov r6, a
    clr a
    subb a, r5
    mov r7, a
    mov r4, _left
    mov r5, (_left + 1)
    mov _left, #0
    mov (_left + 1), #0
    ret
    __endasm;
}

uint8_t nn_map_get(void) __naked {
    __asm
    mov r6, #1
    mov r7, #0
    lcall nn_map_run
    mov a, (_at + 2)
    jz 00001$
#ifdef NN_PLANES
    jb acc.0, 00002$
#endif
    mov r0, _at
    inc _at
    mov dpl, @r0
    ret
00001$:
    mov dpl, _at
    mov dph, (_at + 1)
    movx a, @dptr
    inc dptr
    mov _at, dpl
    mov (_at + 1), dph
    mov dpl, a
    ret
#ifdef NN_PLANES
00002$:
    ljmp _nn_planes_take
#endif
    __endasm;
}

/* 8 cycles a byte to internal RAM, 26 to external RAM. */
void nn_map_put(const NN_XDATA uint8_t *from, uint8_t size) __naked {
    __asm
    mov r6, _nn_map_put_PARM_2
00001$:
    mov a, r6
    jz 00005$
    mov r7, #0
    push dpl
    push dph
    lcall nn_map_run
    pop dph
    pop dpl
    mov a, (_at + 2)
    jz 00003$
#ifdef NN_PLANES
    jb acc.0, 00004$
#endif
    mov r0, _at
00002$:
    movx a, @dptr
    inc dptr
    mov @r0, a
    inc r0
    djnz r4, 00002$
    mov _at, r0
    sjmp 00001$
00003$:
    movx a, @dptr
    inc dptr
    mov r2, dpl
    mov r3, dph
    mov dpl, _at
    mov dph, (_at + 1)
    movx @dptr, a
    inc dptr
    mov _at, dpl
    mov (_at + 1), dph
    mov dpl, r2
    mov dph, r3
    djnz r4, 00003$
    sjmp 00001$
#ifdef NN_PLANES
00004$:
    mov a, r4
    mov r5, a               ; nn_planes_set changes R2, R3, R4 and R7
00006$:
    movx a, @dptr
    inc dptr
    push dpl
    push dph
    mov dpl, a
    lcall _nn_planes_set
    pop dph
    pop dpl
    djnz r5, 00006$
    sjmp 00001$
#endif
00005$:
    ret
    __endasm;
}

uint16_t nn_map_crc(nn_offset_t size) __naked {
    __asm
    mov r6, dpl
    mov r7, dph
    mov dptr, #0xFFFF
    lcall _nn_crc_begin
    sjmp 00003$
00001$:
    lcall nn_map_run
    push 6
    push 7
#ifdef NN_PLANES
    mov a, (_at + 2)
    jnb acc.0, 00002$
    mov dpl, r4
    mov dph, r5
    mov _nn_planes_crc_PARM_2, #0xFF    ; they come first
    mov (_nn_planes_crc_PARM_2 + 1), #0xFF
    lcall _nn_planes_crc
    lcall _nn_crc_begin
    sjmp 00004$
00002$:
#endif
    mov dpl, _at
    mov dph, (_at + 1)
    mov b, (_at + 2)
    mov _nn_crc_add_PARM_2, r4
    mov (_nn_crc_add_PARM_2 + 1), r5
    lcall _nn_crc_add
00004$:
    pop 7
    pop 6
00003$:
    mov a, r6
    orl a, r7
    jnz 00001$
    ljmp _nn_crc_value
    __endasm;
}

#pragma restore
/* clang-format on */

#endif
