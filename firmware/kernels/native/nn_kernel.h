/*
 * The hot loops of the native engine: with AVX2 sixteen columns at a time, and elsewhere, or what
 * is left over, as the compiler arranges them. `n` is the length of a row, `kind` the type of x;
 * all calls have constants there, and are inlined.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include <stdint.h>

#define NN_UINT8 0
#define NN_INT8 1

/* One column, as everywhere. */

static inline int32_t nn_kernel_x(const void *x, int kind, uint32_t j) {
    return (kind == NN_UINT8) ? ((const uint8_t *)x)[j] : ((const int8_t *)x)[j];
}

static inline int32_t nn_kernel_noise(uint16_t draw, uint32_t j) {
    return (uint8_t)((draw >> 8) + j * 157U);
}

static inline int16_t nn_kernel_saturated(int32_t value) {
    return (int16_t)((value > 32767) ? 32767 : (value < -32768) ? -32768 : value);
}

#if defined(__AVX2__)
#include <immintrin.h>

#define NN_KERNEL_BLOCK 16U

/* Sixteen columns, 16 bits each. */

static inline __m256i nn_kernel_load(const int16_t *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline void nn_kernel_store(int16_t *to, __m256i value) {
    _mm256_storeu_si256((__m256i *)to, value);
}

static inline __m256i nn_kernel_load_x(const void *x, int kind, uint32_t j) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)((const uint8_t *)x + j));
    return (kind == NN_UINT8) ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
}

static inline int32_t nn_kernel_total(__m256i sums) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
}

/* The noise of the first columns, and of the next: 157 j and 16 * 157 modulo 256. */
static inline __m256i nn_kernel_first_noise(uint16_t draw) {
    const __m256i ramp =
        _mm256_setr_epi16(0, 157, 58, 215, 116, 17, 174, 75, 232, 133, 34, 191, 92, 249, 150, 51);
    return _mm256_add_epi8(_mm256_set1_epi16((int16_t)(draw >> 8)), ramp);
}

static inline __m256i nn_kernel_next_noise(__m256i noise) {
    return _mm256_add_epi8(noise, _mm256_set1_epi16(208));
}

/*
 * (factor * x + noise) >> 8. In 16 bits, with factor = 256 * upper + lower, that is
 * upper * x + ((lower * x + noise) >> 8): neither term leaves its 16 bits (those of the second are
 * unsigned where x is), nor does their sum, which is at most 32768 * 255 / 256.
 */
static inline __m256i nn_kernel_step(int16_t factor, __m256i x, int kind, __m256i noise) {
    const __m256i upper = _mm256_set1_epi16((int16_t)(factor >> 8));
    const __m256i lower = _mm256_set1_epi16((int16_t)(factor & 255));
    const __m256i fine = _mm256_add_epi16(_mm256_mullo_epi16(lower, x), noise);
    return _mm256_add_epi16(_mm256_mullo_epi16(upper, x), (kind == NN_UINT8)
                                                              ? _mm256_srli_epi16(fine, 8)
                                                              : _mm256_srai_epi16(fine, 8));
}

/* Saturated (momentum * v - factor * x + noise) >> 8, in 32 bits between. */
static inline __m256i nn_kernel_decayed(__m256i v, int16_t momentum, __m256i x, int16_t factor,
                                        __m256i noise) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i minus = _mm256_set1_epi16((int16_t)-momentum);
    const __m256i by = _mm256_unpacklo_epi16(minus, _mm256_set1_epi16(factor));
    const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(v, x), by);
    const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(v, x), by);
    return _mm256_packs_epi32(
        _mm256_srai_epi32(_mm256_sub_epi32(_mm256_unpacklo_epi16(noise, zero), low), 8),
        _mm256_srai_epi32(_mm256_sub_epi32(_mm256_unpackhi_epi16(noise, zero), high), 8));
}
#endif

/* The sum of the weights' upper bytes times x. */
static inline int32_t nn_kernel_dot(const int16_t *weight, const void *x, int kind, uint32_t n) {
    int32_t sum = 0;
    uint32_t j = 0U;
#if defined(__AVX2__)
    __m256i sums = _mm256_setzero_si256();
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i seen = _mm256_srai_epi16(nn_kernel_load(weight + j), 8);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(seen, nn_kernel_load_x(x, kind, j)));
    }
    sum = nn_kernel_total(sums);
