/*
 * Integer types, memory spaces and the assumptions that all of nnhost's C rests on.
 */
#ifndef NN_TYPES_H
#define NN_TYPES_H

#include <stdint.h>

/* Where a variable lives. Only the 8051 has more than one place. */
#if defined(__SDCC_mcs51)
#define NN_DATA __data   /* 128 bytes, addressed directly: the fastest */
#define NN_IDATA __idata /* 256 bytes, addressed by R0 and R1 */
#define NN_XDATA __xdata /* 64 KB, addressed by DPTR */
#define NN_CODE __code   /* program memory: constants */
#define NN_AT(address) __at(address)
/* A function whose local variables live on the stack rather than at addresses of their own. */
#define NN_STACKED __reentrant
#define NN_ALIGNED
#else
#define NN_DATA
#define NN_IDATA
#define NN_XDATA
#define NN_CODE
#define NN_STACKED
/* An array that kernels read by whole words. */
#define NN_ALIGNED __attribute__((aligned(8)))
#endif

/*
 * `>>` of a negative number must round down, as the simulator's does. A compiler that fills with
 * zeros cannot compile nnhost: this array then has a negative size.
 */
typedef char nn_right_shift_must_be_arithmetic[(((int16_t)-3 >> 1) == -2) ? 1 : -1];

/*
 * A run of bytes in memory. Lists of segments (nn_state_map and its sisters in nn_net.h) let the
 * link see scattered buffers as one block. `at` points into any memory space.
 */
typedef struct {
    uint8_t *at;
    uint16_t size;
} nn_segment_t;

#endif
