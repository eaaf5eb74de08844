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
                   : [from] "+&l"(from), [to] "+&r"(to)                                            \
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

/* Sums of eight columns (q0, q1) or sixteen (q2, q3 as well): a row of each times an input. Loads
   that widen need a low register. */
#define NN_LOAD_EIGHT(shift)                                                                       \
    "vldrh.s32 q4, [%[w]]\n\t"                                                                     \
    "vldrh.s32 q5, [%[w], #8]\n\t" shift("q4") shift("q5") "vmla.s32 q0, q4, %[factor]\n\t"        \
                                                           "vmla.s32 q1, q5, %[factor]\n\t"
#define NN_LOAD_SIXTEEN(shift)                                                                     \
    NN_LOAD_EIGHT(shift)                                                                           \
    "vldrh.s32 q6, [%[w], #16]\n\t"                                                                \
    "vldrh.s32 q7, [%[w], #24]\n\t" shift("q6") shift("q7") "vmla.s32 q2, q6, %[factor]\n\t"       \
                                                            "vmla.s32 q3, q7, %[factor]\n\t"
#define NN_AS_IT_IS(q) ""
#define NN_UPPER_BYTES(q) "vshr.s32 " q ", " q ", #8\n\t"
#define NN_SOME_COLUMNS(clear, load, store)                                                        \
    __asm volatile("dls lr, %[n]\n\t"                                                              \
                   "vmov.i32 q0, #0\n\t"                                                           \
                   "vmov.i32 q1, #0\n\t" clear "\n"                                                \
                   "1:\n\t"                                                                        \
                   "ldrsh %[factor], [%[x]], #2\n\t" load "add %[w], %[w], %[stride]\n\t"          \
                   "le lr, 1b\n\t"                                                                 \
                   "vstrw.32 q0, [%[sums]]\n\t"                                                    \
                   "vstrw.32 q1, [%[sums], #16]\n\t" store                                         \
                   : [x] "+&r"(at), [w] "+&l"(w), [factor] "=&r"(factor)                           \
                   : [n] "r"((uint32_t)rows), [stride] "r"(2U * columns), [sums] "r"(&sums[c])     \
                   : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory")
#define NN_EIGHT_COLUMNS(shift) NN_SOME_COLUMNS("", NN_LOAD_EIGHT(shift), "")
#define NN_SIXTEEN_COLUMNS(shift)                                                                  \
    NN_SOME_COLUMNS("vmov.i32 q2, #0\n\t"                                                          \
                    "vmov.i32 q3, #0",                                                             \
                    NN_LOAD_SIXTEEN(shift),                                                        \
                    "vstrw.32 q2, [%[sums], #32]\n\t"                                              \
                    "vstrw.32 q3, [%[sums], #48]")

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
        if (c + 16U > columns) {
            if (seen != 0U) {
                NN_EIGHT_COLUMNS(NN_UPPER_BYTES);
            } else {
                NN_EIGHT_COLUMNS(NN_AS_IT_IS);
            }
            continue;
        }
        if (seen != 0U) {
            NN_SIXTEEN_COLUMNS(NN_UPPER_BYTES);
        } else {
            NN_SIXTEEN_COLUMNS(NN_AS_IT_IS);
        }
        c = (uint16_t)(c + 8U);
    }
    for (; c < columns; c++) {
        int32_t sum = 0;
        for (r = 0U; r < rows; r++) {
            sum += (weight[r * columns + c] >> seen) * wide[r];
        }
        sums[c] = sum;
    }
}

/* ---- random numbers ------------------------------------------------------------------------ */

/* What a hexadecimal digit of a random number, the lowest first, makes of the eighth one after it:
   each bit of that is a sum of bits. */
