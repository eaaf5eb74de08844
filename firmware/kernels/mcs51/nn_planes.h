/*
 * Numbers in planes (host/nnhost/kernels/planes.py says how they lie) in the order of the state,
 * for the link and for what draws them. Passes in assembly know the places themselves.
 */
#ifndef NN_PLANES_H
#define NN_PLANES_H

#include "nn_types.h"

/*
 * Some rows of a buffer. Row r begins at low + r of an external page, its upper byte on the next
 * page. The next column is `stride` bytes on; after `first` columns, and every `each` from there,
 * the next page of the plane goes on at r.
 */
typedef struct {
    uint8_t page;
    uint8_t low;
    uint8_t first;
    uint8_t each;
    uint8_t stride;
    uint8_t rows;
    uint8_t columns;
} nn_span_t;

/* All numbers in planes, in the order of the state. */
extern const NN_CODE nn_span_t nn_spans[];

/* A cursor over the bytes of all numbers: place it, take or set the byte there and move on. */
void nn_planes_open(uint16_t offset);
uint8_t nn_planes_take(void);
void nn_planes_set(uint8_t byte);

/* Sets a number, the cursor being on its lower byte, and moves on to the next. */
void nn_planes_put(int16_t number);

/* The checksum `crc` with the next `size` bytes, of which there is at least one. */
uint16_t nn_planes_crc(uint16_t size, uint16_t crc);

#endif
