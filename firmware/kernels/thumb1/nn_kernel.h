/*
 * Kernels of the Cortex-M0 (Thumb-1).
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include "../cortex-m/nn_kernel_scalar.h"

#endif