static const uint16_t nn_eighth[4][16] = {
    {0x0000U, 0x45F9U, 0x3314U, 0x76EDU, 0x570FU, 0x12F6U, 0x641BU, 0x21E2U, 0x8FDBU, 0xCA22U,
     0xBCCFU, 0xF936U, 0xD8D4U, 0x9D2DU, 0xEBC0U, 0xAE39U},
    {0x0000U, 0xDF30U, 0x3F65U, 0xE055U, 0x80CCU, 0x5FFCU, 0xBFA9U, 0x6099U, 0xAB9DU, 0x74ADU,
     0x94F8U, 0x4BC8U, 0x2B51U, 0xF461U, 0x1434U, 0xCB04U},
    {0x0000U, 0xBAE8U, 0x78B4U, 0xC25CU, 0xE74DU, 0x5DA5U, 0x9FF9U, 0x2511U, 0x2B5CU, 0x91B4U,
     0x53E8U, 0xE900U, 0xCC11U, 0x76F9U, 0xB4A5U, 0x0E4DU},
    {0x0000U, 0x103DU, 0xA57CU, 0xB541U, 0xB302U, 0xA33FU, 0x167EU, 0x0643U, 0xC8A9U, 0xD894U,
     0x6DD5U, 0x7DE8U, 0x7BABU, 0x6B96U, 0xDED7U, 0xCEEAU},
};

/* As many vectors of random numbers, each from the vector before. */
NN_INLINE void nn_draw_on(uint16_t *from, uint32_t vectors) {
    __asm volatile("vmov.i16 q3, #15\n\t"
                   "dls lr, %[n]\n"
                   "1:\n\t"
                   "vldrh.u16 q0, [%[from]], #16\n\t"
                   "vshr.u16 q1, q0, #12\n\t"
                   "vldrh.u16 q2, [%[t3], q1, uxtw #1]\n\t"
                   "vshr.u16 q1, q0, #8\n\t"
                   "vand q1, q1, q3\n\t"
                   "vldrh.u16 q4, [%[t2], q1, uxtw #1]\n\t"
                   "veor q2, q2, q4\n\t"
                   "vshr.u16 q1, q0, #4\n\t"
                   "vand q1, q1, q3\n\t"
                   "vldrh.u16 q4, [%[t1], q1, uxtw #1]\n\t"
                   "veor q2, q2, q4\n\t"
                   "vand q1, q0, q3\n\t"
                   "vldrh.u16 q4, [%[t0], q1, uxtw #1]\n\t"
                   "veor q2, q2, q4\n\t"
                   "vstrh.16 q2, [%[from]]\n\t"
                   "le lr, 1b"
                   : [from] "+&r"(from)
                   : [n] "r"(vectors), [t0] "r"(nn_eighth[0]), [t1] "r"(nn_eighth[1]),
                     [t2] "r"(nn_eighth[2]), [t3] "r"(nn_eighth[3])
                   : "lr", "q0", "q1", "q2", "q3", "q4", "memory");
}

/* The next eight random numbers. */
NN_INLINE void nn_draw_eight(uint16_t *to) {
    uint32_t x = nn_prng_state;
    uint32_t t;
    __asm volatile(".rept 8\n\t"
                   "eor %[x], %[x], %[x], lsl #7\n\t"
                   "ubfx %[t], %[x], #9, #7\n\t"
                   "eor %[x], %[x], %[t]\n\t"
                   "eor %[x], %[x], %[x], lsl #8\n\t"
                   "strh %[x], [%[to]], #2\n\t"
                   ".endr"
                   : [x] "+&r"(x), [t] "=&r"(t), [to] "+&r"(to)
                   :
                   : "memory");
}

/* Fills rows of draws with the next random numbers. If the last are less than eight, those before
   them are made once more. */
NN_INLINE void nn_kernel_draw(uint16_t *to, uint16_t rows, uint16_t columns) {
    const uint32_t n = (uint32_t)rows * columns;
    const uint32_t vectors = n / 8U;
    if (vectors < 2U) {
        nn_draw(to, n);
        return;
    }
    nn_draw_eight(to);
    nn_draw_on(to, vectors - 1U);
    if (n % 8U != 0U) {
        nn_draw_on(&to[n - 16U], 1U);
    }
    nn_prng_state = to[n - 1U];
}

