/*
 * Frames of the link (docs/protocol.md) in memory: one byte of COBS, then what is sent, then a
 * checksum of three bytes. COBS never needs a second byte, because a frame is shorter than 254
 * bytes: each zero is replaced where it stands by the distance to the next, so that a frame is
 * encoded and decoded in place.
 */
#ifndef NN_FRAME_H
#define NN_FRAME_H

#include "nn_types.h"

#define NN_FRAME_CRC_BYTES 3U

/*
 * Both go on with the checksum that nn_crc_begin has begun. `end`: bytes before the checksum, at
 * least one.
 */

/* Encodes a frame whose first byte is 0, and writes its checksum behind it. */
void nn_frame_encode(NN_XDATA uint8_t *frame, uint8_t end);

/* Decodes a frame that holds no zero; 1 if its checksum and COBS are right, 0 if not. */
uint8_t nn_frame_decode(NN_XDATA uint8_t *frame, uint8_t end);

#endif
