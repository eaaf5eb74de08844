#include "nn_map.h"

#include "nn_crc.h"

/* The cursor: `left` bytes of `segment` are still to come, the first of them `at`. */
static const NN_CODE nn_segment_t *segment;
static uint8_t *at;
static uint16_t left;

void nn_map_open(const NN_CODE nn_segment_t *map, uint16_t offset) {
    segment = map;
    while (offset >= segment->size) {
        offset = (uint16_t)(offset - segment->size);
        segment++;
    }
    at = segment->at + offset;
    left = (uint16_t)(segment->size - offset);
}

/* Enters the next segment when one is used up, and only when more is wanted. */
static void proceed(void) {
    while (left == 0U) {
        segment++;
        at = segment->at;
        left = segment->size;
    }
}

uint8_t nn_map_get(void) {
    uint8_t byte;
    proceed();
    byte = *at;
    at++;
    left--;
    return byte;
}

void nn_map_put(uint8_t byte) {
    proceed();
    *at = byte;
    at++;
    left--;
}

uint16_t nn_map_crc(uint16_t size) {
    nn_crc_begin(NN_CRC_START);
    while (size != 0U) {
        uint16_t run;
        proceed();
        run = (left < size) ? left : size;
        nn_crc_add(at, run);
        at += run;
        left = (uint16_t)(left - run);
        size = (uint16_t)(size - run);
    }
    return nn_crc_value();
}