#endif
    for (; j < n; j++) {
        sum += (weight[j] >> 8) * nn_kernel_x(x, kind, j);
    }
    return sum;
}

/* Slots, or 0 for the `first` row of a batch, less the step. */
static inline void nn_kernel_gather(int16_t *slot, const void *x, int kind, int16_t factor,
                                    uint16_t draw, uint8_t first, uint32_t n) {
    uint32_t j = 0U;
#if defined(__AVX2__)
    __m256i noise = nn_kernel_first_noise(draw);
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i step = nn_kernel_step(factor, nn_kernel_load_x(x, kind, j), kind, noise);
        const __m256i v = (first != 0U) ? _mm256_setzero_si256() : nn_kernel_load(slot + j);
        nn_kernel_store(slot + j, _mm256_subs_epi16(v, step));
        noise = nn_kernel_next_noise(noise);
    }
#endif
    for (; j < n; j++) {
        const int32_t step = (factor * nn_kernel_x(x, kind, j) + nn_kernel_noise(draw, j)) >> 8;
        slot[j] = nn_kernel_saturated(((first != 0U) ? 0 : slot[j]) - step);
    }
}

/* Weights less the step. */
static inline void nn_kernel_update(int16_t *weight, const void *x, int kind, int16_t factor,
                                    uint16_t draw, uint32_t n) {
    nn_kernel_gather(weight, x, kind, factor, draw, 0U, n);
}

/* Velocities that decay, less the step, rounded once. */
static inline void nn_kernel_velocity(int16_t *slot, const void *x, int kind, int16_t factor,
                                      uint16_t draw, uint8_t momentum, uint32_t n) {
    uint32_t j = 0U;
#if defined(__AVX2__)
    __m256i noise = nn_kernel_first_noise(draw);
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i a = nn_kernel_load_x(x, kind, j);
        const __m256i v = nn_kernel_load(slot + j);
        nn_kernel_store(slot + j, nn_kernel_decayed(v, momentum, a, factor, noise));
        noise = nn_kernel_next_noise(noise);
    }
#endif
    for (; j < n; j++) {
        const int32_t moved = slot[j] * momentum - factor * nn_kernel_x(x, kind, j);
        slot[j] = nn_kernel_saturated((moved + nn_kernel_noise(draw, j)) >> 8);
    }
}

static inline void nn_kernel_velocity_of_batch(int16_t *slot, const void *x, int kind,
                                               int16_t factor, uint16_t draw, uint8_t momentum,
                                               uint8_t first, uint32_t n) {
    if (first != 0U) {
        nn_kernel_velocity(slot, x, kind, factor, draw, momentum, n);
    } else {
        nn_kernel_gather(slot, x, kind, factor, draw, 0U, n);
    }
}

/* Weights plus velocities. */
static inline void nn_kernel_add(int16_t *weight, const int16_t *slot, uint32_t n) {
    for (uint32_t j = 0U; j < n; j++) {
        weight[j] = nn_kernel_saturated(weight[j] + slot[j]);
    }
}

/* The same without the velocities' `extra` bits, rounded by the upper bits of the noise. */
static inline void nn_kernel_add_narrow(int16_t *weight, const int16_t *slot, uint16_t draw,
                                        uint32_t n, uint32_t extra) {
    uint32_t j = 0U;
#if defined(__AVX2__)
    const __m256i mask = _mm256_set1_epi16((int16_t)((1U << extra) - 1U));
    __m256i noise = nn_kernel_first_noise(draw);
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i v = nn_kernel_load(slot + j);
        const __m256i random = _mm256_srli_epi16(noise, (int)(8U - extra));
        const __m256i rest = _mm256_add_epi16(_mm256_and_si256(v, mask), random);
        const __m256i whole = _mm256_srai_epi16(v, (int)extra);
        const __m256i moved = _mm256_add_epi16(whole, _mm256_srli_epi16(rest, (int)extra));
        nn_kernel_store(weight + j, _mm256_adds_epi16(nn_kernel_load(weight + j), moved));
        noise = nn_kernel_next_noise(noise);
    }
#endif
    for (; j < n; j++) {
        const int32_t random = nn_kernel_noise(draw, j) >> (8U - extra);
        weight[j] = nn_kernel_saturated(weight[j] + ((slot[j] + random) >> extra));
    }
}

#endif
