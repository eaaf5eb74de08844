/*
 * The hot loops of the native engine: with AVX2 sixteen columns at a time, and elsewhere, or what
 * is left over, as the compiler arranges them. `n` is the length of a row.
 */
#ifndef NN_KERNEL_H
#define NN_KERNEL_H

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>

#define NN_KERNEL_BLOCK 16U

static inline __m256i nn_kernel_load_u8(const uint8_t *x) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)x));
}

static inline __m256i nn_kernel_load_s8(const int8_t *x) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x));
}

/* Adds sixteen products of the weights' upper bytes with inputs to eight sums. */
static inline __m256i nn_kernel_products(__m256i sums, const int16_t *weight, __m256i x) {
    const __m256i seen = _mm256_srai_epi16(_mm256_loadu_si256((const __m256i *)weight), 8);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(seen, x));
}

static inline int32_t nn_kernel_total(__m256i sums) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
}

/* The noise of the first sixteen columns, 8 bits in each 16. */
static inline __m256i nn_kernel_noise(uint8_t dither) {
    const __m256i ramp =
        _mm256_setr_epi16(0, 157, 58, 215, 116, 17, 174, 75, 232, 133, 34, 191, 92, 249, 150, 51);
    return _mm256_add_epi8(_mm256_set1_epi16(dither), ramp); /* 157 j modulo 256 */
}

/* That of the next sixteen: 16 * 157 modulo 256 is 208. */
static inline __m256i nn_kernel_next_noise(__m256i noise) {
    return _mm256_add_epi8(noise, _mm256_set1_epi16(208));
}

static inline void nn_kernel_subtract(int16_t *weight, __m256i step) {
    const __m256i w = _mm256_loadu_si256((const __m256i *)weight);
    _mm256_storeu_si256((__m256i *)weight, _mm256_subs_epi16(w, step));
}
#endif

static inline int32_t nn_kernel_dot_u8(const int16_t *weight, const uint8_t *x, uint32_t n) {
    int32_t sum = 0;
    uint32_t j = 0U;
#if defined(__AVX2__)
    __m256i sums = _mm256_setzero_si256();
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        sums = nn_kernel_products(sums, weight + j, nn_kernel_load_u8(x + j));
    }
    sum = nn_kernel_total(sums);
#endif
    for (; j < n; j++) {
        sum += (weight[j] >> 8) * x[j];
    }
    return sum;
}

static inline int32_t nn_kernel_dot_s8(const int16_t *weight, const int8_t *x, uint32_t n) {
    int32_t sum = 0;
    uint32_t j = 0U;
#if defined(__AVX2__)
    __m256i sums = _mm256_setzero_si256();
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        sums = nn_kernel_products(sums, weight + j, nn_kernel_load_s8(x + j));
    }
    sum = nn_kernel_total(sums);
#endif
    for (; j < n; j++) {
        sum += (weight[j] >> 8) * x[j];
    }
    return sum;
}

/* A weight less a step, saturated. */
static inline int16_t nn_kernel_less(int16_t weight, int32_t step) {
    const int32_t next = weight - step;
    return (int16_t)((next > 32767) ? 32767 : (next < -32768) ? -32768 : next);
}

/*
 * Weights less (factor * x + noise) >> 8. In 16 bits, with factor = 256 * upper + lower, that is
 * upper * x + ((lower * x + noise) >> 8): neither term leaves its 16 bits (those of the second are
 * unsigned where x is), nor does their sum, which is at most 32768 * 255 / 256.
 */
static inline void nn_kernel_update_u8(int16_t *weight, const uint8_t *x, int16_t factor,
                                       uint8_t dither, uint32_t n) {
    uint32_t j = 0U;
#if defined(__AVX2__)
    const __m256i upper = _mm256_set1_epi16((int16_t)(factor >> 8));
    const __m256i lower = _mm256_set1_epi16((int16_t)(factor & 255));
    __m256i noise = nn_kernel_noise(dither);
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i a = nn_kernel_load_u8(x + j);
        const __m256i fine = _mm256_add_epi16(_mm256_mullo_epi16(lower, a), noise);
        const __m256i step =
            _mm256_add_epi16(_mm256_mullo_epi16(upper, a), _mm256_srli_epi16(fine, 8));
        nn_kernel_subtract(weight + j, step);
        noise = nn_kernel_next_noise(noise);
    }
#endif
    for (; j < n; j++) {
        weight[j] = nn_kernel_less(weight[j], (factor * x[j] + (uint8_t)(dither + j * 157U)) >> 8);
    }
}

static inline void nn_kernel_update_s8(int16_t *weight, const int8_t *x, int16_t factor,
                                       uint8_t dither, uint32_t n) {
    uint32_t j = 0U;
#if defined(__AVX2__)
    const __m256i upper = _mm256_set1_epi16((int16_t)(factor >> 8));
    const __m256i lower = _mm256_set1_epi16((int16_t)(factor & 255));
    __m256i noise = nn_kernel_noise(dither);
    for (; j + NN_KERNEL_BLOCK <= n; j += NN_KERNEL_BLOCK) {
        const __m256i a = nn_kernel_load_s8(x + j);
        const __m256i fine = _mm256_add_epi16(_mm256_mullo_epi16(lower, a), noise);
        const __m256i step =
            _mm256_add_epi16(_mm256_mullo_epi16(upper, a), _mm256_srai_epi16(fine, 8));
        nn_kernel_subtract(weight + j, step);
        noise = nn_kernel_next_noise(noise);
    }
#endif
    for (; j < n; j++) {
        weight[j] = nn_kernel_less(weight[j], (factor * x[j] + (uint8_t)(dither + j * 157U)) >> 8);
    }
}

#endif
