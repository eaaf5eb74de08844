/*
 * What the board lets the host compare: checksums of memory, read back after the step rather than
 * gathered while writing, so that a cell that did not take its value is noticed.
 */
#ifndef NN_DIGEST_H
#define NN_DIGEST_H

#include "nn_types.h"

/* CRC of the whole training state. */
uint16_t nn_digest_state(void);

/* CRC of the 256th of the state whose turn it is at this step; every 16 steps the next. */
uint16_t nn_digest_slice(uint16_t step);

/* CRC of the last forward pass: hidden activations, then logits. */
uint16_t nn_digest_trace(void);

/* CRC of all that was flashed, where NN_HEALTH is 1. */
uint16_t nn_digest_image(void);

#endif