/* ---- updates ------------------------------------------------------------------------------ */

#define NN_SPREAD(load, b, t)                                                                      \
    __asm volatile("dls lr, %[n]\n"                                                                \
                   "1:\n\t" load "\n\t" b "\n\t" t "\n\t"                                          \
                   "vstrw.32 q1, [%[to]], #16\n\t"                                                 \
                   "vstrw.32 q2, [%[to]], #16\n\t"                                                 \
                   "le lr, 1b"                                                                     \
                   : [from] "+&l"(from), [to] "+&r"(to)                                            \
                   : [n] "r"((n + 7U) / 8U), [up] "i"((p < 16U) ? 16 - p : 1)                      \
                   : "lr", "q0", "q1", "q2", "memory")
#define NN_SPREAD_BY(b, t)                                                                         \
    if (kind == NN_UINT8) {                                                                        \
        NN_SPREAD("vldrb.u16 q0, [%[from]], #8", b, t);                                            \
    } else if (kind == NN_INT8) {                                                                  \
        NN_SPREAD("vldrb.s16 q0, [%[from]], #8", b, t);                                            \
    } else {                                                                                       \
        NN_SPREAD("vldrh.u16 q0, [%[from]], #16", b, t);                                           \
    }

/* x << (16 - p) in 32 bits: of each eight columns, the even ones before the odd ones. What follows
   the last column is of no concern. */
NN_INLINE const int32_t *nn_spread(int16_t *room, const void *x, uint8_t kind, uint16_t n,
                                   uint8_t p) {
    const uint8_t *from = (const uint8_t *)x;
    int16_t *to = room;
    if (p < 16U) {
        NN_SPREAD_BY("vshllb.s16 q1, q0, %[up]", "vshllt.s16 q2, q0, %[up]")
    } else {
        NN_SPREAD_BY("vmovlb.s16 q1, q0", "vmovlt.s16 q2, q0")
    }
    return (const int32_t *)room;
}

/*
 * Products and noise have 16 bits of fraction, whatever p is: inputs and momentum have 16 - p more,
 * and the noise is a counter of 16 bits. The upper half of a sum is then what is asked for.
 *
 * Registers of all loops: noise q5, that of a row whose draw is 0 in q6.
 */
#define NN_SET_OUT                                                                                 \
    "mov %[f], #0\n\t"                                                                             \
    "vidup.u16 q6, %[f], #1\n\t"                                                                   \
    "mov %[f], %[once]\n\t"                                                                        \
    "vmul.i16 q6, q6, %[f]\n\t"

/* Of eight columns, noise in q1 and q2, with products of even and of odd columns added. */
#define NN_PRODUCTS                                                                                \
    "vldrw.u32 q3, [%[x]], #16\n\t"                                                                \
    "vmovlb.u16 q1, q5\n\t"                                                                        \
    "vmla.s32 q1, q3, %[f]\n\t"                                                                    \
    "vldrw.u32 q3, [%[x]], #16\n\t"                                                                \
    "vmovlt.u16 q2, q5\n\t"                                                                        \
    "vmla.s32 q2, q3, %[f]\n\t"
#define NN_NEXT_NOISE "vadd.i16 q5, q5, %[step]\n\t"

/* Velocities q0: saturate((v * M - F * x + noise) >> 16). */
#define NN_MOVE                                                                                    \
    NN_PRODUCTS                                                                                    \
    "vqdmullb.s16 q3, q0, %[m]\n\t"                                                                \
    "vqadd.s32 q1, q1, q3\n\t"                                                                     \
    "vqdmullt.s16 q0, q0, %[m]\n\t"                                                                \
    "vqadd.s32 q0, q0, q2\n\t"                                                                     \
    "vsri.32 q0, q1, #16\n\t"
