/*
 * CRC-16/CCITT-FALSE: polynomial 0x1021, most significant bit first, start value 0xFFFF, no final
 * inversion. That of the nine bytes "123456789" is 0x29B1.
 */
#ifndef NN_CRC_H
#define NN_CRC_H

#include "nn_types.h"

#define NN_CRC_START 0xFFFFU

/* Begins a new checksum. */
void nn_crc_begin(uint16_t start);

/* Takes `size` bytes from any memory space into the checksum. */
void nn_crc_add(const uint8_t *at, uint16_t size);

/* The checksum of everything since nn_crc_begin. */
uint16_t nn_crc_value(void);

#endif
