/*
 * What the kernels of all Cortex-M share. All kernels are inlined into the generated net, so that
 * extents, types and shifts are constants.
 */
#ifndef NN_KERNEL_COMMON_H
#define NN_KERNEL_COMMON_H

#include "nn_prng.h"
#include "nn_types.h"

#define NN_INLINE static inline __attribute__((always_inline))

/* Types of inputs. */
#define NN_UINT8 0
#define NN_INT8 1
#define NN_UINT16 2
#define NN_INT16 3

/* wide >> shift, clamped to 16 bits. */
NN_INLINE int32_t nn_saturate_shifted(int32_t wide, uint8_t shift) {
#if defined(__ARM_FEATURE_SAT)
    int32_t narrow;
    __asm("ssat %0, #16, %1, asr %2" : "=r"(narrow) : "r"(wide), "i"(shift));
    return narrow;
#else
    const int32_t shifted = wide >> shift;
    return ((int16_t)shifted == shifted) ? shifted : ((shifted >> 31) ^ 0x7FFF);
#endif
}

NN_INLINE int32_t nn_saturate(int32_t wide) {
#if defined(__ARM_FEATURE_SAT)
    int32_t narrow;
    __asm("ssat %0, #16, %1" : "=r"(narrow) : "r"(wide));
    return narrow;
#else
    return nn_saturate_shifted(wide, 0U);
#endif
}

NN_INLINE int32_t nn_input(const void *x, uint8_t kind, uint16_t i) {
    switch (kind) {
    case NN_UINT8:
        return ((const uint8_t *)x)[i];
    case NN_INT8:
        return ((const int8_t *)x)[i];
    default: /* as int16_t, which the proven range of an uint16_t fits */
        return ((const int16_t *)x)[i];
    }
}

/*
 * Noise for the columns of a row, p bits each, that moves by an odd multiple from column to column:
 * a counter in the upper p bits of 16, which wraps around by itself. Below it lie the draw's
 * remaining bits, which no sum feels: what it is added to is shifted right by so many more.
 */
NN_INLINE uint16_t nn_noise_step(uint8_t p) {
    const uint16_t multiple =
        (uint16_t)(((p >= 8U) ? (157U << (p - 8U)) : (157U >> (8U - p))) | 1U);
    return (uint16_t)(multiple << (16U - p));
}

NN_INLINE int32_t nn_noise(uint16_t draw, uint16_t column, uint8_t p) {
    return (uint16_t)(draw + column * nn_noise_step(p)) >> (16U - p);
}

/* The slots of a batch before its first sample. */
NN_INLINE void nn_clear(int16_t *slot, uint16_t rows, uint16_t columns) {
    const int16_t *const end = &slot[(uint32_t)rows * columns];
    while (slot != end) {
        *slot++ = 0;
    }
}

/* Velocities at the first sample of a batch: saturate((v * momentum - factor * x + noise) >> p). */
NN_INLINE void nn_move(int16_t *v, const void *x, uint8_t kind, const int16_t *factor,
                       const uint16_t *draws, uint16_t momentum, uint16_t rows, uint16_t columns,
                       uint8_t p) {
    uint16_t r, c;
    for (r = 0U; r < rows; r++) {
        const int32_t f = factor[r];
        for (c = 0U; c < columns; c++) {
            const int32_t sum = *v * momentum - f * nn_input(x, kind, c);
            *v = (int16_t)nn_saturate_shifted(sum + nn_noise(draws[2U * r], c, p), p);
            v++;
        }
    }
}

/* A row of one column, such as the biases, by itself: the input is a constant, and so is `shift`,
   by which the column moves the noise. */
NN_INLINE void nn_kernel_momentum_biases(int16_t *velocity, int16_t *weight, const int16_t *factor,
                                         const uint16_t *draws, uint16_t momentum, uint16_t input,
                                         uint32_t shift, uint16_t n, uint8_t p, uint8_t e) {
    uint16_t i;
    for (i = 0U; i < n; i++) {
        const int32_t noise =
            (int32_t)(((uint32_t)(draws[2U * i] >> (16U - p)) + shift) & ((1UL << p) - 1UL));
        const int32_t sum = velocity[i] * momentum - factor[i] * input + noise;
        const int32_t moved = nn_saturate_shifted(sum, p);
        velocity[i] = (int16_t)moved;
        weight[i] = (int16_t)nn_saturate(weight[i] + ((moved + (noise >> (p - e))) >> e));
    }
}

/* The next n random numbers. What shifts to the left bring above 16 bits is left there: no bit
   below ever feels it. */
NN_INLINE void nn_draw(uint16_t *to, uint32_t n) {
    const uint16_t *const end = &to[n];
    uint32_t x = nn_prng_state;
#pragma GCC unroll 4
    while (to != end) {
        x ^= x << 7;
        x ^= (x >> 9) & 0x7FU;
        x ^= x << 8;
        *to++ = (uint16_t)x;
    }
    nn_prng_state = (uint16_t)x;
}

#ifndef __ARM_FEATURE_MVE
/* Fills rows of draws with the next random numbers. */
NN_INLINE void nn_kernel_draw(uint16_t *to, uint16_t rows, uint16_t columns) {
    nn_draw(to, (uint32_t)rows * columns);
}
#endif

#endif