/* Velocities v where the factor is zero, with q7 = 2^16 - M: less the upper half of v * q7, and
   less 1 if its lower half is more than the noise. q4 is 1. */
#define NN_DECAY(v)                                                                                \
    "vmulh.s16 q1, " v ", q7\n\t"                                                                  \
    "vmul.i16 q2, " v ", q7\n\t"                                                                   \
    "vpt.u16 hi, q2, q5\n\t"                                                                       \
    "vaddt.i16 q1, q1, q4\n\t"                                                                     \
    "vsub.i16 " v ", " v ", q1\n\t"

/* Weights q1 and velocities v narrowed, (v + the upper e bits of noise) >> e, which is the mean of
   the two >> (e - 1): that shift and the sum are one instruction, with k = 2^(16-e). */
#define NN_ADD_NARROWED(v)                                                                         \
    "vshr.u16 q2, q5, %[ue]\n\t"                                                                   \
    "vhadd.s16 q2, " v ", q2\n\t"                                                                  \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqdmlah.s16 q1, q2, %[k]\n\t"
#define NN_ADD_HALVED(v)                                                                           \
    "vshr.u16 q2, q5, #15\n\t"                                                                     \
    "vhadd.s16 q2, " v ", q2\n\t"                                                                  \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqadd.s16 q1, q1, q2\n\t"
#define NN_ADD(v)                                                                                  \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqadd.s16 q1, q1, " v "\n\t"

/* The end of a row, less than eight columns. */
#define NN_REST(change, add)                                                                       \
    "vldrh.u16 q0, [%[v]]\n\t" change add("q0") "mov lr, %[rest]\n\t"                              \
                                                "vctp.16 lr\n\t"                                   \
                                                "vpstt\n\t"                                        \
                                                "vstrht.16 q0, [%[v]]\n\t"                         \
                                                "vstrht.16 q1, [%[w]]\n\t"                         \
                                                "add %[v], %[v], %[rest] * 2\n\t"                  \
                                                "add %[w], %[w], %[rest] * 2\n\t"

/* Whole vectors of a row whose factor is zero: velocities that are zero remain so, and their
   weights. A round looks at one vector, or at two. */
#define NN_STILL(v, back, add)                                                                     \
    NN_DECAY(v)                                                                                    \
    "vstrh.16 " v ", [%[v], " back "]\n\t" add(v) "vstrh.16 q1, [%[w]], #16\n\t" NN_NEXT_NOISE
#define NN_STILL_LOOP(look, change, step)                                                          \
    "dls lr, %[n]\n"                                                                               \
    "2:\n\t" look "cbz %[f], 3f\n\t" change "le lr, 2b\n\t"                                        \
    "b 4f\n"                                                                                       \
    "3:\n\t" step "le lr, 2b\n"                                                                    \
    "4:\n\t"
#define NN_STILL_VECTORS(add)                                                                      \
    NN_STILL_LOOP("vldrh.u16 q0, [%[v]], #16\n\t"                                                  \
                  "vaddv.u16 %[f], q0\n\t",                                                        \
                  NN_STILL("q0", "#-16", add), "add %[w], %[w], #16\n\t" NN_NEXT_NOISE)
#define NN_STILL_PAIRS(add)                                                                        \
    NN_STILL_LOOP("vldrh.u16 q0, [%[v]], #32\n\t"                                                  \
                  "vldrh.u16 q3, [%[v], #-16]\n\t"                                                 \
                  "vorr q1, q0, q3\n\t"                                                            \
                  "vaddv.u16 %[f], q1\n\t",                                                        \
                  NN_STILL("q0", "#-32", add) NN_STILL("q3", "#-16", add),                         \
                  "add %[w], %[w], #32\n\t" NN_NEXT_NOISE NN_NEXT_NOISE)
