#include "nn_copy.h"

#if !defined(__SDCC_mcs51)

void nn_copy(const uint8_t *from, uint8_t *to, uint8_t size) {
    for (; size != 0U; size--) {
        *to = *from;
        to++;
        from++;
    }
}

#else

/*
 * In 8 machine cycles a byte to internal RAM, in 26 to external RAM, where SDCC calls its library
 * for each: 75. `from` comes as DPTR; the third byte of `to` is its space, 0 for xdata.
 */
void nn_copy(const NN_XDATA uint8_t *from, uint8_t *to, uint8_t size) __naked {
    (void)from;
    (void)to;
    (void)size;
    __asm__("mov r7, _nn_copy_PARM_3 \n"
            "mov r0, _nn_copy_PARM_2 \n"
            "mov a, (_nn_copy_PARM_2 + 2) \n"
            "jz 2$ \n"
            "1$: movx a, @dptr \n"
            "inc dptr \n"
            "mov @r0, a \n"
            "inc r0 \n"
            "djnz r7, 1$ \n"
            "ret \n"
            "2$: mov r1, (_nn_copy_PARM_2 + 1) \n"
            "3$: movx a, @dptr \n"
            "inc dptr \n"
            "mov r2, dpl \n"
            "mov r3, dph \n"
            "mov dpl, r0 \n"
            "mov dph, r1 \n"
            "movx @dptr, a \n"
            "inc dptr \n"
            "mov r0, dpl \n"
            "mov r1, dph \n"
            "mov dpl, r2 \n"
            "mov dph, r3 \n"
            "djnz r7, 3$ \n"
            "ret");
}

#endif
