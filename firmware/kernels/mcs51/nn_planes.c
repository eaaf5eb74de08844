#include "nn_planes.h"

#include "nn_config.h"
#include "nn_crc.h"
#include "nn_kernel.h"

#ifdef NN_PLANES

/* The cursor: the byte at low of page; `left` columns of the row and `here` of the page, both with
 * this one, are to come. */
static const NN_CODE nn_span_t *NN_XDATA span;
static NN_XDATA uint8_t row;
static NN_XDATA uint8_t page;
static NN_XDATA uint8_t low;
static NN_XDATA uint8_t left;
static NN_XDATA uint8_t here;

#define AT ((uint8_t NN_XDATA *)(((uint16_t)page << 8) | low))
/* The upper byte is on an odd page, with its sign bit turned round. */
#define UPPER ((uint8_t)(page & 1U))
#define SIGN (UPPER ? 0x80U : 0U)

/* Goes to a column of the row. */
static void find(uint8_t column) {
    page = span->page;
    low = (uint8_t)(span->low + row);
    here = span->first;
    left = (uint8_t)(span->columns - column);
    while (column >= here) {
        column = (uint8_t)(column - here);
        page = (uint8_t)(page + NN_PLANES);
        low = row;
        here = span->each;
    }
    low = (uint8_t)(low + (uint8_t)(column * span->stride));
    here = (uint8_t)(here - column);
}

void nn_planes_put(uint8_t number, uint8_t at_row, uint8_t column, int16_t value) NN_STACKED {
    span = &nn_spans[number];
    row = at_row;
    find(column);
    *AT = (uint8_t)value;
    page++;
    *AT = (uint8_t)((uint8_t)((uint16_t)value >> 8) ^ 0x80U);
}

void nn_planes_open(uint16_t offset) {
    uint16_t number = offset >> 1;
    uint16_t size;
    span = nn_spans;
    for (;;) {
        size = (uint16_t)(span->rows * span->columns);
        if (number < size) {
            break;
        }
        number = (uint16_t)(number - size);
        span++;
    }
    row = 0U;
    while (number >= span->columns) {
        number = (uint16_t)(number - span->columns);
        row++;
    }
    find((uint8_t)number);
    page = (uint8_t)(page | ((uint8_t)offset & 1U));
}

/* Moves on by some bytes of this row and page. */
static void pass_over(uint8_t bytes) {
    const uint8_t numbers = (uint8_t)((uint8_t)(bytes + UPPER) >> 1);
    if ((bytes & 1U) != 0U) {
        page = (uint8_t)(page ^ 1U);
    }
    left = (uint8_t)(left - numbers);
    here = (uint8_t)(here - numbers);
    low = (uint8_t)(low + (uint8_t)(numbers * span->stride));
    if (here == 0U) {
        page = (uint8_t)(page + NN_PLANES);
        low = row;
        here = span->each;
    }
}

/* Enters the next row when one is used up, and only when more is wanted. */
static void proceed(void) {
    if (left == 0U) {
        row++;
        if (row == span->rows) {
            row = 0U;
            span++;
        }
        find(0U);
    }
}

uint8_t nn_planes_take(void) {
    uint8_t byte;
    proceed();
    byte = (uint8_t)(*AT ^ SIGN);
    pass_over(1U);
    return byte;
}

void nn_planes_set(uint8_t byte) {
    proceed();
    *AT = (uint8_t)(byte ^ SIGN);
    pass_over(1U);
}

void nn_planes_crc(uint16_t size) {
    while (size != 0U) {
        uint8_t run;
        proceed();
        run = (left < here) ? left : here;
        run = (run > 127U) ? 254U : (uint8_t)(run << 1);
        run = (uint8_t)(run - UPPER);
        if (run > size) {
            run = (uint8_t)size;
        }
        nn_crc_begin(nn_planes_checksum(AT, nn_crc_value(), run, span->stride));
        pass_over(run);
        size = (uint16_t)(size - run);
    }
}

#endif
