#include "nn_kernel.h"

#if NN_KERNEL_MULTIPLY

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
