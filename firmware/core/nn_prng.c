#include "nn_prng.h"

uint16_t nn_prng_state = 1U;

void nn_prng_seed(uint16_t seed) { nn_prng_state = (seed == 0U) ? 1U : seed; }

uint16_t nn_prng_next(void) {
    uint16_t x = nn_prng_state;
    x = (uint16_t)(x ^ (uint16_t)(x << 7));
    x = (uint16_t)(x ^ (uint16_t)(x >> 9));
    x = (uint16_t)(x ^ (uint16_t)(x << 8));
    nn_prng_state = x;
    return x;
}
