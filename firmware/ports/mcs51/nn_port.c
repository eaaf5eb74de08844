/*
 * What all 8051s share. The UART is in mode 1, RXD is P3.0, TXD is P3.1; TI stays set while the
 * transmitter is idle, so that a write waits for the byte before it. Timer 0 is the stopwatch.
 * The board record says where STC's watchdog is, if there is one: NN_WATCHDOG.
 */
#include "nn_port.h"

#include "nn_chip.h"
#include "nn_config.h"

__sfr __at(0x81) SP;
__sfr __at(0x87) PCON;
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

#define LAST ((uint8_t NN_IDATA *)0xFFU) /* of the stack, and of iram */

#define PCON_POWER_OFF 0x10U /* POF of many clones: the supply was gone */

#define OVERFLOW_CYCLES 6 /* that an interrupt takes from what is measured */

#if defined(NN_WATCHDOG)
__sfr __at(NN_WATCHDOG) WDT_CONTR;
#define show_life() (WDT_CONTR = 0x37U) /* EN_WDT, CLR_WDT; PS 7: 12 * 256 * 32768 clocks */
#else
#define show_life()
#endif

volatile NN_DATA uint8_t nn_port_overflows; /* of the stopwatch */

void nn_port_init(void) {
    uint8_t NN_IDATA *free = (uint8_t NN_IDATA *)SP;
    do {
        free++;
        *free = UNTOUCHED;
    } while (free != LAST);
    if ((PCON & PCON_POWER_OFF) != 0U) {
        PCON = NN_PCON(NN_CAUSE_POWER);
    }
    nn_chip_init();
    SCON = SCON_MODE_1;
    TI = 1;
}

/*
 * Nothing ticks while the board computes: a simulator pays for each tick. (No conditional
 * expression here: it would claim a byte of the scarce internal RAM for its bit.)
 */
void nn_port_listen(uint8_t on) {
    show_life();
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
        show_life();
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

/* clang-format off */
/* overflows * 65536 + TH0 * 256 + TL0 - overflows * OVERFLOW_CYCLES, in a third of what C takes. */
uint32_t nn_port_clock_stop(void) __naked {
    /* cppcheck-suppress missingReturn ; the result is in A, B, DPH and DPL */
    __asm
    clr _TR0
    clr _EA
    mov a, _nn_port_overflows
    mov b, #OVERFLOW_CYCLES
    mul ab
    mov r7, a
    mov a, _TL0
    clr c
    subb a, r7
    mov dpl, a
    mov a, _TH0
    subb a, b
    mov dph, a
    mov a, _nn_port_overflows
    subb a, #0
    mov b, a
    clr a
    ret
    __endasm;
}

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
    uint8_t NN_IDATA *top = LAST;
    while (*top == UNTOUCHED) { /* ends at the return address of this function, at the latest */
        top--;
    }
    return (uint8_t)((uint8_t)top - stack_start() + 1U);
}

uint8_t nn_port_overrun(void) { return (uint8_t)(*LAST ^ UNTOUCHED); }

uint8_t nn_port_cause(void) {
    uint8_t flags = PCON; /* on its own: `PCON >> 2` would be an int */
    flags >>= 2;
    return (uint8_t)(flags & 3U);
}

void nn_port_reset(void) {
    nn_chip_start_clock();
    while (!TI) {
    }
    nn_chip_reset();
}
