#ifndef NN_MEMORY_H
#define NN_MEMORY_H

#include "nn_types.h"

/* 1 if all variables are as C promises them at the start of main. */
uint8_t memory_is_fresh(void);

/* Leaves other values in them. */
void spoil_memory(void);

#endif
