#include "nn_kernel.h"

#if NN_KERNEL_GATHER_U8

void nn_kernel_gather_u8(int16_t NN_XDATA *slot, const uint8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t first, uint8_t n) {
    if (first != 0U) {
        int16_t NN_XDATA *place = slot;
        uint8_t left = n;
        do {
            *place = 0;
            place++;
            left--;
        } while (left != 0U);
    }
    if (factor != 0) {
        nn_kernel_update_u8(slot, x, factor, dither, n);
    }
}

#endif
