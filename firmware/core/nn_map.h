/*
 * Maps: lists of segments (nn_state_map, nn_sample_map, nn_trace_map) seen as if they were one
 * block of bytes. There is one cursor; its user must not move it past the map's end.
 */
#ifndef NN_MAP_H
#define NN_MAP_H

#include "nn_config.h"
#include "nn_types.h"

/* An offset in a map, or a number of its bytes. A segment never has more than 65535. */
#if NN_STATE_BYTES < 0xFFFFU
typedef uint16_t nn_offset_t;
#else
typedef uint32_t nn_offset_t;
#endif

/* Places the cursor on the byte at `offset`, which must be in the map. */
void nn_map_open(const NN_CODE nn_segment_t *map, nn_offset_t offset);

/* Takes the byte at the cursor, which moves on. */
uint8_t nn_map_get(void);

/* Sets the next `size` bytes; the cursor moves on. */
void nn_map_put(const NN_XDATA uint8_t *from, uint8_t size);

/* CRC of the next `size` bytes as they are in memory now; the cursor is then to be placed anew. */
uint16_t nn_map_crc(nn_offset_t size);

#endif
