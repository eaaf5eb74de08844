/* Variables of all kinds. By its name this file is linked before the one with main. */
#include "nn_memory.h"

#define SIZE 40U

static const NN_CODE uint8_t table[4] = {2U, 3U, 5U, 7U};
static uint16_t initial = 0x1234U;
static uint8_t zero;
static NN_IDATA uint8_t inside[SIZE];
static NN_XDATA uint8_t outside[SIZE];

uint8_t memory_is_fresh(void) {
    uint8_t fresh = ((initial == 0x1234U) && (zero == 0U) && (table[3] == 7U)) ? 1U : 0U;
    uint8_t i;
    for (i = 0U; i < SIZE; i++) {
        if ((inside[i] | outside[i]) != 0U) {
            fresh = 0U;
        }
    }
    return fresh;
}

void spoil_memory(void) {
    uint8_t i;
    initial++;
    zero = 1U;
    for (i = 0U; i < SIZE; i++) {
        inside[i] = i;
        outside[i] = (uint8_t)(inside[i] + initial);
    }
}
