/*
 * The native engine: the generated net and the firmware's own schedule as a shared library, in one
 * translation unit, so that the compiler sees everything at once.
 */
#include <string.h>

#include "nn_prng.h"

#define NN_PERIOD 65535U

#define NN_NATIVE __attribute__((visibility("default")))

/* The generator's whole period, twice, so that no run of numbers is cut at its end. */
static uint16_t sequence[2U * NN_PERIOD];
static uint16_t place[NN_PERIOD + 1U]; /* of a number in it */
static uint32_t drawn;                 /* place of the next number */

uint16_t nn_prng_state = 1U;

static void tabulate(void) {
    uint16_t x = 1U;
    for (uint32_t i = 0U; i < NN_PERIOD; i++) {
        sequence[i] = x;
        sequence[i + NN_PERIOD] = x;
        place[x] = (uint16_t)i;
        x = (uint16_t)(x ^ (uint16_t)(x << 7));
        x = (uint16_t)(x ^ (uint16_t)(x >> 9));
        x = (uint16_t)(x ^ (uint16_t)(x << 8));
    }
}

void nn_prng_seed(uint16_t seed) {
    if (sequence[0] == 0U) {
        tabulate();
    }
    nn_prng_state = (seed == 0U) ? 1U : seed;
    drawn = place[nn_prng_state] + 1U;
}

/* The next `count` numbers, at most a period. */
static const uint16_t *nn_prng_take(uint32_t count) {
    const uint16_t *const taken = &sequence[drawn];
    drawn += count;
    if (drawn >= NN_PERIOD) {
        drawn -= NN_PERIOD;
    }
    nn_prng_state = taken[count - 1U];
    return taken;
}

uint16_t nn_prng_next(void) { return *nn_prng_take(1U); }

#include "nn_net.c"
#include "nn_train.c"

NN_NATIVE void nn_native_reset(uint16_t seed);
NN_NATIVE uint32_t nn_native_train(const uint8_t *samples, uint16_t epochs, uint32_t steps,
                                   uint32_t *losses);
NN_NATIVE void nn_native_follow(const uint8_t *samples, uint32_t count, uint32_t *losses,
                                uint16_t *predictions);
NN_NATIVE void nn_native_evaluate(const uint8_t *samples, uint32_t count, uint32_t *losses,
                                  uint16_t *predictions);
NN_NATIVE void nn_native_state(uint8_t *out);
NN_NATIVE void nn_native_set_state(const uint8_t *in);

static void load(const uint8_t *sample) {
    for (uint8_t s = 0U; s < NN_SAMPLE_SEGMENTS; s++) {
        memcpy(nn_sample_map[s].at, sample, nn_sample_map[s].size);
        sample += nn_sample_map[s].size;
    }
}

void nn_native_reset(uint16_t seed) { nn_train_start(seed); }

/* Steps on until `epochs` are complete, at most `steps`; returns how many steps were made. */
uint32_t nn_native_train(const uint8_t *samples, uint16_t epochs, uint32_t steps,
                         uint32_t *losses) {
    uint32_t done = 0U;
    while ((done < steps) && (nn_train_next(epochs) != 0U)) {
        load(&samples[(size_t)nn_get_row() * NN_SAMPLE_BYTES]);
        nn_train_visit();
        losses[done] = nn_report_loss();
        done++;
    }
    return done;
}

/* A step on each sample, in their order. */
void nn_native_follow(const uint8_t *samples, uint32_t count, uint32_t *losses,
                      uint16_t *predictions) {
    for (uint32_t i = 0U; i < count; i++) {
        load(&samples[(size_t)i * NN_SAMPLE_BYTES]);
        nn_train_visit();
        losses[i] = nn_report_loss();
        predictions[i] = nn_report_prediction();
    }
}

void nn_native_evaluate(const uint8_t *samples, uint32_t count, uint32_t *losses,
                        uint16_t *predictions) {
    for (uint32_t i = 0U; i < count; i++) {
        load(&samples[(size_t)i * NN_SAMPLE_BYTES]);
        nn_forward();
        nn_measure();
        losses[i] = nn_report_loss();
        predictions[i] = nn_report_prediction();
    }
}

void nn_native_state(uint8_t *out) {
    for (uint8_t s = 0U; s < NN_STATE_SEGMENTS; s++) {
        memcpy(out, nn_state_map[s].at, nn_state_map[s].size);
        out += nn_state_map[s].size;
    }
}

void nn_native_set_state(const uint8_t *in) {
    for (uint8_t s = 0U; s < NN_STATE_SEGMENTS; s++) {
        memcpy(nn_state_map[s].at, in, nn_state_map[s].size);
        in += nn_state_map[s].size;
    }
    drawn = place[nn_prng_state] + 1U;
}
