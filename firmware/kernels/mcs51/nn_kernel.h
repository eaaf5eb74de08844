/*
 * Kernels of the 8051, called by the generated net where host/nnhost/kernels.py has a rule. Each
 * computes exactly what the C that it replaces computes. nn_config.h names those that a net calls.
 *
 * Those in assembly are naked functions, each alone in its file: SDCC takes no notice of the
 * registers that they change. The first argument comes in DPTR and the others in bytes of their own
 * called _<function>_PARM_<n>; a 32-bit result leaves in DPL, DPH, B and A. n is never 0.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include "nn_config.h"
#include "nn_types.h"

/* `wide` clamped to 16 bits. */
int16_t nn_kernel_saturate(int32_t wide);

/* word * flag, which is 0 or 1. */
#define nn_kernel_pick(word, flag) (((flag) != 0U) ? (word) : 0)

/* word * byte, by two of the 8x8 products that the chip has an instruction for. */
int32_t nn_kernel_multiply(int16_t word, uint8_t byte);

/* Sum of (weight[i] >> 8) * x[i] for i below n. */
int32_t nn_kernel_dot_u8(const int16_t NN_XDATA *weight, const uint8_t NN_IDATA *x, uint8_t n);

/* The same with signed x, and `stride` bytes from one weight to the next. */
int32_t nn_kernel_dot_s8(const int16_t NN_XDATA *weight, const int8_t NN_IDATA *x, uint8_t n,
                         uint16_t stride);

/*
 * weight[i] = saturate(weight[i] - ((factor * x[i] + d[i]) >> 8)) for i below n, where
 * d[i] = (dither + 157 * i) & 255.
 */
void nn_kernel_update_u8(int16_t NN_XDATA *weight, const uint8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t n);
void nn_kernel_update_s8(int16_t NN_XDATA *weight, const int8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t n);

/* The same on slots, which are zero where a batch begins (`first` is not 0). */
void nn_kernel_gather_u8(int16_t NN_XDATA *slot, const uint8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t first, uint8_t n);
void nn_kernel_gather_s8(int16_t NN_XDATA *slot, const int8_t NN_IDATA *x, int16_t factor,
                         uint8_t dither, uint8_t first, uint8_t n);

/* weight[i] = saturate(weight[i] + velocity[i]) for i below n. */
void nn_kernel_add(int16_t NN_XDATA *weight, const int16_t NN_XDATA *velocity, uint8_t n);

/* The next n * many numbers of the generator. */
void nn_kernel_draw(uint16_t NN_XDATA *to, uint8_t n, uint8_t many);

/*
 * factor[i] = saturate((delta[i] * rate + (draw[i] & mask)) >> shift) for i below n, where shift is
 * 1..15, mask is 2^shift - 1, and `stride` bytes lead from one draw to the next.
 */
void nn_kernel_factor(int16_t NN_XDATA *factor, const int16_t NN_XDATA *delta,
                      const uint16_t NN_XDATA *draw, uint8_t rate, uint8_t n, uint16_t stride,
                      uint16_t mask, uint8_t shift);

/* byte[i] = (word[i] + 128) >> 8, at most 127, for i below n. */
void nn_kernel_narrow(int8_t NN_IDATA *byte, const int16_t NN_XDATA *word, uint8_t n);

/* The largest of n values. */
int32_t nn_kernel_largest(const int32_t NN_XDATA *value, uint8_t n);

/* The index of the first of n values that is the one wanted, but at most `last`. */
uint8_t nn_kernel_find(const int32_t NN_XDATA *value, int32_t wanted, uint8_t last, uint8_t n);

/*
 * gap[i] = (top - logit[i] + half) >> s clamped to 0..255 for i below n, where s is 1..8, half is
 * half of 2^s, and factor is 2^(8 - s).
 */
void nn_kernel_gap(uint8_t NN_XDATA *gap, const int32_t NN_XDATA *logit, int32_t top, uint8_t n,
                   uint8_t factor);

/* The sum of the table's entries at n indices. */
int32_t nn_kernel_mass(const uint8_t NN_XDATA *index, const uint16_t NN_CODE *table, uint8_t n);

/*
 * delta[i] = ((table[gap[i]] << 15) + (mass >> 1)) / mass, less 32768 where i is `target`, at most
 * 32767, for i below n. Entries are at most 32768; mass is 2^15 to 255 * 2^15.
 */
void nn_kernel_share(int16_t NN_XDATA *delta, const uint8_t NN_XDATA *gap,
                     const uint16_t NN_CODE *table, uint32_t mass, uint8_t target, uint8_t n);

/*
 * The steps of all weights (rows times n) and biases of a layer, both unless the row's factor is 0:
 * weight[o][i] = saturate(weight[o][i] - ((factor[o] * x[i] + d[i]) >> 8)), where
 * d[i] = ((draw[2 * o] >> 8) + 157 * i) & 255, and for bias[o] the same with `one` for x[i] and
 * `offset` for 157 * i. `is_signed`: x is int8_t, else uint8_t.
 */
void nn_kernel_rows(int16_t NN_XDATA *weight, const void NN_IDATA *x,
                    const int16_t NN_XDATA *factor, const uint16_t NN_XDATA *draw,
                    int16_t NN_XDATA *bias, uint8_t one, uint16_t offset, uint8_t rows, uint8_t n,
                    uint8_t is_signed);

/* (gradient * slope + 2^13) >> 14, with a slope of 2^14 at most. */
int16_t nn_kernel_slope(int16_t gradient, uint16_t slope);

/*
 * The sum of (value[i] * value[i]) >> s for i below n, where factor is 2^(16 - s), s is 9..15, and
 * the sum fits 24 bits.
 */
int32_t nn_kernel_squares(const int16_t NN_XDATA *value, uint8_t n, uint8_t factor);

#endif
