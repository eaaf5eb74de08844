/*
 * Training: a reset, a step, and the order in which a board that trains by itself visits its
 * rows. Knows nothing of UARTs, so the host compiles it as well.
 */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include "nn_config.h"
#include "nn_types.h"

/* The schedule below is compiled where it is used: stand-alone boards and the host. */
#ifndef NN_SCHEDULE
#define NN_SCHEDULE NN_STANDALONE
#endif

/* Steps since the reset; a step is one sample. */
extern NN_XDATA uint32_t nn_train_steps;

/* Draws new weights from the seed and sets the step counter to 0. */
void nn_train_reset(uint16_t seed);

/*
 * One training step on the sample that has been loaded. `first` and `last` (0 or 1) tell whether
 * it opens or closes its batch. It stays a function where it could be inlined, because its cost is
 * read from its machine code.
 */
#if NN_STANDALONE && defined(__GNUC__)
__attribute__((noipa))
#endif
void nn_train_step(uint8_t first, uint8_t last);

#if NN_SCHEDULE
/*
 * The schedule. nn_train_start resets; then each nn_train_next that returns 1 has picked a row:
 * load row nn_get_row() and call nn_train_visit. 0: all `epochs` are done.
 */
void nn_train_start(uint16_t seed);
uint8_t nn_train_next(uint16_t epochs);
void nn_train_visit(void);

#ifdef NN_CHECKPOINT
/* Goes on after `step`, whose state has been put into place. */
void nn_train_resume(uint32_t step);
#endif
#endif

#endif
