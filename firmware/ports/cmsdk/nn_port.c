/*
 * The UART and the watchdog of Arm's MPS2 and MPS3 boards (CMSDK APB UART, CMSDK APB watchdog). The
 * board record says where they are: NN_UART_BASE, NN_UART_IRQ, NN_WATCHDOG_BASE, NN_WATCHDOG_HZ.
 */
#include "nn_port.h"

#include "nn_config.h"
#include "nn_cortex_m.h"
#include "nn_messages.h"

#define DATA NN_REGISTER(NN_UART_BASE + 0x00UL)
#define STATE NN_REGISTER(NN_UART_BASE + 0x04UL)
#define CTRL NN_REGISTER(NN_UART_BASE + 0x08UL)
#define INTCLEAR NN_REGISTER(NN_UART_BASE + 0x0CUL)
#define BAUDDIV NN_REGISTER(NN_UART_BASE + 0x10UL)

#define WATCHDOG_LOAD NN_REGISTER(NN_WATCHDOG_BASE + 0x00UL)
#define WATCHDOG_CONTROL NN_REGISTER(NN_WATCHDOG_BASE + 0x08UL)
#define WATCHDOG_INTCLR NN_REGISTER(NN_WATCHDOG_BASE + 0x0CUL)

#define STATE_TX_FULL (1UL << 0)
#define STATE_RX_FULL (1UL << 1)
#define CTRL_ON 0x0BUL /* transmitter, receiver, interrupt when a byte has come */
#define INT_RX 2UL
#define WATCHDOG_ON 1UL /* counts, with an NMI at 0, which resets the chip */
#define WATCHDOG_TICKS (NN_WATCHDOG_HZ / 1000U * NN_WATCHDOG_MS)

void nn_port_init(void) {
    BAUDDIV = (NN_CLOCK_HZ + (NN_BAUD / 2U)) / NN_BAUD;
    CTRL = CTRL_ON;
    nn_cortex_m_expect(NN_UART_IRQ);
    WATCHDOG_LOAD = WATCHDOG_TICKS;
    WATCHDOG_CONTROL = WATCHDOG_ON;
    (void)DATA; /* QEMU looks at its input when DATA is read: once now, for what came before */
}

/*
 * Nothing comes of the watchdog while the host is waited for; then it begins anew. QEMU's counts on
 * meanwhile, remembers having been at 0, and stops at the second time.
 */
void nn_port_listen(uint8_t on) {
    WATCHDOG_CONTROL = 0U;
    if (on == 0U) {
        WATCHDOG_INTCLR = 1U;
        WATCHDOG_LOAD = WATCHDOG_TICKS;
        WATCHDOG_CONTROL = WATCHDOG_ON;
    }
}

uint8_t nn_chip_cause(void) {
    return NN_CAUSE_POWER; /* all else leaves a note, the watchdog by its NMI */
}

void nn_cortex_m_alive(void) {}

void nn_cortex_m_take(void) {
    INTCLEAR = INT_RX; /* before DATA is read: reading may bring the next byte */
    if ((STATE & STATE_RX_FULL) != 0U) {
        nn_cortex_m_store((uint8_t)DATA);
    }
}

void nn_port_write(uint8_t byte) {
    while ((STATE & STATE_TX_FULL) != 0U) {
    }
    DATA = byte;
}

void nn_port_reset(void) {
    /* The buffer may be empty before the last byte has left: wait for ten bits more. */
    volatile uint32_t left = NN_CLOCK_HZ / NN_BAUD * 10UL;
    while ((STATE & STATE_TX_FULL) != 0U) {
    }
    while (left != 0U) {
        left = left - 1U;
    }
    nn_cortex_m_reset();
}
