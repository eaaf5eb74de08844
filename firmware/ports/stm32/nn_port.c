/*
 * The USART that the STM32F1 and the STM32F4 share. The chip's folder says which of them, and
 * wakes it. No PLL is used: the clock is the oscillator that runs from reset.
 */
#include "nn_port.h"

#include "nn_chip.h"
#include "nn_config.h"
#include "nn_cortex_m.h"

#define USART_SR NN_REGISTER(NN_USART + 0x00UL)
#define USART_DR NN_REGISTER(NN_USART + 0x04UL)
#define USART_BRR NN_REGISTER(NN_USART + 0x08UL)
#define USART_CR1 NN_REGISTER(NN_USART + 0x0CUL)

#define SR_RXNE (1UL << 5)
#define SR_TC (1UL << 6)
#define SR_TXE (1UL << 7)
#define CR1_ON 0x0000202CUL /* UE, RXNEIE, TE, RE */

#define DBGMCU_CR NN_REGISTER(0xE0042004UL)
#define CR_DBG_SLEEP 1UL /* a debugger can reach the chip while it sleeps */

void nn_port_init(void) {
    nn_chip_init();
    USART_BRR = (NN_CLOCK_HZ + (NN_BAUD / 2U)) / NN_BAUD;
    USART_CR1 = CR1_ON;
    nn_cortex_m_expect(NN_USART_IRQ);
    DBGMCU_CR |= CR_DBG_SLEEP;
}

void nn_port_listen(uint8_t on) {
    (void)on; /* the host waits for the reply, and an overrun is a frame lost, no more */
}

uint8_t nn_port_ready(void) { return ((USART_SR & SR_RXNE) != 0U) ? 1U : 0U; }

uint8_t nn_port_read(void) {
    while ((USART_SR & SR_RXNE) == 0U) {
        nn_cortex_m_sleep(NN_USART_IRQ);
    }
    return (uint8_t)USART_DR;
}

void nn_port_write(uint8_t byte) {
    while ((USART_SR & SR_TXE) == 0U) {
    }
    USART_DR = byte;
}

void nn_port_reset(void) {
    while ((USART_SR & SR_TC) == 0U) {
    }
    nn_cortex_m_reset();
}
