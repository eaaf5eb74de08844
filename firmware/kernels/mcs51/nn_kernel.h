/*
 * Kernels of the 8051, called by the generated net where host/nnhost/kernels.py has a rule. Each
 * computes exactly what the C that it replaces computes.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include "nn_types.h"

/* `wide` clamped to 16 bits. */
int16_t nn_kernel_saturate(int32_t wide);

/* word * byte, by two of the 8x8 products that the chip has an instruction for. */
int32_t nn_kernel_multiply(int16_t word, uint8_t byte);

#endif
