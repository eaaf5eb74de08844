/*
 * What differs between the clones of the 8051: each implements this in a folder of its own.
 */
#ifndef NN_CHIP_H
#define NN_CHIP_H

#include "nn_messages.h"
#include "nn_types.h"

/*
 * PCON's two flags of general purpose hold the cause of the last start: a reset by the hardware
 * clears them, NN_CAUSE_UNKNOWN.
 */
#define NN_PCON(cause) ((cause) << 2)

/* Sets up the timer that clocks the UART, for NN_BAUD. It does not run yet. */
void nn_chip_init(void);

void nn_chip_start_clock(void);
void nn_chip_stop_clock(void);

/* Starts the program anew. */
void nn_chip_reset(void);

#endif
