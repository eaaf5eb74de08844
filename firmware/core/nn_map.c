#include "nn_map.h"

#include "nn_config.h"
#include "nn_copy.h"
#include "nn_crc.h"

/* On an 8051 the first segment of the state may be numbers in planes. Its address is 0 then. */
#ifdef NN_PLANES
#include "nn_planes.h"
#define IN_PLANES (segment->at == 0)
#endif

/* The cursor: `left` bytes of `segment` are still to come, the first of them `at`. */
static const NN_CODE nn_segment_t *segment;
static uint8_t *at;
static uint16_t left;

void nn_map_open(const NN_CODE nn_segment_t *map, nn_offset_t offset) {
    segment = map;
    while (offset >= segment->size) {
        offset = (nn_offset_t)(offset - segment->size);
        segment++;
    }
    at = segment->at + offset;
    left = (uint16_t)(segment->size - offset);
#ifdef NN_PLANES
    if (IN_PLANES) {
        nn_planes_open(offset);
    }
#endif
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
    left--;
#ifdef NN_PLANES
    if (IN_PLANES) {
        return nn_planes_take();
    }
#endif
    byte = *at;
    at++;
    return byte;
}

void nn_map_put(const NN_XDATA uint8_t *from, uint8_t size) {
    while (size != 0U) {
        uint8_t run;
        proceed();
        run = (left < size) ? (uint8_t)left : size;
        left = (uint16_t)(left - run);
        size = (uint8_t)(size - run);
#ifdef NN_PLANES
        if (IN_PLANES) {
            for (; run != 0U; run--) {
                nn_planes_set(*from);
                from++;
            }
            continue;
        }
#endif
        nn_copy(from, at, run);
        from += run;
        at += run;
    }
}

uint16_t nn_map_crc(nn_offset_t size) {
    nn_crc_begin(NN_CRC_START);
    while (size != 0U) {
        uint16_t run;
        proceed();
        run = (left < size) ? left : (uint16_t)size;
#ifdef NN_PLANES
        if (IN_PLANES) {
            nn_crc_begin(nn_planes_crc(run, nn_crc_value()));
        } else
#endif
        {
            nn_crc_add(at, run);
            at += run;
        }
        left = (uint16_t)(left - run);
        size = (nn_offset_t)(size - run);
    }
    return nn_crc_value();
}
