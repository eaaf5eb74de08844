#include "nn_crc.h"

static NN_DATA uint8_t high;
static NN_DATA uint8_t low;

void nn_crc_begin(uint16_t start) {
    high = (uint8_t)(start >> 8);
    low = (uint8_t)(start & 0xFFU);
}

/* Eight steps of the polynomial at once: value << 8 ^ x << 12 ^ x << 5 ^ x, a byte at a time. */
void nn_crc_add(uint8_t byte) {
    uint8_t x = (uint8_t)(high ^ byte);
    x = (uint8_t)(x ^ (uint8_t)(x >> 4));
    high = (uint8_t)(low ^ (uint8_t)((uint8_t)(x << 4) ^ (uint8_t)(x >> 3)));
    low = (uint8_t)(x ^ (uint8_t)(x << 5));
}

void nn_crc_add_block(const uint8_t *at, uint16_t size) {
    for (; size != 0U; size--) {
        nn_crc_add(*at);
        at++;
    }
}

uint16_t nn_crc_value(void) {
    return (uint16_t)(((uint16_t)high << 8) | low);
}
