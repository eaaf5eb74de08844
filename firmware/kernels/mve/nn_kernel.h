/*
 * Kernels of the Cortex-M55 (M-profile vector extension: eight 16-bit numbers in a vector), called
 * by the generated net where host/nnhost/kernels/cortex_m.py has a rule. Each computes exactly what
 * the C that it replaces computes.
 *
 * Whole vectors are done in assembly, with the hardware's loops; what is left of a row element by
 * element.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include "../cortex-m/nn_kernel_common.h"

#define NN_WIDEN(load)                                                                             \
    __asm volatile("dls lr, %[n]\n"                                                                \
                   "1:\n\t" load " q0, [%[from]], #8\n\t"                                          \
                   "vstrh.16 q0, [%[to]], #16\n\t"                                                 \
                   "le lr, 1b"                                                                     \
                   : [from] "+&r"(from), [to] "+&r"(to)                                            \
                   : [n] "r"(vectors)                                                              \
                   : "lr", "q0", "memory")

/* x as int16_t: in `room`, or x itself where it is that already. */
NN_INLINE const int16_t *nn_widen(int16_t *room, const void *x, uint8_t kind, uint16_t n) {
    const uint32_t vectors = n / 8U;
    const uint8_t *from = (const uint8_t *)x;
    int16_t *to = room;
    uint16_t i = 0U;
    if (kind >= NN_UINT16) {
        return (const int16_t *)x;
    }
    if (vectors != 0U) {
        i = (uint16_t)(8U * vectors);
        if (kind == NN_UINT8) {
            NN_WIDEN("vldrb.u16");
        } else {
            NN_WIDEN("vldrb.s16");
        }
    }
    for (; i < n; i++) {
        room[i] = (int16_t)nn_input(x, kind, i);
    }
    return room;
}

/* ---- sums --------------------------------------------------------------------------------- */

/* Eight elements of a row times eight inputs (q0), added to a sum. */
#define NN_ROW_16(w, sum)                                                                          \
    "vldrh.u16 q1, [%[" w "]], #16\n\t"                                                            \
    "vmladava.s16 %[" sum "], q0, q1\n\t"
#define NN_ROW_8(w, sum)                                                                           \
    "vldrh.u16 q1, [%[" w "]], #16\n\t"                                                            \
    "vshr.s16 q1, q1, #8\n\t"                                                                      \
    "vmladava.s16 %[" sum "], q0, q1\n\t"
#define NN_FOUR_ROWS(row)                                                                          \
    __asm volatile(                                                                                \
        "dls lr, %[n]\n"                                                                           \
        "1:\n\t"                                                                                   \
        "vldrh.u16 q0, [%[x]], #16\n\t" row("w0", "s0") row("w1", "s1") row("w2", "s2")            \
            row("w3", "s3") "le lr, 1b"                                                            \
        : [x] "+&r"(at), [w0] "+&r"(w0), [w1] "+&r"(w1), [w2] "+&r"(w2), [w3] "+&r"(w3),           \
          [s0] "+&Te"(s0), [s1] "+&Te"(s1), [s2] "+&Te"(s2), [s3] "+&Te"(s3)                       \
        : [n] "r"(vectors)                                                                         \
        : "lr", "q0", "q1", "memory")

