/*
 * CRC-16/CCITT-FALSE: polynomial 0x1021, most significant bit first, start value 0xFFFF, no final
 * inversion. nn_crc of the nine bytes "123456789" is 0x29B1.
 *
 * The running value lives in two variables rather than in an argument: on the 8051 that keeps a
 * byte's work to single-byte instructions.
 */
#ifndef NN_CRC_H
#define NN_CRC_H

#include "nn_types.h"

#define NN_CRC_START 0xFFFFU

/* Begins a new checksum. */
void nn_crc_begin(uint16_t start);

/* Takes one byte into the checksum. */
void nn_crc_add(uint8_t byte);

/* Takes `size` bytes from any memory space into the checksum. */
void nn_crc_add_block(const uint8_t *at, uint16_t size);

/* The checksum of everything since nn_crc_begin. */
uint16_t nn_crc_value(void);

#endif
