#include "nn_digest.h"

#include "nn_config.h"
#include "nn_crc.h"
#include "nn_map.h"
#include "nn_net.h"
#include "nn_port.h"

#define SLICES 256U
#define STEPS_A_SLICE 16U
#define SLICE_BYTES ((NN_STATE_BYTES + SLICES - 1U) / SLICES)

uint16_t nn_digest_state(void) {
    nn_map_open(nn_state_map, 0U);
    return nn_map_crc(NN_STATE_BYTES);
}

/* Rounding up can leave the last slices short or empty. */
uint16_t nn_digest_slice(uint16_t step) {
    const uint8_t turn = (uint8_t)(step / STEPS_A_SLICE);
    const nn_offset_t begin = (nn_offset_t)((nn_offset_t)turn * SLICE_BYTES);
    nn_offset_t size;
    if (begin >= NN_STATE_BYTES) {
        return NN_CRC_START;
    }
    size = (nn_offset_t)(NN_STATE_BYTES - begin);
    if (size > SLICE_BYTES) {
        size = SLICE_BYTES;
    }
    nn_map_open(nn_state_map, begin);
    return nn_map_crc(size);
}

uint16_t nn_digest_trace(void) {
    nn_map_open(nn_trace_map, 0U);
    return nn_map_crc(NN_TRACE_BYTES);
}

#if NN_HEALTH
#define MOST_AT_ONCE 0x8000UL

uint16_t nn_digest_image(void) {
    uint8_t i;
    nn_crc_begin(NN_CRC_START);
    for (i = 0U; i < NN_PORT_PARTS; i++) {
        const uint8_t *at = nn_port_image[i].at;
        uint32_t left = nn_port_image[i].size;
        while (left != 0U) {
            const uint32_t size = (left < MOST_AT_ONCE) ? left : MOST_AT_ONCE;
            nn_crc_add(at, (uint16_t)size);
            at += size;
            left -= size;
        }
    }
    return nn_crc_value();
}
#endif
