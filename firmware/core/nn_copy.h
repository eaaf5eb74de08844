/* Copies in memory. */
#ifndef NN_COPY_H
#define NN_COPY_H

#include "nn_types.h"

/* Copies `size` bytes, at least one, to a place in any space. */
void nn_copy(const NN_XDATA uint8_t *from, uint8_t *to, uint8_t size);

#endif
