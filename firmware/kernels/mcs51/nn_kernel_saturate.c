#include "nn_kernel.h"

#if NN_KERNEL_SATURATE

/* In range means that the upper half only repeats the sign of the lower. */
int16_t nn_kernel_saturate(int32_t wide) {
    const int16_t upper = (int16_t)(wide >> 16U);
    const int16_t lower = (int16_t)wide;
    if (upper == ((lower < 0) ? -1 : 0)) {
        return lower;
    }
    return (upper < 0) ? (-32767 - 1) : 32767;
}

#endif
