/*
 * Kernels of the Cortex-M0 and M3, which have no instructions for two numbers in a word. Called by
 * the generated net where host/nnhost/kernels/cortex_m.py has a rule; each computes exactly what
 * the C that it replaces computes.
 */
#ifndef NN_KERNEL_SCALAR_H
#define NN_KERNEL_SCALAR_H

#include "nn_kernel_common.h"

/* A weight as the passes see it: all of it, or with `seen` = 8 its upper byte. */
NN_INLINE int32_t nn_seen(const int16_t *weight, uint8_t seen) {
    return (seen != 0U) ? ((const int8_t *)weight)[1] : *weight;
}

/* Sums of `count` (1, 2 or 4) rows, which share their inputs. */
NN_INLINE void nn_sum_rows(int32_t *sums, const int16_t *weight, const void *x, uint8_t kind,
                           uint16_t columns, uint8_t seen, uint8_t count) {
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    uint16_t c;
#pragma GCC unroll 8
    for (c = 0U; c < columns; c++) {
        const int32_t input = nn_input(x, kind, c);
        const int16_t *const w = &weight[c];
        s0 += nn_seen(w, seen) * input;
        if (count > 1U) {
            s1 += nn_seen(&w[columns], seen) * input;
        }
        if (count > 2U) {
            s2 += nn_seen(&w[2U * columns], seen) * input;
            s3 += nn_seen(&w[3U * columns], seen) * input;
        }
    }
    sums[0] = s0;
    if (count > 1U) {
        sums[1] = s1;
    }
    if (count > 2U) {
        sums[2] = s2;
        sums[3] = s3;
    }
}

/* sums[r] = sum of (weight[r][c] >> seen) * x[c] over c; seen is 0 or 8. */
NN_INLINE void nn_kernel_sums(int32_t *sums, const int16_t *weight, const void *x, uint8_t kind,
                              uint16_t rows, uint16_t columns, uint8_t seen) {
    uint16_t r;
    for (r = 0U; r + 4U <= rows; r = (uint16_t)(r + 4U)) {
        nn_sum_rows(&sums[r], &weight[r * columns], x, kind, columns, seen, 4U);
    }
    if (rows % 4U > 1U) {
        nn_sum_rows(&sums[r], &weight[r * columns], x, kind, columns, seen, 2U);
        r = (uint16_t)(r + 2U);
    }
    if (rows % 2U != 0U) {
        nn_sum_rows(&sums[r], &weight[r * columns], x, kind, columns, seen, 1U);
    }
}

/* Sums of `count` (1, 2 or 4) columns. */
NN_INLINE void nn_sum_columns(int32_t *sums, const int16_t *weight, const void *x, uint8_t kind,
                              uint16_t rows, uint16_t columns, uint8_t seen, uint8_t count) {
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    uint16_t r;
    for (r = 0U; r < rows; r++) {
        const int32_t input = nn_input(x, kind, r);
        s0 += nn_seen(weight, seen) * input;
        if (count > 1U) {
            s1 += nn_seen(&weight[1], seen) * input;
        }
        if (count > 2U) {
            s2 += nn_seen(&weight[2], seen) * input;
            s3 += nn_seen(&weight[3], seen) * input;
        }
        weight += columns;
    }
    sums[0] = s0;
    if (count > 1U) {
        sums[1] = s1;
    }
    if (count > 2U) {
        sums[2] = s2;
        sums[3] = s3;
    }
}

/* sums[c] = sum of (weight[r][c] >> seen) * x[r] over r. */
NN_INLINE void nn_kernel_sums_across(int32_t *sums, const int16_t *weight, const void *x,
                                     uint8_t kind, uint16_t columns, uint16_t rows, uint8_t seen) {
    uint16_t c;
    for (c = 0U; c + 4U <= columns; c = (uint16_t)(c + 4U)) {
        nn_sum_columns(&sums[c], &weight[c], x, kind, rows, columns, seen, 4U);
    }
    if (columns % 4U > 1U) {
        nn_sum_columns(&sums[c], &weight[c], x, kind, rows, columns, seen, 2U);
        c = (uint16_t)(c + 2U);
    }
    if (columns % 2U != 0U) {
        nn_sum_columns(&sums[c], &weight[c], x, kind, rows, columns, seen, 1U);
    }
}

/* Noise of p bits at the upper end of a word, which wraps around by itself. */
NN_INLINE uint32_t nn_noise_start(uint16_t draw, uint8_t p) {
    return ((uint32_t)draw >> (16U - p)) << (32U - p);
}