/* Those of the others. */
#define NN_MOVED(add)                                                                              \
    "vldrh.u16 q0, [%[v]]\n\t" NN_MOVE                                                             \
    "vstrh.16 q0, [%[v]], #16\n\t" add("q0") "vstrh.16 q1, [%[w]], #16\n\t" NN_NEXT_NOISE
#define NN_MOVED_LOOP(round)                                                                       \
    "dls lr, %[n]\n"                                                                               \
    "6:\n\t" round "le lr, 6b\n\t"

#define NN_ALL_ROWS(still, moved)                                                                  \
    __asm volatile(NN_SET_OUT "mov %[f], %[g]\n\t"                                                 \
                              "vdup.16 q7, %[f]\n\t"                                               \
                              "vmov.i16 q4, #1\n"                                                  \
                              "1:\n\t"                                                             \
                              "ldrh lr, [%[draws]], #4\n\t"                                        \
                              "ldrsh %[f], [%[factors]], #2\n\t"                                   \
                              "vadd.i16 q5, q6, lr\n\t"                                            \
                              "rsbs %[f], %[f], #0\n\t"                                            \
                              "bne 5f\n\t" still "cmp %[factors], %[end]\n\t"                      \
                              "bne 1b\n\t"                                                         \
                              "b 7f\n"                                                             \
                              "5:\n\t" moved "sub %[x], %[x], %[back]\n\t"                         \
                              "cmp %[factors], %[end]\n\t"                                         \
                              "bne 1b\n"                                                           \
                              "7:"                                                                 \
                   : [x] "+&r"(x), [v] "+&r"(velocity), [w] "+&r"(weight),                         \
                     [factors] "+&r"(factors), [draws] "+&r"(draws), [f] "=&r"(f)                  \
                   : [end] "r"(&factors[rows]), [m] "r"((int32_t)momentum << (15U - p)),           \
                     [step] "r"(8U * nn_noise_step(p)), [n] "r"(rounds), [k] "r"(1L << (16U - e)), \
                     [g] "i"(0x10000L - ((int32_t)momentum << (16U - p))),                         \
                     [once] "i"((uint32_t)nn_noise_step(p)), [ue] "i"(16 - e),                     \
                     [rest] "i"(columns % 8U), [back] "i"((columns + 7U) / 8U * 32U)               \
                   : "lr", "cc", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory")
#define NN_COLUMNS(add)                                                                            \
    if (pairs) {                                                                                   \
        NN_ALL_ROWS(NN_STILL_PAIRS(add), NN_MOVED_LOOP(NN_MOVED(add) NN_MOVED(add)));              \
    } else if (columns % 8U == 0U) {                                                               \
        NN_ALL_ROWS(NN_STILL_VECTORS(add), NN_MOVED_LOOP(NN_MOVED(add)));                          \
    } else if (columns > 8U) {                                                                     \
        NN_ALL_ROWS(NN_STILL_VECTORS(add) NN_REST(NN_DECAY("q0"), add),                            \
                    NN_MOVED_LOOP(NN_MOVED(add)) NN_REST(NN_MOVE, add));                           \
    } else {                                                                                       \
        NN_ALL_ROWS(NN_REST(NN_DECAY("q0"), add), NN_REST(NN_MOVE, add));                          \
    }

/*
 * All rows of velocities and weights, with the factor and the second draw of each:
 *     v = saturate((v * momentum - factor * x + noise) >> p)
 *     w = saturate(w + ((v + (noise >> (p - e))) >> e))
 * The momentum is more than a half.
 */
NN_INLINE void nn_kernel_momentum(int16_t *room, int16_t *velocity, int16_t *weight,
                                  const void *inputs, uint8_t kind, const int16_t *factors,
                                  const uint16_t *draws, uint16_t momentum, uint16_t rows,
                                  uint16_t columns, uint8_t p, uint8_t e) {
    const int32_t *x = nn_spread(room, inputs, kind, columns, p);
    const uint8_t pairs = (columns % 16U == 0U) ? 1U : 0U;
    const uint32_t rounds = columns / (pairs ? 16U : 8U);
    register int32_t f __asm("r2"); /* VADDV takes an even register, CBZ a low one */
    if (e > 1U) {
        NN_COLUMNS(NN_ADD_NARROWED)
    } else if (e == 1U) {
        NN_COLUMNS(NN_ADD_HALVED)
    } else {
        NN_COLUMNS(NN_ADD)
    }
}

/* Weights less steps: saturate(w - ((F * x + noise) >> 16)), in q1. */
#define NN_STEP                                                                                    \
    NN_PRODUCTS                                                                                    \
    "vsri.32 q2, q1, #16\n\t"                                                                      \
    "vldrh.u16 q1, [%[w]]\n\t"                                                                     \
    "vqsub.s16 q1, q1, q2\n\t"
#define NN_STEP_VECTORS                                                                            \
    "dls lr, %[n]\n"                                                                               \
    "2:\n\t" NN_STEP "vstrh.16 q1, [%[w]], #16\n\t" NN_NEXT_NOISE "le lr, 2b\n\t"
#define NN_STEP_REST                                                                               \
    NN_STEP                                                                                        \
    "mov lr, %[rest]\n\t"                                                                          \
    "vctp.16 lr\n\t"                                                                               \
    "vpst\n\t"                                                                                     \
    "vstrht.16 q1, [%[w]]\n\t"                                                                     \
    "add %[w], %[w], %[rest] * 2\n\t"
#define NN_STEPS(row)                                                                              \
    __asm volatile(                                                                                \
        NN_SET_OUT "1:\n\t"                                                                        \
                   "ldrh lr, [%[draws]], #4\n\t"                                                   \
                   "ldrsh %[f], [%[factors]], #2\n\t"                                              \
                   "vadd.i16 q5, q6, lr\n\t"                                                       \
                   "cmp %[f], #0\n\t"                                                              \
                   "bne 5f\n\t"                                                                    \
                   "add %[w], %[w], %[stride]\n\t"                                                 \
                   "cmp %[factors], %[end]\n\t"                                                    \
                   "bne 1b\n\t"                                                                    \
                   "b 7f\n"                                                                        \
                   "5:\n\t" row "sub %[x], %[x], %[back]\n\t"                                      \
                   "cmp %[factors], %[end]\n\t"                                                    \
                   "bne 1b\n"                                                                      \
                   "7:"                                                                            \
        : [x] "+&r"(x), [w] "+&r"(weight), [factors] "+&r"(factors), [draws] "+&r"(draws),         \
          [f] "=&r"(f)                                                                             \
        : [end] "r"(&factors[rows]), [step] "r"(8U * nn_noise_step(p)), [n] "r"(vectors),          \
          [stride] "r"(2U * columns), [once] "i"((uint32_t)nn_noise_step(p)),                      \
          [rest] "i"(columns % 8U), [back] "i"((columns + 7U) / 8U * 32U)                          \
        : "lr", "cc", "q0", "q1", "q2", "q3", "q5", "q6", "memory")

/* weight = saturate(weight - ((factor * x + noise) >> p), row by row. A zero factor changes
   nothing. */
NN_INLINE void nn_kernel_update(int16_t *room, int16_t *weight, const void *inputs, uint8_t kind,
                                const int16_t *factors, const uint16_t *draws, uint16_t rows,
                                uint16_t columns, uint8_t p) {
    const int32_t *x = nn_spread(room, inputs, kind, columns, p);
    const uint32_t vectors = columns / 8U;
    register int32_t f __asm("r2"); /* VIDUP takes an even register */
    if (columns % 8U == 0U) {
        NN_STEPS(NN_STEP_VECTORS);
    } else if (vectors != 0U) {
        NN_STEPS(NN_STEP_VECTORS NN_STEP_REST);
    } else {
        NN_STEPS(NN_STEP_REST);
    }
}

#include "../cortex-m/nn_kernel_batch.h"

#endif
