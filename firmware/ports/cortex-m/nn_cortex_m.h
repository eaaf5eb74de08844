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

/* Whether the SysTick ends a sleep, too, every 2^24 cycles of the core. Not for the stopwatch. */
void nn_cortex_m_tick(uint8_t on);

/* Resets the chip, which then knows that it was asked to. */
void nn_cortex_m_reset(void);

/*
 * Each chip's own: why its registers say that it was reset (NN_CAUSE_ of nn_messages.h), and has
 * them forget it. Called once, before main.
 */
uint8_t nn_chip_cause(void);

#endif