/* sums[r] = sum of (weight[r][c] >> seen) * x[c] over c; seen is 0 or 8. */
NN_INLINE void nn_kernel_sums(int32_t *sums, int16_t *room, const int16_t *weight, const void *x,
                              uint8_t kind, uint16_t rows, uint16_t columns, uint8_t seen) {
    const int16_t *const wide = nn_widen(room, x, kind, columns);
    const uint32_t vectors = columns / 8U;
    uint16_t r, c;
    for (r = 0U; r < rows; r = (uint16_t)(r + 4U)) {
        /* Beyond the last row, the last row again: its sum is not kept. */
        const int16_t *w0 = &weight[r * columns];
        const int16_t *w1 = (r + 1U < rows) ? &w0[columns] : w0;
        const int16_t *w2 = (r + 2U < rows) ? &w1[columns] : w1;
        const int16_t *w3 = (r + 3U < rows) ? &w2[columns] : w2;
        const int16_t *at = wide;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        if (vectors != 0U) {
            if (seen != 0U) {
                NN_FOUR_ROWS(NN_ROW_8);
            } else {
                NN_FOUR_ROWS(NN_ROW_16);
            }
        }
        for (c = (uint16_t)(8U * vectors); c < columns; c++) {
            const int32_t input = *at++;
            s0 += (*w0++ >> seen) * input;
            s1 += (*w1++ >> seen) * input;
            s2 += (*w2++ >> seen) * input;
            s3 += (*w3++ >> seen) * input;
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

/* Sums of eight columns (q0, q1): a row of each times an input. Loads that widen need a low
   register. */
#define NN_EIGHT_COLUMNS(shift)                                                                    \
    __asm volatile("dls lr, %[n]\n\t"                                                              \
                   "vmov.i32 q0, #0\n\t"                                                           \
                   "vmov.i32 q1, #0\n"                                                             \
                   "1:\n\t"                                                                        \
                   "ldrsh %[factor], [%[x]], #2\n\t"                                               \
                   "vldrh.s32 q2, [%[w]]\n\t"                                                      \
                   "vldrh.s32 q3, [%[w], #8]\n\t" shift "vmla.s32 q0, q2, %[factor]\n\t"           \
                   "vmla.s32 q1, q3, %[factor]\n\t"                                                \
                   "add %[w], %[w], %[stride]\n\t"                                                 \
                   "le lr, 1b\n\t"                                                                 \
                   "vstrw.32 q0, [%[sums]]\n\t"                                                    \
                   "vstrw.32 q1, [%[sums], #16]"                                                   \
                   : [x] "+&r"(at), [w] "+&l"(w), [factor] "=&r"(factor)                           \
                   : [n] "r"((uint32_t)rows), [stride] "r"(2U * columns), [sums] "r"(&sums[c])     \
                   : "lr", "q0", "q1", "q2", "q3", "memory")

/* sums[c] = sum of (weight[r][c] >> seen) * x[r] over r. */
NN_INLINE void nn_kernel_sums_across(int32_t *sums, int16_t *room, const int16_t *weight,
                                     const void *x, uint8_t kind, uint16_t columns, uint16_t rows,
                                     uint8_t seen) {
    const int16_t *const wide = nn_widen(room, x, kind, rows);
    uint16_t r, c;
    for (c = 0U; c + 8U <= columns; c = (uint16_t)(c + 8U)) {
        const int16_t *at = wide;
        const int16_t *w = &weight[c];
        int32_t factor;
        if (seen != 0U) {
            NN_EIGHT_COLUMNS("vshr.s32 q2, q2, #8\n\t"
                             "vshr.s32 q3, q3, #8\n\t");
        } else {
            NN_EIGHT_COLUMNS("");
        }
    }
    for (; c < columns; c++) {
        int32_t sum = 0;
        for (r = 0U; r < rows; r++) {
            sum += (weight[r * columns + c] >> seen) * wide[r];
        }
        sums[c] = sum;
    }
}

/* ---- updates ------------------------------------------------------------------------------ */

/* Of the noise q5, for eight columns: its upper p bits into q4. */
#define NN_NOISE "vshr.u16 q4, q5, %[up]\n\t"
#define NN_ALL_NOISE "vorr q4, q5, q5\n\t"
#define NN_NEXT_NOISE "vadd.i16 q5, q5, %[step]\n\t"

/*
 * Velocities q0, inputs q1, momentum q7, factor q6: saturate((v * M - F * x + noise) >> p).
 *
 * All shifts of velocities round, for binutils 2.40 has VQSHRN wrong: it assembles VQRSHRN. So the
 * noise is less by a half than what is added in the end; as a number with a sign, its upper bits
 * are, too.
 */
#define NN_LESS_A_HALF 0x8000U
#define NN_MOVE                                                                                    \
    "vshr.s16 q4, q5, %[up]\n\t"                                                                   \
    "vmullb.s16 q2, q0, q7\n\t"                                                                    \
    "vmullb.s16 q3, q1, q6\n\t"                                                                    \
    "vsub.i32 q2, q2, q3\n\t"                                                                      \
    "vmovlb.s16 q3, q4\n\t"                                                                        \
    "vadd.i32 q2, q2, q3\n\t"                                                                      \
    "vmullt.s16 q3, q0, q7\n\t"                                                                    \
    "vmullt.s16 q1, q1, q6\n\t"                                                                    \
    "vsub.i32 q3, q3, q1\n\t"                                                                      \
    "vmovlt.s16 q4, q4\n\t"                                                                        \
    "vadd.i32 q3, q3, q4\n\t"                                                                      \
    "vqrshrnb.s32 q0, q2, %[p]\n\t"                                                                \
    "vqrshrnt.s32 q0, q3, %[p]\n\t"
/* The same without inputs, where the factor is zero. */
#define NN_DECAY                                                                                   \
    "vshr.s16 q4, q5, %[up]\n\t"                                                                   \
    "vmullb.s16 q2, q0, q7\n\t"                                                                    \
    "vmovlb.s16 q3, q4\n\t"                                                                        \
    "vadd.i32 q2, q2, q3\n\t"                                                                      \
    "vmullt.s16 q3, q0, q7\n\t"                                                                    \
    "vmovlt.s16 q4, q4\n\t"                                                                        \
    "vadd.i32 q3, q3, q4\n\t"                                                                      \
    "vqrshrnb.s32 q0, q2, %[p]\n\t"                                                                \
    "vqrshrnt.s32 q0, q3, %[p]\n\t"

/* Weights at %[w] and q0, (v + the upper e bits of noise) >> e, which is the mean of the two >> (e
   - 1): that shift and the sum are one instruction, with k = 2^(16-e). */
#define NN_ADD_NARROWED                                                                            \
    "vshr.s16 q1, q5, %[ue]\n\t"                                                                   \
    "vhadd.s16 q0, q0, q1\n\t"                                                                     \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqrdmlah.s16 q1, q0, %[k]\n\t"
#define NN_ADD_HALVED                                                                              \
    "vshr.s16 q1, q5, #15\n\t"                                                                     \
    "vrhadd.s16 q0, q0, q1\n\t"                                                                    \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqadd.s16 q1, q1, q0\n\t"
#define NN_ADD                                                                                     \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqadd.s16 q1, q1, q0\n\t"

#define NN_SET_OUT                                                                                 \
    "vdup.16 q7, %[m]\n\t"                                                                         \
    "vdup.16 q6, %[f]\n\t"                                                                         \
    "vldrh.u16 q5, [%[noise]]\n\t"                                                                 \
    "vadd.i16 q5, q5, %[draw]\n\t"                                                                 \
    "dls lr, %[n]\n"
#define NN_OPERANDS                                                                                \
    : [x] "+&r"(x), [v] "+&r"(v), [w] "+&r"(w), [t] "=&Te"(t)                                      \
    : [m] "r"((int32_t)momentum), [f] "r"(factor), [draw] "r"(*draws + NN_LESS_A_HALF),                   \
      [noise] "r"(noise), [step] "r"(8U * nn_noise_step(p)), [n] "r"(vectors), [p] "i"(p),         \
      [up] "i"(16 - p), [ue] "i"(16 - e), [k] "r"(1L << (16U - e))                                 \
    : "lr", "cc", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory"
#define NN_ROW(add)                                                                                \
    __asm volatile(NN_SET_OUT                                                                      \
                   "1:\n\t"                                                                        \
                   "vldrh.u16 q0, [%[v]]\n\t"                                                      \
                   "vldrh.u16 q1, [%[x]], #16\n\t" NN_MOVE "vstrh.16 q0, [%[v]], #16\n\t" add      \
                   "vstrh.16 q1, [%[w]], #16\n\t" NN_NEXT_NOISE "le lr, 1b" NN_OPERANDS)
/* Where the factor is zero: velocities that are zero remain so, and their weights. */
#define NN_STILL_ROW(add)                                                                          \
    __asm volatile(NN_SET_OUT "1:\n\t"                                                             \
                              "vldrh.u16 q0, [%[v]], #16\n\t"                                      \
                              "vaddv.u16 %[t], q0\n\t"                                             \
                              "cmp %[t], #0\n\t"                                                   \
                              "beq 2f\n\t" NN_DECAY "vstrh.16 q0, [%[v], #-16]\n\t" add            \
                              "vstrh.16 q1, [%[w]]\n"                                              \
                              "2:\n\t"                                                             \
                              "add %[w], %[w], #16\n\t" NN_NEXT_NOISE "le lr, 1b" NN_OPERANDS)

/*
 * All rows of velocities and weights, with the factor and the second draw of each:
 *     v = saturate((v * momentum - factor * x + noise) >> p)
 *     w = saturate(w + ((v + (noise >> (p - e))) >> e))
 */
NN_INLINE void nn_kernel_momentum(int16_t *room, int16_t *velocity, int16_t *weight,
                                  const void *inputs, uint8_t kind, const int16_t *factors,
                                  const uint16_t *draws, uint16_t momentum, uint16_t rows,
                                  uint16_t columns, uint8_t p, uint8_t e) {
    const int16_t *const wide = nn_widen(room, inputs, kind, columns);
    const uint32_t vectors = columns / 8U;
    const int16_t *const end = &factors[rows];
    int16_t *v = velocity;
    int16_t *w = weight;
    uint16_t noise[8];
    uint16_t i;
    for (i = 0U; i < 8U; i++) {
        noise[i] = (uint16_t)(i * nn_noise_step(p));
    }
    for (; factors != end; factors++, draws += 2U) {
        const int32_t factor = *factors;
        const int16_t *x = wide;
        uint32_t t;
        if (vectors == 0U) {
            (void)t;
        } else if (factor != 0) {
            if (e > 1U) {
                NN_ROW(NN_ADD_NARROWED);
            } else if (e == 1U) {
                NN_ROW(NN_ADD_HALVED);
            } else {
                NN_ROW(NN_ADD);
            }
        } else if (e > 1U) {
            NN_STILL_ROW(NN_ADD_NARROWED);
        } else if (e == 1U) {
            NN_STILL_ROW(NN_ADD_HALVED);
        } else {
            NN_STILL_ROW(NN_ADD);
        }
        for (i = (uint16_t)(8U * vectors); i < columns; i++) {
            const int32_t random = nn_noise(*draws, i, p);
            const int32_t sum = *v * momentum - factor * wide[i] + random;
            const int32_t moved = nn_saturate_shifted(sum, p);
            *v++ = (int16_t)moved;
            *w = (int16_t)nn_saturate(*w + ((moved + (random >> (p - e))) >> e));
            w++;
        }
    }
}

/* Weights q0 less steps, (factor * x + noise) >> p; inputs are q1, the factor q6. */
#define NN_UPDATE(upper_noise)                                                                     \
    __asm volatile(                                                                                \
        "vdup.16 q6, %[f]\n\t"                                                                     \
        "vldrh.u16 q5, [%[noise]]\n\t"                                                             \
        "vadd.i16 q5, q5, %[draw]\n\t"                                                             \
        "dls lr, %[n]\n"                                                                           \
        "1:\n\t"                                                                                   \
        "vldrh.u16 q1, [%[x]], #16\n\t" upper_noise "vmullb.s16 q2, q1, q6\n\t"                    \
        "vmovlb.u16 q3, q4\n\t"                                                                    \
        "vadd.i32 q2, q2, q3\n\t"                                                                  \
        "vmullt.s16 q3, q1, q6\n\t"                                                                \
        "vmovlt.u16 q4, q4\n\t"                                                                    \
        "vadd.i32 q3, q3, q4\n\t"                                                                  \
        "vldrh.u16 q0, [%[w]]\n\t"                                                                 \
        "vshrnb.i32 q1, q2, %[p]\n\t"                                                              \
        "vshrnt.i32 q1, q3, %[p]\n\t"                                                              \
        "vqsub.s16 q0, q0, q1\n\t"                                                                 \
        "vstrh.16 q0, [%[w]], #16\n\t" NN_NEXT_NOISE "le lr, 1b"                                   \
        : [x] "+&r"(x), [w] "+&r"(w)                                                               \
        : [f] "r"(factor), [draw] "r"((uint32_t)draw), [noise] "r"(noise),                         \
          [step] "r"(8U * nn_noise_step(p)), [n] "r"(vectors), [p] "i"(p), [up] "i"(16 - p)        \
        : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "memory")

/* weight = saturate(weight - ((factor * x + noise) >> p), row by row. A zero factor changes
   nothing. */
NN_INLINE void nn_kernel_update(int16_t *room, int16_t *weight, const void *inputs, uint8_t kind,
                                const int16_t *factors, const uint16_t *draws, uint16_t rows,
                                uint16_t columns, uint8_t p) {
    const int16_t *const wide = nn_widen(room, inputs, kind, columns);
    const uint32_t vectors = columns / 8U;
    uint16_t noise[8];
    uint16_t r, i;
    for (i = 0U; i < 8U; i++) {
        noise[i] = (uint16_t)(i * nn_noise_step(p));
    }
    for (r = 0U; r < rows; r++) {
        const int32_t factor = factors[r];
        const uint16_t draw = draws[2U * r];
        const int16_t *x = wide;
        int16_t *w = &weight[r * columns];
        if (factor == 0) {
            continue;
        }
        if (vectors != 0U) {
            if (p < 16U) {
                NN_UPDATE(NN_NOISE);
            } else {
                NN_UPDATE(NN_ALL_NOISE);
            }
        }
        for (i = (uint16_t)(8U * vectors); i < columns; i++) {
            const int32_t moved = (factor * wide[i] + nn_noise(draw, i, p)) >> p;
            *w = (int16_t)nn_saturate(*w - moved);
            w++;
        }
    }
}

#endif
