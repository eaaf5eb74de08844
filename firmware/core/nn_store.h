/*
 * Checkpoints of a board that trains by itself, in two slots of its store. The slot with the newest
 * is left alone until the other one holds a newer, so that whenever power fails one is whole.
 */
#ifndef NN_STORE_H
#define NN_STORE_H

#include "nn_types.h"

/*
 * Looks for the newest whole checkpoint of this program and puts it into the training state. Its
 * step; 0 if there is none, and the state is as it was. Comes before all other calls.
 */
uint32_t nn_store_load(void);

/* Keeps the training state, and nn_train_steps, which is not 0. */
void nn_store_save(void);

/* Voids both slots: the next start trains from the beginning. */
void nn_store_forget(void);

#endif
