/*
 * The UART that all 8051s share, in mode 1. RXD is P3.0, TXD is P3.1.
 *
 * TI stays set while the transmitter is idle, so that a write waits for the byte before it.
 */
#include "nn_port.h"

#include "nn_chip.h"

__sfr __at(0x98) SCON;
__sfr __at(0x99) SBUF;
__sbit __at(0x98) RI;
__sbit __at(0x99) TI;
__sbit __at(0x9C) REN;

#define SCON_MODE_1 0x40U /* the baud rate is a timer's; the receiver is off */

void nn_port_init(void) {
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

void nn_port_reset(void) {
    nn_chip_start_clock();
    while (!TI) {
    }
    nn_chip_reset();
}
