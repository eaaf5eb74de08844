#include "nn_map.h"

#include "nn_crc.h"

/* The cursor: `skip` bytes into the segment that `segment` points to. */
static const NN_CODE nn_segment_t *segment;
static uint16_t skip;

void nn_map_open(const NN_CODE nn_segment_t *map, uint16_t offset) {
    segment = map;
    skip = offset;
}

/* Lets the cursor stand inside a segment, not at its end. */
static void settle(void) {
    while (skip >= segment->size) {
        skip = (uint16_t)(skip - segment->size);
        segment++;
    }
}

uint8_t *nn_map_next(void) {
    uint8_t *at;
    settle();
    at = segment->at + skip;
    skip++;
    return at;
}

uint16_t nn_map_crc(uint16_t size) {
    nn_crc_begin(NN_CRC_START);
    while (size != 0U) {
        uint16_t run;
        settle();
        run = (uint16_t)(segment->size - skip);
        if (run > size) {
            run = size;
        }
        nn_crc_add_block(segment->at + skip, run);
        skip = (uint16_t)(skip + run);
        size = (uint16_t)(size - run);
    }
    return nn_crc_value();
}
