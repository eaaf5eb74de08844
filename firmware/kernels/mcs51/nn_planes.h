/*
 * Numbers in planes (host/nnhost/kernels/planes.py says how they lie), for code that wants single
 * ones, or the bytes of all in the order of the state. Passes in assembly know the places.
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

/* Sets a number of a span. */
void nn_planes_put(uint8_t span, uint8_t row, uint8_t column, int16_t value) NN_STACKED;

/* A cursor over the bytes of all numbers: place it, take or set the byte there and move on. */
void nn_planes_open(uint16_t offset);
uint8_t nn_planes_take(void);
void nn_planes_set(uint8_t byte);

/* Adds the next `size` bytes to the checksum. */
void nn_planes_crc(uint16_t size);

#endif
