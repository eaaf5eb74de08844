/*
 * An 8052: Timer 2 clocks the UART, because it divides finer than Timer 1.
 */
#include "nn_chip.h"

#include <stdint.h>

#include "nn_config.h"

__sfr __at(0x87) PCON;
__sfr __at(0xC8) T2CON;
__sfr __at(0xCA) RCAP2L;
__sfr __at(0xCB) RCAP2H;
__sfr __at(0xCC) TL2;
__sfr __at(0xCD) TH2;

__sbit __at(0xCA) TR2;

#define T2CON_BAUD_RATE 0x30U /* RCLK, TCLK: both directions; not running */
#define RELOAD (65536UL - (NN_CLOCK_HZ + (16UL * NN_BAUD)) / (32UL * NN_BAUD))

void nn_chip_init(void) {
    RCAP2H = (uint8_t)(RELOAD >> 8);
    RCAP2L = (uint8_t)(RELOAD & 0xFFU);
    TH2 = (uint8_t)(RELOAD >> 8);
    TL2 = (uint8_t)(RELOAD & 0xFFU);
    T2CON = T2CON_BAUD_RATE;
}

void nn_chip_start_clock(void) { TR2 = 1; }

void nn_chip_stop_clock(void) { TR2 = 0; }

void nn_chip_reset(void) {
    PCON = NN_PCON(NN_CAUSE_SOFTWARE);
    /* It cannot reset itself; but the start-up code sets the stack and clears all variables. */
    ((void (*)(void))0)();
}
