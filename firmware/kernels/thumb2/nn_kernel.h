/*
 * Kernels of the Cortex-M3 (Thumb-2).
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include "../cortex-m/nn_kernel_scalar.h"

#endif
