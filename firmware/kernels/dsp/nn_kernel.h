/*
 * Kernels of the Cortex-M4, M7 and M33 (the DSP extension: two 16-bit numbers in a word), called by
 * the generated net where host/nnhost/kernels/dsp.py has a rule. Each computes exactly what the C
 * that it replaces computes. All are inlined, so that extents, types and shifts are constants.
 *
 * A pair is the word of two elements that follow each other, the first in the lower half. Matrices
 * are aligned to words (NN_ALIGNED), so their rows are where `columns` is even: then four elements
 * at a time are done in assembly, for there are just as many registers as a loop needs. What is
 * left, and rows of odd length, is done pair by pair; a pair may have one element.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include <arm_acle.h>

#include "../cortex-m/nn_kernel_common.h"

/* The lower half of a, and that of b above it. */
NN_INLINE int16x2_t nn_pack_lower(int32_t a, int32_t b) {
    int16x2_t pair;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

/* The upper half of a, and that of b above it. */
NN_INLINE int16x2_t nn_pack_upper(int32_t a, int32_t b) {
    int16x2_t pair;
    __asm("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* Upper bytes of a pair, with their signs, as a pair. */
NN_INLINE int16x2_t nn_upper_bytes(int16x2_t pair) {
    int16x2_t bytes;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(bytes) : "r"(pair));
    return bytes;
}

NN_INLINE int16x2_t nn_seen(int16x2_t pair, uint8_t seen) {
    return (seen != 0U) ? nn_upper_bytes(pair) : pair;
}

/* A pair that may lie at any even address, of which `left` elements exist. */
NN_INLINE int16x2_t nn_load_pair(const int16_t *at, uint16_t left) {
    int16x2_t pair = (uint16_t)*at;
    if (left > 1U) {
        __builtin_memcpy(&pair, at, 4U);
    }
    return pair;
}

NN_INLINE void nn_store_pair(int16_t *at, int16x2_t pair, uint16_t left) {
    if (left > 1U) {
        __builtin_memcpy(at, &pair, 4U);
    } else {
        *at = (int16_t)pair;
    }
}

/* Two inputs from the i-th on as a pair, of which `left` exist. */
NN_INLINE int16x2_t nn_input_pair(const void *x, uint8_t kind, uint16_t i, uint16_t left) {
    if (kind >= NN_UINT16) {
        return nn_load_pair((const int16_t *)x + i, left);
    }
    return nn_pack_lower(nn_input(x, kind, i),
                         (left > 1U) ? nn_input(x, kind, (uint16_t)(i + 1U)) : 0);
}

NN_INLINE int8x4_t nn_load_four(const uint8_t *at) {
    int8x4_t four;
    __builtin_memcpy(&four, at, 4U);
    return four;
}

/* Both halves times 2^shift, which fit. */
NN_INLINE int16x2_t nn_shift_pair(int16x2_t pair, uint8_t shift) {
    if (shift == 0U) {
        return pair;
    }
    return nn_pack_lower((int32_t)((uint32_t)pair << shift),
                         (int32_t)((uint32_t)(pair >> 16) << shift));
}

/*
 * x[i] << shift for i below n, which must fit int16_t: in `room`, or x itself where it is that
 * already. x is aligned to words.
 */
NN_INLINE const int16_t *nn_widen(int16_t *room, const void *x, uint8_t kind, uint16_t n,
                                  uint8_t shift) {
    uint16_t i = 0U;
    if ((kind >= NN_UINT16) && (shift == 0U)) {
        return (const int16_t *)x;
    }
    if (kind < NN_UINT16) {
        for (; i + 4U <= n; i = (uint16_t)(i + 4U)) {
            const int8x4_t four = nn_load_four((const uint8_t *)x + i);
            const int16x2_t even =
                (kind == NN_UINT8) ? (int16x2_t)__uxtb16((uint8x4_t)four) : __sxtb16(four);
            const int16x2_t odd = (kind == NN_UINT8) ? (int16x2_t)__uxtb16((uint8x4_t)four >> 8)
                                                     : nn_upper_bytes(four);
            nn_store_pair(&room[i], nn_shift_pair(nn_pack_lower(even, odd), shift), 2U);
            nn_store_pair(&room[i + 2U], nn_shift_pair(nn_pack_upper(even, odd), shift), 2U);
        }
    } else {
        for (; i + 2U <= n; i = (uint16_t)(i + 2U)) {
            const int16x2_t pair = nn_load_pair((const int16_t *)x + i, 2U);
            /* The lower half reaches the upper only where it is negative. */
            nn_store_pair(&room[i],
                          (kind == NN_UINT16) ? (int16x2_t)((uint32_t)pair << shift)
                                              : nn_shift_pair(pair, shift),
                          2U);
        }
    }
    for (; i < n; i++) {
        room[i] = (int16_t)(nn_input(x, kind, i) * (1L << shift));
    }
    return room;
}

/* ---- sums --------------------------------------------------------------------------------- */

/* All fours of a row, eight elements a round where `eights`. */
#define NN_ROUNDS(four, operands)                                                                  \
    if (eights) {                                                                                  \
        __asm volatile("1:\n\t" four four operands);                                               \
    } else {                                                                                       \
        __asm volatile("1:\n\t" four operands);                                                    \
    }

/* Four elements of a row times four inputs (x0, x1), added to a sum. */
#define NN_ROW_16(w, sum)                                                                          \
    "ldrd %[a], %[b], [%[" #w "]], #8\n\t"                                                         \
    "smlad %[" #sum "], %[a], %[x0], %[" #sum "]\n\t"                                              \
    "smlad %[" #sum "], %[b], %[x1], %[" #sum "]\n\t"
#define NN_ROW_8(w, sum)                                                                           \
    "ldrd %[a], %[b], [%[" #w "]], #8\n\t"                                                         \
    "sxtb16 %[a], %[a], ror #8\n\t"                                                                \
    "sxtb16 %[b], %[b], ror #8\n\t"                                                                \
    "smlad %[" #sum "], %[a], %[x0], %[" #sum "]\n\t"                                              \
    "smlad %[" #sum "], %[b], %[x1], %[" #sum "]\n\t"
#define NN_FOUR_ROWS(row)                                                                          \
    "ldrd %[x0], %[x1], [%[x]], #8\n\t" row(w0, s0) row(w1, s1) row(w2, s2) row(w3, s3)
#define NN_SUMS_UNTIL_END                                                                          \
    "cmp %[x], %[end]\n\t"                                                                         \
    "bne 1b" : [x] "+&r"(at),                                                                      \
               [w0] "+&r"(w0),                                                                     \
               [w1] "+&r"(w1),                                                                     \
               [w2] "+&r"(w2),                                                                     \
               [w3] "+&r"(w3),                                                                     \
               [s0] "+&r"(s0),                                                                     \
               [s1] "+&r"(s1),                                                                     \
               [s2] "+&r"(s2),                                                                     \
               [s3] "+&r"(s3),                                                                     \
               [x0] "=&r"(x0),                                                                     \
               [x1] "=&r"(x1),                                                                     \
               [a] "=&r"(a),                                                                       \
               [b] "=&r"(b)                                                                        \
        : [end] "r"(end) : "cc", "memory"

NN_INLINE int32_t nn_add_pair(int32_t sum, const int16_t *weight, const int16_t *x, uint16_t left,
                              uint8_t seen) {
    return __smlad(nn_seen(nn_load_pair(weight, left), seen), nn_load_pair(x, left), sum);
}

/* sums[r] = sum of (weight[r][c] >> seen) * x[c] over c; seen is 0 or 8. */
NN_INLINE void nn_kernel_sums(int32_t *sums, int16_t *room, const int16_t *weight, const void *x,
                              uint8_t kind, uint16_t rows, uint16_t columns, uint8_t seen) {
    const int16_t *const wide = nn_widen(room, x, kind, columns, 0U);
    const uint16_t fours = (columns % 2U == 0U) ? (uint16_t)(columns / 4U * 4U) : 0U;
    const uint8_t eights = (columns % 8U == 0U) ? 1U : 0U;
    uint16_t r, c;
    for (r = 0U; r < rows; r = (uint16_t)(r + 4U)) {
        /* Beyond the last row, the last row again: its sum is not kept. */
        const int16_t *w0 = &weight[r * columns];
        const int16_t *w1 = (r + 1U < rows) ? &w0[columns] : w0;
        const int16_t *w2 = (r + 2U < rows) ? &w1[columns] : w1;
        const int16_t *w3 = (r + 3U < rows) ? &w2[columns] : w2;
        const int16_t *at = wide;
        const int16_t *const end = &wide[fours];
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        uint32_t x0, x1, a, b;
        if (fours != 0U) {
            if (seen != 0U) {
                NN_ROUNDS(NN_FOUR_ROWS(NN_ROW_8), NN_SUMS_UNTIL_END)
            } else {
                NN_ROUNDS(NN_FOUR_ROWS(NN_ROW_16), NN_SUMS_UNTIL_END)
            }
        }
        for (c = fours; c < columns; c = (uint16_t)(c + 2U)) {
            const uint16_t left = (uint16_t)(columns - c);
            s0 = nn_add_pair(s0, &w0[c - fours], &wide[c], left, seen);
            s1 = nn_add_pair(s1, &w1[c - fours], &wide[c], left, seen);
            s2 = nn_add_pair(s2, &w2[c - fours], &wide[c], left, seen);
            s3 = nn_add_pair(s3, &w3[c - fours], &wide[c], left, seen);
        }
        sums[r] = s0;
        if (r + 1U < rows) {
            sums[r + 1U] = s1;
        }
        if (r + 2U < rows) {
            sums[r + 2U] = s2;
        }
        if (r + 3U < rows) {
            sums[r + 3U] = s3;
        }
    }
}

/* sums[c] = sum of (weight[r][c] >> seen) * x[r] over r: four columns of two rows at a time. */
NN_INLINE void nn_kernel_sums_across(int32_t *sums, const int16_t *weight, const void *x,
                                     uint8_t kind, uint16_t columns, uint16_t rows, uint8_t seen) {
    uint16_t r, c;
    for (c = 0U; c < columns; c = (uint16_t)(c + 4U)) {
        const uint16_t left = (uint16_t)(columns - c);
        const uint16_t right = (uint16_t)(left - 2U);
        const int16_t *row = &weight[c];
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (r = 0U; r < rows; r = (uint16_t)(r + 2U)) {
            /* Where there is no second row, its factor is zero. */
            const int16_t *const next = (r + 1U < rows) ? &row[columns] : row;
            const int16x2_t factors = nn_input_pair(x, kind, r, (uint16_t)(rows - r));
            const int16x2_t a = nn_seen(nn_load_pair(row, left), seen);
            const int16x2_t b = nn_seen(nn_load_pair(next, left), seen);
            s0 = __smlad(nn_pack_lower(a, b), factors, s0);
            s1 = __smlad(nn_pack_upper(a, b), factors, s1);
            if (left > 2U) {
                const int16x2_t d = nn_seen(nn_load_pair(&row[2], right), seen);
                const int16x2_t e = nn_seen(nn_load_pair(&next[2], right), seen);
                s2 = __smlad(nn_pack_lower(d, e), factors, s2);
                s3 = __smlad(nn_pack_upper(d, e), factors, s3);
            }
            row = &next[columns];
        }
        sums[c] = s0;
        if (left > 1U) {
            sums[c + 1U] = s1;
        }
        if (left > 2U) {
            sums[c + 2U] = s2;
        }
        if (left > 3U) {
            sums[c + 3U] = s3;
        }
    }
}

/* ---- updates ------------------------------------------------------------------------------ */

/*
 * Noise for the columns of a row, P bits each, that moves by an odd multiple: a pair of counters
 * in the upper P bits of each half, which wrap around by themselves. Below them lie the draw's
 * remaining bits, which no sum feels: it is shifted right by so many more.
 */
NN_INLINE uint16x2_t nn_noise_start(uint16_t draw, uint8_t p) {
    return (uint16x2_t)draw | ((uint16x2_t)(uint16_t)(draw + nn_noise_step(p)) << 16);
}

NN_INLINE uint16x2_t nn_noise_next(uint8_t p) {
    return (uint16x2_t)(uint16_t)(2U * nn_noise_step(p)) * 0x10001UL;
}

/*
 * Assembly for four elements: %[x0] and %[x1] are pairs of inputs, %[v0] and %[v1] pairs of
 * velocities and then their new values, which %[x0] and %[x1] hold narrowed in the end. %[mf] has
 * the momentum below the row's factor, %[c] the noise. With `n` the noise of the two elements is
 * left in %[n0] and %[n1].
 */

/* v + ((v * (M - 2^16) - factor * x + noise) >> 16), where M, x and noise have 16 bits more. */
#define NN_MOVE(x, v)                                                                              \
    "pkhbt %[t], %[" v "], %[" x "], lsl #16\n\t"                                                  \
    "pkhtb %[" x "], %[" x "], %[" v "], asr #16\n\t"                                              \
    "smusd %[t], %[t], %[mf]\n\t"                                                                  \
    "smusd %[" x "], %[" x "], %[mf]\n\t"                                                          \
    "uxtah %[t], %[t], %[c]\n\t"                                                                   \
    "add %[" x "], %[" x "], %[c], lsr #16\n\t"                                                    \
    "pkhtb %[" x "], %[" x "], %[t], asr #16\n\t"                                                  \
    "qadd16 %[" v "], %[" v "], %[" x "]\n\t"
#define NN_MOVE_N(x, v)                                                                            \
    "uxth %[n0], %[c]\n\t"                                                                         \
    "lsr %[n1], %[c], #16\n\t"                                                                     \
    "pkhbt %[t], %[" v "], %[" x "], lsl #16\n\t"                                                  \
    "pkhtb %[" x "], %[" x "], %[" v "], asr #16\n\t"                                              \
    "smlsd %[t], %[t], %[mf], %[n0]\n\t"                                                           \
    "smlsd %[" x "], %[" x "], %[mf], %[n1]\n\t"                                                   \
    "pkhtb %[" x "], %[" x "], %[t], asr #16\n\t"                                                  \
    "qadd16 %[" v "], %[" v "], %[" x "]\n\t"
/* The same without inputs, where the factor is zero. */
#define NN_DECAY(x, v)                                                                             \
    "uxth %[n0], %[c]\n\t"                                                                         \
    "lsr %[n1], %[c], #16\n\t"                                                                     \
    "smlabb %[t], %[" v "], %[mf], %[n0]\n\t"                                                      \
    "smlatb %[" x "], %[" v "], %[mf], %[n1]\n\t"                                                  \
    "pkhtb %[" x "], %[" x "], %[t], asr #16\n\t"                                                  \
    "qadd16 %[" v "], %[" v "], %[" x "]\n\t"
/* saturate((v * M - factor * x + noise) >> P), for whatever does not fit the above. */
#define NN_MOVE_P(x, v)                                                                            \
    "ubfx %[n0], %[c], %[up], %[p]\n\t"                                                            \
    "lsr %[n1], %[c], %[up] + 16\n\t"                                                              \
    "pkhbt %[t], %[" v "], %[" x "], lsl #16\n\t"                                                  \
    "pkhtb %[" x "], %[" x "], %[" v "], asr #16\n\t"                                              \
    "smlsd %[t], %[t], %[mf], %[n0]\n\t"                                                           \
    "smlsd %[" x "], %[" x "], %[mf], %[n1]\n\t"                                                   \
    "ssat %[t], #16, %[t], asr %[p]\n\t"                                                           \
    "ssat %[" x "], #16, %[" x "], asr %[p]\n\t"                                                   \
    "pkhbt %[" v "], %[t], %[" x "], lsl #16\n\t"

/* (v + the upper E bits of noise) >> E: one product and sum, with 2^(16-E) in k's lower half. */
#define NN_NARROW(x, v)                                                                            \
    "smlabb %[n0], %[" v "], %[k], %[n0]\n\t"                                                      \
    "smlatb %[n1], %[" v "], %[k], %[n1]\n\t"                                                      \
    "pkhtb %[" x "], %[n1], %[n0], asr #16\n\t"
/* For E = 1, where 2^15 is no int16_t: the mean of v and a bit of noise. */
#define NN_HALVE(x, v)                                                                             \
    "and %[" x "], %[k], %[c], lsr #15\n\t"                                                        \
    "shadd16 %[" x "], %[" v "], %[" x "]\n\t"
/* With P bits: 2^(P-E) in k's lower half. */
#define NN_NARROW_P(x, v)                                                                          \
    "smlabb %[n0], %[" v "], %[k], %[n0]\n\t"                                                      \
    "smlatb %[n1], %[" v "], %[k], %[n1]\n\t"                                                      \
    "lsl %[n1], %[n1], %[up]\n\t"                                                                  \
    "pkhtb %[" x "], %[n1], %[n0], asr %[p]\n\t"
#define NN_AS_IT_IS(x, v) ""

#define NN_NEXT_NOISE "uadd16 %[c], %[c], %[step]\n\t"
#define NN_ADD_NARROWED                                                                            \
    "ldrd %[v0], %[v1], [%[w]]\n\t"                                                                \
    "qadd16 %[v0], %[v0], %[x0]\n\t"                                                               \
    "qadd16 %[v1], %[v1], %[x1]\n\t"                                                               \
    "strd %[v0], %[v1], [%[w]], #8\n\t"
#define NN_ADD                                                                                     \
    "ldrd %[x0], %[x1], [%[w]]\n\t"                                                                \
    "qadd16 %[x0], %[x0], %[v0]\n\t"                                                               \
    "qadd16 %[x1], %[x1], %[v1]\n\t"                                                               \
    "strd %[x0], %[x1], [%[w]], #8\n\t"
#define NN_BOTH(move, narrow)                                                                      \
    move("x0", "v0") narrow("x0", "v0") NN_NEXT_NOISE move("x1", "v1") narrow("x1", "v1")          \
        NN_NEXT_NOISE
#define NN_FOUR(move, narrow, add)                                                                 \
    "ldrd %[x0], %[x1], [%[x]], #8\n\t"                                                            \
    "ldrd %[v0], %[v1], [%[v]]\n\t" NN_BOTH(move, narrow) "strd %[v0], %[v1], [%[v]], #8\n\t" add

/* All fours where the factor is zero: velocities that are zero remain so, and their weights. */
#define NN_STILL(narrow, add)                                                                      \
    __asm volatile("1:\n\t"                                                                        \
                   "ldrd %[v0], %[v1], [%[v]], #8\n\t"                                             \
                   "orrs %[t], %[v0], %[v1]\n\t"                                                   \
                   "beq 2f\n\t" NN_BOTH(NN_DECAY, narrow) "strd %[v0], %[v1], [%[v], #-8]\n\t" add \
                                                          "cmp %[v], %[end]\n\t"                   \
                                                          "bne 1b\n\t"                             \
                                                          "b 3f\n"                                 \
                                                          "2:\n\t" NN_NEXT_NOISE NN_NEXT_NOISE     \
                                                          "add %[w], %[w], #8\n\t"                 \
                                                          "cmp %[v], %[end]\n\t"                   \
                                                          "bne 1b\n"                               \
                                                          "3:"                                     \
                   : [v] "+&r"(v), [w] "+&r"(w), [c] "+&r"(c), [x0] "=&r"(x0), [x1] "=&r"(x1),     \
                     [v0] "=&r"(v0), [v1] "=&r"(v1), [t] "=&r"(t), [n0] "=&r"(n0), [n1] "=&r"(n1)  \
                   : [mf] "r"(mf), [step] "r"(step), [k] "r"(k), [end] "r"(&v[fours])              \
                   : "cc", "memory")
/* Until %[v] is at its end, or, where noise takes the last registers, until k, whose upper half
   counts the rounds that follow, is negative. */
#define NN_UNTIL_END                                                                               \
    "cmp %[v], %[end]\n\t"                                                                         \
    "bne 1b" : [x] "+&r"(x),                                                                       \
               [v] "+&r"(v),                                                                       \
               [w] "+&r"(w),                                                                       \
               [c] "+&r"(c),                                                                       \
               [x0] "=&r"(x0),                                                                     \
               [x1] "=&r"(x1),                                                                     \
               [v0] "=&r"(v0),                                                                     \
               [v1] "=&r"(v1),                                                                     \
               [t] "=&r"(t)                                                                        \
        : [mf] "r"(mf), [step] "r"(step), [k] "r"(k), [end] "r"(&v[fours]) : "cc", "memory"
#define NN_COUNTED                                                                                 \
    "subs %[k], %[k], #0x10000\n\t"                                                                \
    "bpl 1b" : [x] "+&r"(x),                                                                       \
               [v] "+&r"(v),                                                                       \
               [w] "+&r"(w),                                                                       \
               [c] "+&r"(c),                                                                       \
               [k] "+&r"(k),                                                                       \
               [x0] "=&r"(x0),                                                                     \
               [x1] "=&r"(x1),                                                                     \
               [v0] "=&r"(v0),                                                                     \
               [v1] "=&r"(v1),                                                                     \
               [t] "=&r"(t),                                                                       \
               [n0] "=&r"(n0),                                                                     \
               [n1] "=&r"(n1)                                                                      \
        : [mf] "r"(mf), [step] "r"(step), [p] "i"(p), [up] "i"(16 - p) : "cc", "memory"

/*
 * All rows of velocities and weights, with the factor and the second draw of each:
 *     v = saturate((v * momentum - factor * x + noise) >> p)
 *     w = saturate(w + ((v + (noise >> (p - e))) >> e))
 * The inputs have 16 - p bits of fraction more if `scaled`, which needs momentum > 2^(p-1).
 */
NN_INLINE void nn_momentum(int16_t *v, int16_t *w, const int16_t *inputs, const int16_t *factors,
                           const uint16_t *draws, uint16_t momentum, uint16_t rows,
                           uint16_t columns, uint8_t p, uint8_t e, uint8_t scaled) {
    const uint16_t fours = (columns % 2U == 0U) ? (uint16_t)(columns / 4U * 4U) : 0U;
    const uint8_t eights = (columns % 8U == 0U) ? 1U : 0U;
    const uint8_t counted = ((e > 1U) || !scaled) ? 1U : 0U; /* as k says */
    const uint8_t q = scaled ? 16U : p;
    const uint16_t rounds = (uint16_t)(fours / (eights ? 8U : 4U));
    const uint16x2_t step = nn_noise_next(p);
    const int16_t *const end = &factors[rows];
    for (; factors != end; factors++, draws += 2U) {
        const int16_t factor = *factors;
        const int16x2_t mf = nn_pack_lower((int32_t)momentum << (q - p), factor);
        const int16_t *x = inputs;
        uint16x2_t c = nn_noise_start(*draws, p);
        /* For the narrowing, see there; e is 0 or such that 2^(q-e) fits 16 bits. */
        uint32_t k =
            counted ? (((rounds - 1UL) << 16) | ((e > 0U) ? (1UL << (q - e)) : 0UL)) : 0x00010001UL;
        uint16_t i;
        if (fours != 0U) {
            int16x2_t x0, x1, v0, v1;
            int32_t t, n0, n1;
            if (scaled && (factor == 0)) {
                if (e > 1U) {
                    NN_STILL(NN_NARROW, NN_ADD_NARROWED);
                } else if (e == 1U) {
                    NN_STILL(NN_HALVE, NN_ADD_NARROWED);
                } else {
                    NN_STILL(NN_AS_IT_IS, NN_ADD);
                }
            } else if (!scaled && (e == 0U)) {
                NN_ROUNDS(NN_FOUR(NN_MOVE_P, NN_AS_IT_IS, NN_ADD), NN_COUNTED)
            } else if (!scaled) {
                NN_ROUNDS(NN_FOUR(NN_MOVE_P, NN_NARROW_P, NN_ADD_NARROWED), NN_COUNTED)
            } else if (e > 1U) {
                NN_ROUNDS(NN_FOUR(NN_MOVE_N, NN_NARROW, NN_ADD_NARROWED), NN_COUNTED)
            } else if (e == 1U) {
                NN_ROUNDS(NN_FOUR(NN_MOVE, NN_HALVE, NN_ADD_NARROWED), NN_UNTIL_END)
            } else {
                NN_ROUNDS(NN_FOUR(NN_MOVE, NN_AS_IT_IS, NN_ADD), NN_UNTIL_END)
            }
        }
        for (i = fours; i < columns; i++) {
            const int32_t noise = nn_noise(*draws, i, p);
            const int32_t input = scaled ? (inputs[i] >> (16U - p)) : inputs[i];
            const int32_t moved = nn_saturate((*v * momentum - factor * input + noise) >> p);
            *v++ = (int16_t)moved;
            *w = (int16_t)nn_saturate(*w + ((moved + (noise >> (p - e))) >> e));
            w++;
        }
    }
}

/* nn_momentum, for inputs and momentums that have room for 16 bits of fraction. */
NN_INLINE void nn_kernel_momentum(int16_t *room, int16_t *velocity, int16_t *weight, const void *x,
                                  uint8_t kind, const int16_t *factor, const uint16_t *draws,
                                  uint16_t momentum, uint16_t rows, uint16_t columns, uint8_t p,
                                  uint8_t e) {
    const int16_t *const inputs = nn_widen(room, x, kind, columns, (uint8_t)(16U - p));
    nn_momentum(velocity, weight, inputs, factor, draws, momentum, rows, columns, p, e, 1U);
}

/* nn_momentum, for the others. */
NN_INLINE void nn_kernel_momentum_wide(int16_t *room, int16_t *velocity, int16_t *weight,
                                       const void *x, uint8_t kind, const int16_t *factor,
                                       const uint16_t *draws, uint16_t momentum, uint16_t rows,
                                       uint16_t columns, uint8_t p, uint8_t e) {
    const int16_t *const inputs = nn_widen(room, x, kind, columns, 0U);
    nn_momentum(velocity, weight, inputs, factor, draws, momentum, rows, columns, p, e, 0U);
}

/* A pair of weights less steps, (factor * x + noise) >> P. */
#define NN_STEP(x, w)                                                                              \
    "ubfx %[n0], %[c], %[up], %[p]\n\t"                                                            \
    "lsr %[n1], %[c], %[up] + 16\n\t"                                                              \
    "smlabb %[n0], %[" x "], %[f], %[n0]\n\t"                                                      \
    "smlatb %[n1], %[" x "], %[f], %[n1]\n\t"                                                      \
    "lsl %[n1], %[n1], %[up]\n\t"                                                                  \
    "pkhtb %[n1], %[n1], %[n0], asr %[p]\n\t"                                                      \
    "qsub16 %[" w "], %[" w "], %[n1]\n\t" NN_NEXT_NOISE

/*
 * weight = saturate(weight - ((factor * x + noise) >> p), row by row. A zero factor or input
 * changes nothing.
 */
NN_INLINE void nn_kernel_update(int16_t *room, int16_t *weight, const void *x, uint8_t kind,
                                const int16_t *factor, const uint16_t *draws, uint16_t rows,
                                uint16_t columns, uint8_t p) {
    const int16_t *const wide = nn_widen(room, x, kind, columns, 0U);
    const uint16_t fours = (columns % 2U == 0U) ? (uint16_t)(columns / 4U * 4U) : 0U;
    const uint16x2_t step = nn_noise_next(p);
    uint16_t r, i;
    for (r = 0U; r < rows; r++) {
        const int32_t f = factor[r];
        const uint16_t draw = draws[2U * r];
        const int16_t *at = wide;
        int16_t *w = &weight[r * columns];
        uint16x2_t c = nn_noise_start(draw, p);
        if (f == 0) {
            continue;
        }
        if (fours != 0U) {
            int16x2_t x0, x1, w0, w1;
            int32_t n0, n1;
            __asm volatile(
                "1:\n\t"
                "ldrd %[x0], %[x1], [%[x]], #8\n\t"
                "orrs %[n0], %[x0], %[x1]\n\t"
                "beq 2f\n\t"
                "ldrd %[w0], %[w1], [%[w]]\n\t" NN_STEP("x0", "w0")
                    NN_STEP("x1", "w1") "strd %[w0], %[w1], [%[w]], #8\n\t"
                                        "cmp %[x], %[end]\n\t"
                                        "bne 1b\n\t"
                                        "b 3f\n"
                                        "2:\n\t" NN_NEXT_NOISE NN_NEXT_NOISE
                                        "add %[w], %[w], #8\n\t"
                                        "cmp %[x], %[end]\n\t"
                                        "bne 1b\n"
                                        "3:"
                : [x] "+&r"(at), [w] "+&r"(w), [c] "+&r"(c), [x0] "=&r"(x0), [x1] "=&r"(x1),
                  [w0] "=&r"(w0), [w1] "=&r"(w1), [n0] "=&r"(n0), [n1] "=&r"(n1)
                :
                [f] "r"(f), [step] "r"(step), [end] "r"(&wide[fours]), [p] "i"(p), [up] "i"(16 - p)
                : "cc", "memory");
        }
        for (i = fours; i < columns; i++) {
            const int32_t moved = (f * wide[i] + nn_noise(draw, i, p)) >> p;
            *w = (int16_t)nn_saturate(*w - moved);
            w++;
        }
    }
}

#include "../cortex-m/nn_kernel_batch.h"

#endif
