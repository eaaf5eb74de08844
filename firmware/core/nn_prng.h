/*
 * The pseudo-random numbers of weights and visiting order: Marsaglia's 16-bit xorshift with the
 * shifts 7, 9, 8. It visits every value from 1 to 65535 once before it repeats.
 */
#ifndef NN_PRNG_H
#define NN_PRNG_H

#include "nn_types.h"

/* The last number drawn; never 0. Part of the training state. */
extern uint16_t nn_prng_state;

/* Starts the sequence; 0 stands for 1. */
void nn_prng_seed(uint16_t seed);

/* The next number, 1 .. 65535. */
uint16_t nn_prng_next(void);

#endif
