#include "nn_train.h"

#include "nn_net.h"
#include "nn_prng.h"

NN_XDATA uint32_t nn_train_steps;

void nn_train_reset(uint16_t seed) {
    nn_prng_seed(seed);
    nn_init();
    nn_train_steps = 0UL;
}

void nn_train_step(uint8_t first, uint8_t last) {
    nn_set_batch(first, last);
    nn_forward();
    nn_measure();
    nn_backward();
    nn_update();
    nn_train_steps++;
}

#if NN_SCHEDULE

static NN_XDATA uint16_t epoch;    /* epochs completed */
static NN_XDATA uint16_t visited;  /* rows visited in this epoch */
static NN_XDATA uint16_t position; /* next place in the epoch's order */
static NN_XDATA uint16_t batched;  /* rows visited in this batch */

void nn_train_start(uint16_t seed) {
    nn_train_reset(seed);
    epoch = 0U;
    visited = 0U;
    position = 0U;
    batched = 0U;
}

/*
 * The order is a permutation of 0 .. NN_ORDER_SIZE - 1, a power of two: places whose row does not
 * exist are passed over. Every row has its place, so the search ends before the order does.
 */
static void pick(void) {
    do {
        nn_set_position(position);
        nn_pick();
        position++;
    } while (nn_get_row() >= NN_ROWS);
}

uint8_t nn_train_next(uint16_t epochs) {
    if (epoch >= epochs) {
        return 0U;
    }
    if (visited == 0U) {
        position = 0U;
        nn_epoch();
    }
    pick();
    return 1U;
}

void nn_train_visit(void) {
    const uint8_t first = (batched == 0U) ? 1U : 0U;
    uint8_t last = 0U;
    visited++;
    batched++;
    if (visited == NN_ROWS) {
        visited = 0U;
        epoch++;
        last = 1U;
    }
    if (batched == NN_BATCH) {
        last = 1U;
    }
    if (last != 0U) {
        batched = 0U;
    }
    nn_train_step(first, last);
}

#ifdef NN_CHECKPOINT
void nn_train_resume(uint32_t step) {
    uint16_t left;
    nn_train_steps = step;
    epoch = 0U;
    while (step >= NN_ROWS) {
        step -= NN_ROWS;
        epoch++;
    }
    visited = (uint16_t)step;
    batched = (uint16_t)(visited % NN_BATCH);
    position = 0U;
    for (left = visited; left != 0U; left--) {
        pick();
    }
}
#endif

#endif