/* One element of nn_kernel_momentum. */
NN_INLINE void nn_momentum_step(int16_t *v, int16_t *w, int32_t sum, uint32_t noise, uint8_t p,
                                uint8_t e, uint8_t fits) {
    const int32_t noisy = sum + (int32_t)(noise >> (32U - p));
    const int32_t moved = fits ? (noisy >> p) : nn_saturate_shifted(noisy, p);
    const uint32_t finer = (e > 0U) ? (noise >> (32U - e)) : 0U;
    *v = (int16_t)moved;
    *w = (int16_t)nn_saturate(*w + ((moved + (int32_t)finer) >> e));
}

/*
 * All rows of velocities and weights, with the factor and the second draw of each:
 *     v = saturate((v * momentum - factor * x + noise) >> p)
 *     w = saturate(w + ((v + (noise >> (p - e))) >> e))
 * Where the factor is zero, no velocity grows, and one that is zero leaves its weight alone.
 */
NN_INLINE void nn_kernel_momentum(int16_t *velocity, int16_t *weight, const void *x, uint8_t kind,
                                  const int16_t *factor, const uint16_t *draws, uint16_t momentum,
                                  uint16_t rows, uint16_t columns, uint8_t p, uint8_t e) {
    const uint32_t step = (uint32_t)nn_noise_step(p) << 16;
    uint16_t r, c;
    for (r = 0U; r < rows; r++) {
        const int32_t f = factor[r];
        uint32_t noise = nn_noise_start(draws[2U * r], p);
        int16_t *v = &velocity[r * columns];
        int16_t *w = &weight[r * columns];
        if (f != 0) {
#pragma GCC unroll 4
            for (c = 0U; c < columns; c++) {
                const int32_t sum = *v * momentum - f * nn_input(x, kind, c);
                nn_momentum_step(v++, w++, sum, noise, p, e, 0U);
                noise += step;
            }
            continue;
        }
#pragma GCC unroll 4
        for (c = 0U; c < columns; c++) {
            if (*v != 0) {
                nn_momentum_step(v, w, *v * momentum, noise, p, e, 1U);
            }
            v++;
            w++;
            noise += step;
        }
    }
}

/*
 * weight = saturate(weight - ((factor * x + noise) >> p), row by row. A zero factor or input
 * changes nothing.
 */
NN_INLINE void nn_kernel_update(int16_t *weight, const void *x, uint8_t kind, const int16_t *factor,
                                const uint16_t *draws, uint16_t rows, uint16_t columns, uint8_t p) {
    const uint32_t step = (uint32_t)nn_noise_step(p) << 16;
    uint16_t r, c;
    for (r = 0U; r < rows; r++) {
        const int32_t f = factor[r];
        uint32_t noise = nn_noise_start(draws[2U * r], p);
        int16_t *w = &weight[r * columns];
        if (f == 0) {
            continue;
        }
#pragma GCC unroll 2
        for (c = 0U; c < columns; c++) {
            const int32_t input = nn_input(x, kind, c);
            if (input != 0) {
                const int32_t moved = (f * input + (int32_t)(noise >> (32U - p))) >> p;
                *w = (int16_t)nn_saturate(*w - moved);
            }
            w++;
            noise += step;
        }
    }
}

/*
 * Slots that gather the steps of a batch:
 * saturate((first ? 0 : slot) - ((factor * x + noise) >> p)).
 */
NN_INLINE void nn_kernel_gather(int16_t *slot, const void *x, uint8_t kind, const int16_t *factor,
                                const uint16_t *draws, uint8_t first, uint16_t rows,
                                uint16_t columns, uint8_t p) {
    if (first != 0U) {
        nn_clear(slot, rows, columns);
    }
    nn_kernel_update(slot, x, kind, factor, draws, rows, columns, p);
}

/* Velocities, which gather them as well. */
NN_INLINE void nn_kernel_velocity(int16_t *velocity, const void *x, uint8_t kind,
                                  const int16_t *factor, const uint16_t *draws, uint8_t first,
                                  uint16_t momentum, uint16_t rows, uint16_t columns, uint8_t p) {
    if (first != 0U) {
        nn_move(velocity, x, kind, factor, draws, momentum, rows, columns, p);
    } else {
        nn_kernel_update(velocity, x, kind, factor, draws, rows, columns, p);
    }
}

#endif
