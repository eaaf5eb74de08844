/*
 * An STC8 or STC15: its own kind of Timer 2, at one clock a count, clocks UART 1.
 */
#include "nn_chip.h"

#include <stdint.h>

#include "nn_config.h"

__sfr __at(0x87) PCON;
__sfr __at(0x8E) AUXR;
__sfr __at(0xC1) WDT_CONTR;
__sfr __at(0xC7) IAP_CONTR;
__sfr __at(0xD6) T2H;
__sfr __at(0xD7) T2L;

#define AUXR_STOPPED 0x01U /* S1ST2; what is then written to the timer is its reload value, too */
#define AUXR_RUNNING 0x15U /* T2R, T2x12, S1ST2: running, undivided, clocks UART 1 */
#define WDT_FLAG 0x80U     /* the watchdog has reset the chip */
#define IAP_RESET 0x20U    /* SWRST */
#define RELOAD (65536UL - (NN_CLOCK_HZ + (2UL * NN_BAUD)) / (4UL * NN_BAUD))

void nn_chip_init(void) {
    if ((WDT_CONTR & WDT_FLAG) != 0U) {
        PCON = NN_PCON(NN_CAUSE_WATCHDOG);
    }
    AUXR = AUXR_STOPPED;
    T2H = (uint8_t)(RELOAD >> 8);
    T2L = (uint8_t)(RELOAD & 0xFFU);
}

void nn_chip_start_clock(void) { AUXR = AUXR_RUNNING; }

void nn_chip_stop_clock(void) { AUXR = AUXR_STOPPED; }

void nn_chip_reset(void) {
    IAP_CONTR = IAP_RESET;
    for (;;) {
    }
}
