/*
 * The native engine: the generated net and the firmware's own schedule as a shared library.
 */
#include "nn_net.h"
#include "nn_prng.h"
#include "nn_train.h"

void nn_native_reset(uint16_t seed);
uint32_t nn_native_train(const uint8_t *samples, uint16_t epochs, uint32_t steps, uint32_t *losses);
void nn_native_evaluate(const uint8_t *samples, uint32_t count, uint32_t *losses,
                        uint16_t *predictions);
void nn_native_state(uint8_t *out);

static void load(const uint8_t *sample) {
    for (uint8_t s = 0U; s < NN_SAMPLE_SEGMENTS; s++) {
        uint8_t *at = nn_sample_map[s].at;
        for (uint16_t i = 0U; i < nn_sample_map[s].size; i++) {
            at[i] = *sample++;
        }
    }
}

void nn_native_reset(uint16_t seed) { nn_train_start(seed); }

/* Steps on until `epochs` are complete, at most `steps`; returns how many steps were made. */
uint32_t nn_native_train(const uint8_t *samples, uint16_t epochs, uint32_t steps,
                         uint32_t *losses) {
    uint32_t done = 0U;
    while ((done < steps) && (nn_train_next(epochs) != 0U)) {
        load(&samples[(uint32_t)nn_get_row() * NN_SAMPLE_BYTES]);
        nn_train_visit();
        losses[done] = nn_report_loss();
        done++;
    }
    return done;
}

void nn_native_evaluate(const uint8_t *samples, uint32_t count, uint32_t *losses,
                        uint16_t *predictions) {
    for (uint32_t i = 0U; i < count; i++) {
        load(&samples[i * NN_SAMPLE_BYTES]);
        nn_forward();
        nn_measure();
        losses[i] = nn_report_loss();
        predictions[i] = nn_report_prediction();
    }
}

void nn_native_state(uint8_t *out) {
    for (uint8_t s = 0U; s < NN_STATE_SEGMENTS; s++) {
        const uint8_t *at = nn_state_map[s].at;
        for (uint16_t i = 0U; i < nn_state_map[s].size; i++) {
            *out++ = at[i];
        }
    }
}
