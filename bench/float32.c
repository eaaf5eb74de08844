/*
 * A 64-32-10 net in float32, the yardstick of bench/engine.py: ReLU, softmax with cross-entropy,
 * plain SGD at batch 1. Plain loops, which the compiler turns into SIMD.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INPUTS 64
#define HIDDEN 32
#define OUTPUTS 10

static float weight1[HIDDEN][INPUTS], bias1[HIDDEN];
static float weight2[OUTPUTS][HIDDEN], bias2[OUTPUTS];

void load(const float *w1, const float *b1, const float *w2, const float *b2);
float train(const float *restrict rows, const int32_t *restrict targets,
            const int32_t *restrict order, int32_t steps, float lr);

void load(const float *w1, const float *b1, const float *w2, const float *b2) {
    memcpy(weight1, w1, sizeof(weight1));
    memcpy(bias1, b1, sizeof(bias1));
    memcpy(weight2, w2, sizeof(weight2));
    memcpy(bias2, b2, sizeof(bias2));
}

/* A step on each row of `order`; the mean loss. */
float train(const float *restrict rows, const int32_t *restrict targets,
            const int32_t *restrict order, int32_t steps, float lr) {
    float loss = 0.0F;
    for (int32_t s = 0; s < steps; s++) {
        const float *restrict x = rows + (size_t)order[s] * INPUTS;
        const int32_t target = targets[order[s]];
        float hidden[HIDDEN], logits[OUTPUTS], delta[OUTPUTS], below[HIDDEN];
        for (int o = 0; o < HIDDEN; o++) {
            float sum = bias1[o];
            for (int j = 0; j < INPUTS; j++) {
                sum += weight1[o][j] * x[j];
            }
            hidden[o] = (sum > 0.0F) ? sum : 0.0F;
        }
        for (int o = 0; o < OUTPUTS; o++) {
            float sum = bias2[o];
            for (int j = 0; j < HIDDEN; j++) {
                sum += weight2[o][j] * hidden[j];
            }
            logits[o] = sum;
        }
        float top = logits[0];
        for (int o = 1; o < OUTPUTS; o++) {
            top = (logits[o] > top) ? logits[o] : top;
        }
        float mass = 0.0F;
        for (int o = 0; o < OUTPUTS; o++) {
            delta[o] = expf(logits[o] - top);
            mass += delta[o];
        }
        loss += logf(mass) + top - logits[target];
        for (int o = 0; o < OUTPUTS; o++) {
            delta[o] = delta[o] / mass - ((o == target) ? 1.0F : 0.0F);
        }
        for (int j = 0; j < HIDDEN; j++) {
            below[j] = 0.0F;
        }
        for (int o = 0; o < OUTPUTS; o++) {
            for (int j = 0; j < HIDDEN; j++) {
                below[j] += weight2[o][j] * delta[o];
            }
        }
        for (int o = 0; o < OUTPUTS; o++) {
            const float factor = lr * delta[o];
            for (int j = 0; j < HIDDEN; j++) {
                weight2[o][j] -= factor * hidden[j];
            }
            bias2[o] -= factor;
        }
        for (int o = 0; o < HIDDEN; o++) {
            const float factor = (hidden[o] > 0.0F) ? lr * below[o] : 0.0F;
            if (factor == 0.0F) { /* worth its branch: half of the units are off */
                continue;
            }
            for (int j = 0; j < INPUTS; j++) {
                weight1[o][j] -= factor * x[j];
            }
            bias1[o] -= factor;
        }
    }
    return loss / (float)steps;
}
