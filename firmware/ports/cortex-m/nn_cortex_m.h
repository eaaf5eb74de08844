/*
 * What all Cortex-M chips share, for the ports.
 */
#ifndef NN_CORTEX_M_H
#define NN_CORTEX_M_H

#include <stdint.h>

/* A 32-bit register by its address. */
#define NN_REGISTER(address) (*(volatile uint32_t *)(address))

/* Lets an interrupt end nn_cortex_m_sleep. It is never served: all interrupts are masked. */
void nn_cortex_m_expect(uint32_t interrupt);

/* Sleeps until the interrupt is pending, unless it is already. */
void nn_cortex_m_sleep(uint32_t interrupt);

/* Resets the chip. */
void nn_cortex_m_reset(void);

#endif
