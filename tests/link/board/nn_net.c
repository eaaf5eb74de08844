#include "nn_net.h"

#include "nn_config.h"
#include "nn_prng.h"

#define WEIGHTS 99U
#define INPUTS 37U
#define TARGETS 4U

static NN_XDATA uint8_t weights[WEIGHTS];
static NN_XDATA uint16_t order;
static NN_XDATA uint8_t inputs[INPUTS];
static NN_XDATA uint8_t targets[TARGETS];
static NN_XDATA uint8_t hidden[3];
static NN_XDATA uint8_t logits[4];
static NN_XDATA uint16_t position;
static NN_XDATA uint16_t row;
static NN_XDATA uint8_t batch;
static NN_XDATA uint32_t loss;

const NN_CODE nn_segment_t nn_state_map[] = {
    {weights, WEIGHTS},
    {(uint8_t *)&nn_prng_state, 2U},
    {(uint8_t *)&order, 2U},
};
const NN_CODE nn_segment_t nn_sample_map[] = {{inputs, INPUTS}, {targets, TARGETS}};
const NN_CODE nn_segment_t nn_trace_map[] = {{hidden, 3U}, {logits, 4U}};

void nn_init(void) {
    uint8_t i;
    for (i = 0U; i < WEIGHTS; i++) {
        weights[i] = (uint8_t)(nn_prng_next() & 0xFFU);
    }
    order = 0U;
}

void nn_epoch(void) { order = nn_prng_next(); }

void nn_pick(void) { row = (uint16_t)((position ^ order) & (NN_ORDER_SIZE - 1U)); }

uint8_t nn_sound_sample(void) { return 1U; }

uint8_t nn_sound_state(void) { return (order != 0xBAD0U) ? 1U : 0U; }

void nn_forward(void) {
    uint8_t i;
    uint8_t sum = 1U;
    for (i = 0U; i < INPUTS; i++) {
        sum = (uint8_t)(sum * 5U + (inputs[i] ^ weights[i]));
    }
    for (i = 0U; i < 3U; i++) {
        hidden[i] = (uint8_t)(sum + i * weights[i]);
    }
    for (i = 0U; i < 4U; i++) {
        logits[i] = (uint8_t)(hidden[0] ^ (uint8_t)(i * 17U));
    }
}

void nn_measure(void) {
    loss = ((uint32_t)logits[0] << 16) | ((uint32_t)targets[0] << 8) | targets[TARGETS - 1U];
}

void nn_backward(void) { batch = (uint8_t)(batch * 3U + hidden[0]); }

void nn_update(void) {
    uint8_t i;
    uint8_t carry = batch;
    for (i = 0U; i < WEIGHTS; i++) {
        carry = (uint8_t)(carry * 7U + weights[i] + i);
        weights[i] = (uint8_t)(weights[i] ^ carry);
    }
}

uint32_t nn_report_loss(void) { return loss; }

uint16_t nn_report_prediction(void) { return (uint16_t)(logits[1] * 257U); }

uint32_t nn_report_milli(void) { return loss & 0x1FFFUL; }

void nn_set_batch(uint8_t first, uint8_t last) { batch = (uint8_t)(first * 2U + last); }

void nn_set_position(uint16_t p) { position = p; }

uint16_t nn_get_row(void) { return row; }

#if NN_STANDALONE
void nn_load_row(uint16_t r) {
    uint8_t i;
    for (i = 0U; i < INPUTS; i++) {
        inputs[i] = (uint8_t)(r * 31U + i);
    }
    for (i = 0U; i < TARGETS; i++) {
        targets[i] = (uint8_t)(r + i);
    }
}
#endif
