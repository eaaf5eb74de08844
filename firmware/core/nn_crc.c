#include "nn_crc.h"

static NN_DATA uint16_t crc; /* so far */

void nn_crc_begin(uint16_t start) { crc = start; }

uint16_t nn_crc_value(void) { return crc; }

#if !defined(__SDCC_mcs51)

/*
 * Eight steps of the polynomial at once: with x = high ^ byte and x ^= x >> 4, the new checksum is
 * low << 8 ^ x << 12 ^ x << 5 ^ x. The upper half of a word holds it, so that what leaves it at the
 * top is gone.
 */
void nn_crc_add(const uint8_t *at, uint16_t size) {
    const uint8_t *const end = at + size;
    uint32_t sum = (uint32_t)crc << 16;
    while (at != end) {
        uint32_t x = (sum >> 24) ^ *at;
        x ^= x >> 4;
        sum = (sum << 8) ^ (x << 28) ^ (x << 21) ^ (x << 16);
        at++;
    }
    crc = (uint16_t)(sum >> 16);
}

#else

/* The byte in A. R6 and R7 hold the checksum, R4 and R5 parts of x. */
#define ADD_A                                                                                      \
    "xrl a, r6 \n"                                                                                 \
    "mov r5, a \n"                                                                                 \
    "swap a \n"                                                                                    \
    "anl a, #0x0F \n"                                                                              \
    "xrl a, r5 \n"                                                                                 \
    "mov r5, a \n" /* x */                                                                         \
    "swap a \n"                                                                                    \
    "mov r4, a \n"                                                                                 \
    "anl a, #0xF0 \n" /* x << 4 */                                                                 \
    "xrl a, r7 \n"                                                                                 \
    "mov r6, a \n"                                                                                 \
    "mov a, r4 \n"                                                                                 \
    "rl a \n"                                                                                      \
    "mov r4, a \n"                                                                                 \
    "anl a, #0x1F \n" /* x >> 3 */                                                                 \
    "xrl a, r6 \n"                                                                                 \
    "mov r6, a \n"                                                                                 \
    "mov a, r4 \n"                                                                                 \
    "anl a, #0xE0 \n" /* x << 5 */                                                                 \
    "xrl a, r5 \n"                                                                                 \
    "mov r7, a \n"

/*
 * The same in 27 machine cycles a byte of xdata and 31 of idata, where SDCC needs 87. A pointer
 * comes as DPTR and the space in B: 0 is xdata, bit 7 is set for code, else it is idata. R3 and R2
 * count. R1 is left alone; at the end DPTR is behind bytes of xdata, and R6 and R7 are the checksum
 * still (nn_frame.c relies on this).
 */
void nn_crc_add(const uint8_t *at, uint16_t size) __naked {
    (void)at;
    (void)size;
    __asm__("mov r2, _nn_crc_add_PARM_2 \n"
            "mov r3, (_nn_crc_add_PARM_2 + 1) \n"
            "mov r7, _crc \n"
            "mov r6, (_crc + 1) \n"
            "mov r0, dpl \n"
            "mov a, r2 \n"
            "jz 1$ \n"
            "inc r3 \n" /* the last, partial turn of the outer loop */
            "1$: mov a, r3 \n"
            "jz 4$ \n"
            "mov a, b \n"
            "jnz 5$ \n"
            "2$: movx a, @dptr \n"
            "inc dptr \n" ADD_A "djnz r2, 2$ \n"
            "djnz r3, 2$ \n"
            "3$: mov _crc, r7 \n"
            "mov (_crc + 1), r6 \n"
            "4$: ret \n"
            "5$: jb b.7, 6$ \n"
            "mov a, @r0 \n"
            "inc r0 \n"
            "sjmp 7$ \n"
            "6$: clr a \n"
            "movc a, @a + dptr \n"
            "inc dptr \n"
            "7$: " ADD_A "djnz r2, 5$ \n"
            "djnz r3, 5$ \n"
            "sjmp 3$ \n");
}

#endif
