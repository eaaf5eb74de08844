/*
 * What all Cortex-M chips share, for the ports.
 */
#ifndef NN_CORTEX_M_H
#define NN_CORTEX_M_H

#include <stdint.h>

/* A 32-bit register by its address. */
#define NN_REGISTER(address) (*(volatile uint32_t *)(address))

/* Four bytes in the order in which the core reads them, and a word's bytes. */
static inline uint32_t nn_cortex_m_word(const uint8_t *bytes) {
    return bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) |
           ((uint32_t)bytes[3] << 24);
}
static inline void nn_cortex_m_bytes(uint32_t word, uint8_t *bytes) {
    uint32_t i;
    for (i = 0U; i < sizeof(word); i++) {
        bytes[i] = (uint8_t)(word >> (8U * i));
    }
}

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
