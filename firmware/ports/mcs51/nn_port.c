/*
 * What all 8051s share. The UART is in mode 1, RXD is P3.0, TXD is P3.1; TI stays set while the
 * transmitter is idle, so that a write waits for the byte before it. Timer 0 is the stopwatch.
 */
#include "nn_port.h"

#include "nn_chip.h"

__sfr __at(0x81) SP;
__sfr __at(0x89) TMOD;
__sfr __at(0x8A) TL0;
__sfr __at(0x8C) TH0;
__sbit __at(0x8C) TR0;
__sfr __at(0x98) SCON;
__sfr __at(0x99) SBUF;
__sbit __at(0x98) RI;
__sbit __at(0x99) TI;
__sbit __at(0x9C) REN;
__sbit __at(0xA9) ET0;
__sbit __at(0xAF) EA;

#define SCON_MODE_1 0x40U /* the baud rate is a timer's; the receiver is off */

#define TMOD_TIMER_0 0x0FU
#define TMOD_TIMER_0_MODE_1 0x01U /* 16 bits */
#define UNTOUCHED 0xA5U           /* fills the stack, so that it shows how far it has grown */

#define OVERFLOW_CYCLES 6U /* that an interrupt takes from what is measured */

volatile NN_DATA uint8_t nn_port_overflows; /* of the stopwatch */

void nn_port_init(void) {
    uint8_t NN_IDATA *free = (uint8_t NN_IDATA *)SP;
    do {
        free++;
        *free = UNTOUCHED;
    } while (free != (uint8_t NN_IDATA *)0xFFU);
    nn_chip_init();
    SCON = SCON_MODE_1;
    TI = 1;
}

/*
 * Nothing ticks while the board computes: a simulator pays for each tick. (No conditional
 * expression here: it would claim a byte of the scarce internal RAM for its bit.)
 */
void nn_port_listen(uint8_t on) {
    nn_chip_start_clock();
    while (!TI) {
    }
    if (on != 0U) {
        REN = 1;
    } else {
        REN = 0;
        nn_chip_stop_clock();
    }
}

uint8_t nn_port_ready(void) { return RI ? 1U : 0U; }

uint8_t nn_port_read(void) {
    uint8_t byte;
    while (!RI) {
    }
    byte = SBUF;
    RI = 0;
    return byte;
}

void nn_port_write(uint8_t byte) {
    nn_chip_start_clock();
    while (!TI) {
    }
    TI = 0;
    SBUF = byte;
}

void nn_port_clock_start(void) {
    TMOD = (uint8_t)((TMOD & (uint8_t)~TMOD_TIMER_0) | TMOD_TIMER_0_MODE_1);
    TL0 = 0U;
    TH0 = 0U;
    nn_port_overflows = 0U;
    ET0 = 1;
    EA = 1;
    TR0 = 1;
}

uint32_t nn_port_clock_stop(void) {
    TR0 = 0;
    EA = 0;
    return (((uint32_t)nn_port_overflows << 16) | ((uint16_t)TH0 << 8) | TL0) -
           ((uint16_t)nn_port_overflows * OVERFLOW_CYCLES);
}

/* clang-format off */
void nn_port_overflow(void) __interrupt(1) __naked {
    __asm
    inc _nn_port_overflows
    reti
    __endasm;
}

static uint8_t stack_start(void) __naked {
    /* cppcheck-suppress missingReturn ; the result is in DPL */
    __asm
    mov dpl, #__start__stack
    ret
    __endasm;
}
/* clang-format on */

uint16_t nn_port_stack(void) {
    const uint8_t start = stack_start();
    uint8_t used = (uint8_t)(0xFFU - start);
    while ((used != 0U) && (*(uint8_t NN_IDATA *)(uint8_t)(start + used) == UNTOUCHED)) {
        used--;
    }
    return (uint16_t)(used + 1U);
}

void nn_port_reset(void) {
    nn_chip_start_clock();
    while (!TI) {
    }
    nn_chip_reset();
}
