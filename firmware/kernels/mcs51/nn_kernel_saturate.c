#include "nn_kernel.h"

#include "nn_config.h"

#if NN_KERNELS

/* In range means that the upper half only repeats the sign of the lower. */
int16_t nn_kernel_saturate(int32_t wide) {
    const int16_t upper = (int16_t)(wide >> 16U);
    const int16_t lower = (int16_t)wide;
    if (upper == ((lower < 0) ? -1 : 0)) {
        return lower;
    }
    return (upper < 0) ? (-32767 - 1) : 32767;
}

int32_t nn_kernel_multiply(int16_t word, uint8_t byte) {
    const uint16_t size = (word < 0) ? (uint16_t)(0U - (uint16_t)word) : (uint16_t)word;
    const uint16_t low = (uint16_t)((uint8_t)size * byte);
    uint16_t high = (uint16_t)((uint8_t)(size >> 8U) * byte);
    uint32_t product;
    high = (uint16_t)(high + (uint8_t)(low >> 8U));
    product = ((uint32_t)high << 8U) | (uint8_t)low;
    return (word < 0) ? -(int32_t)product : (int32_t)product;
}

#endif
