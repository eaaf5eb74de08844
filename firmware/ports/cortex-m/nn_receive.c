/*
 * What the UART receives, whatever the chip does meanwhile. There is room for a frame: the one that
 * the host may send ahead while the board computes, or answers the one before.
 */
#include "nn_config.h"
#include "nn_cortex_m.h"
#include "nn_port.h"

#define NVIC_ISER(interrupt) NN_REGISTER(0xE000E100UL + (((interrupt) / 32U) * 4U))
#define NVIC_ICER(interrupt) NN_REGISTER(0xE000E180UL + (((interrupt) / 32U) * 4U))

#define ROOM (NN_PAYLOAD + 16U) /* a frame with three delimiters; one place stays empty */

static volatile uint8_t stored[ROOM];
static volatile uint32_t next_in;  /* where the interrupt puts a byte */
static volatile uint32_t next_out; /* where nn_port_read takes one: the same if there is none */
static uint32_t uart;              /* its interrupt */

static uint32_t after(uint32_t place) { return (place == (ROOM - 1U)) ? 0U : (place + 1U); }

void nn_cortex_m_expect(uint32_t interrupt) {
    uart = interrupt;
    NVIC_ISER(uart) = 1UL << (uart % 32U);
}

/* Without room the byte stays in the UART, which loses the next, unless it is QEMU's. */
void nn_cortex_m_serve(void) {
    if (after(next_in) == next_out) {
        NVIC_ICER(uart) = 1UL << (uart % 32U);
    } else {
        nn_cortex_m_take();
    }
}

void nn_cortex_m_store(uint8_t byte) {
    const uint32_t place = next_in;
    stored[place] = byte;
    next_in = after(place);
}

uint8_t nn_port_ready(void) { return (next_in != next_out) ? 1U : 0U; }

uint8_t nn_port_read(void) {
    const uint32_t place = next_out;
    uint8_t byte;
    while (next_in == place) {
        nn_cortex_m_alive();
        nn_cortex_m_mask(); /* else the interrupt could come between the look and the sleep */
        if (next_in == place) {
            __asm volatile("dsb\n\twfi" ::: "memory"); /* it ends the sleep, masked or not */
        }
        nn_cortex_m_unmask();
    }
    byte = stored[place];
    next_out = after(place);
    NVIC_ISER(uart) = 1UL << (uart % 32U); /* there is room */
    return byte;
}
