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

/* Has the UART's interrupt served, and no other. */
void nn_cortex_m_expect(uint32_t interrupt);

/* Serves all interrupts. */
void nn_cortex_m_serve(void);

/* What each port does then: gives the byte that has arrived, if any, to nn_cortex_m_store. */
void nn_cortex_m_take(void);

/* Keeps a byte until nn_port_read. */
void nn_cortex_m_store(uint8_t byte);

/* From the first to the second no interrupt is served: nothing disturbs what is counted. */
static inline void nn_cortex_m_mask(void) { __asm volatile("cpsid i" ::: "memory"); }
static inline void nn_cortex_m_unmask(void) { __asm volatile("cpsie i" ::: "memory"); }

/* Each port's own: a sign of life, if its watchdog does not rest while the chip sleeps. */
void nn_cortex_m_alive(void);

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
