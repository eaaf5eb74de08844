/*
 * What differs between the clones of the 8051: each implements this in a folder of its own.
 */
#ifndef NN_CHIP_H
#define NN_CHIP_H

/* Clocks the UART for NN_BAUD. */
void nn_chip_init(void);

/* Starts the program anew. */
void nn_chip_reset(void);

#endif
