/*
 * What a chip must offer to run nnhost. Each folder of firmware/ports implements these functions
 * in its nn_port.c; nothing else in the firmware touches a register.
 *
 * If NN_WINDOW is 1 the line is half duplex: the board never sends while it listens, and the host
 * never sends while it waits for a reply. A UART that holds one byte is then enough. If it is 2,
 * the port receives whatever the board does, and keeps a frame of NN_PAYLOAD.
 */
#ifndef NN_PORT_H
#define NN_PORT_H

#include "nn_types.h"

/* Clocks, and the UART at NN_BAUD, 8 data bits, no parity, 1 stop bit. The receiver is off. */
void nn_port_init(void);

/*
 * Turns the receiver on (1) while a frame is awaited and off (0) while the board computes (if
 * NN_WINDOW is 2 it stays on), which is a sign of life both times: a watchdog resets the chip if it
 * then computes for NN_WATCHDOG_MS.
 */
void nn_port_listen(uint8_t on);

/* 1 when a byte waits to be read. */
uint8_t nn_port_ready(void);

/* The next byte; waits for it. */
uint8_t nn_port_read(void);

/* Sends a byte; waits until the UART can take it. */
void nn_port_write(uint8_t byte);

/*
 * A stopwatch: starts it at 0, and stops it. It counts the chip's cycles, or what docs/boards.md
 * says of the board, up to 2^24 at least; a process counts none. What comes meanwhile may be lost.
 */
void nn_port_clock_start(void);
uint32_t nn_port_clock_stop(void);

/* The most bytes of the stack that have been in use since the start; 0 for a process. */
uint16_t nn_port_stack(void);

/* 0 unless the stack has reached its end, and perhaps gone over it. */
uint8_t nn_port_overrun(void);

/* Why the chip started last: NN_CAUSE_ of nn_messages.h. */
uint8_t nn_port_cause(void);

/* Where NN_HEALTH is 1: where it was when a fault or a watchdog made it start again; 0: nowhere. */
uint32_t nn_port_fault(void);

/* And all that was flashed, in NN_PORT_PARTS parts. */
typedef struct {
    const uint8_t *at;
    uint32_t size;
} nn_part_t;
#define NN_PORT_PARTS 2U
extern const nn_part_t nn_port_image[NN_PORT_PARTS];

/* Resets the chip, after the last byte has left the UART; also of a virtual board. */
void nn_port_reset(void);

#if defined(__SDCC_mcs51)
/* The stopwatch's overflow. SDCC looks for it where main is. */
void nn_port_overflow(void) __interrupt(1) __naked;
#endif

#endif
