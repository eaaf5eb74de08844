/*
 * The USART that the STM32F1 and the STM32F4 share. The chip's folder says which of them, and
 * wakes it. No PLL is used: the clock is the oscillator that runs from reset.
 */
#include "nn_port.h"

#include "nn_chip.h"
#include "nn_config.h"
#include "nn_cortex_m.h"
#include "nn_messages.h"

#define USART_SR NN_REGISTER(NN_USART + 0x00UL)
#define USART_DR NN_REGISTER(NN_USART + 0x04UL)
#define USART_BRR NN_REGISTER(NN_USART + 0x08UL)
#define USART_CR1 NN_REGISTER(NN_USART + 0x0CUL)

#define SR_RXNE (1UL << 5)
#define SR_TC (1UL << 6)
#define SR_TXE (1UL << 7)
#define CR1_ON 0x0000202CUL /* UE, RXNEIE, TE, RE */

#define IWDG_KR NN_REGISTER(0x40003000UL)
#define IWDG_PR NN_REGISTER(0x40003004UL)
#define IWDG_RLR NN_REGISTER(0x40003008UL)
#define IWDG_SR NN_REGISTER(0x4000300CUL)
#define KR_START 0xCCCCUL
#define KR_UNLOCK 0x5555UL
#define KR_RELOAD 0xAAAAUL /* a sign of life */
#define PR_DIVIDER 6UL     /* by 256, the most */
#define DIVIDER 256UL
#define ENOUGH_WAITING 100000UL /* for the new divider, five ticks of the slow oscillator */

#define CSR_FORGET (1UL << 24) /* RMVF: clears those that follow */
#define CSR_PIN (1UL << 26)
#define CSR_POWER (1UL << 27)
#define CSR_WATCHDOG (1UL << 29)

#define DBGMCU_CR NN_REGISTER(0xE0042004UL)
#define CR_DBG_SLEEP 1UL /* a debugger can reach the chip while it sleeps */

/*
 * The watchdog cannot be stopped. Its oscillator is a rough one: NN_WATCHDOG_MS is what passes if
 * it is as fast as it may be.
 */
static void start_watchdog(void) {
    uint32_t waited;
    IWDG_KR = KR_START;
    IWDG_KR = KR_UNLOCK;
    IWDG_PR = PR_DIVIDER;
    IWDG_RLR = ((NN_LSI_HZ_MOST / DIVIDER) * NN_WATCHDOG_MS) / 1000U;
    for (waited = 0U; (waited < ENOUGH_WAITING) && (IWDG_SR != 0U); waited++) {
    }
    IWDG_KR = KR_RELOAD;
}

void nn_port_init(void) {
    nn_chip_init();
    start_watchdog();
    NN_DEBUG_FREEZE |= NN_DEBUG_FREEZE_IWDG;
    USART_BRR = (NN_CLOCK_HZ + (NN_BAUD / 2U)) / NN_BAUD;
    USART_CR1 = CR1_ON;
    nn_cortex_m_expect(NN_USART_IRQ);
    DBGMCU_CR |= CR_DBG_SLEEP;
}

void nn_port_listen(uint8_t on) {
    nn_cortex_m_tick(on); /* nobody knows how long the host lets it sleep */
    IWDG_KR = KR_RELOAD;
}

uint8_t nn_chip_cause(void) {
    const uint32_t flags = NN_RCC_CSR;
    NN_RCC_CSR = flags | CSR_FORGET;
    if ((flags & CSR_WATCHDOG) != 0U) {
        return NN_CAUSE_WATCHDOG;
    }
    if ((flags & CSR_POWER) != 0U) {
        return NN_CAUSE_POWER;
    }
    return ((flags & CSR_PIN) != 0U) ? NN_CAUSE_PIN : NN_CAUSE_UNKNOWN;
}

void nn_cortex_m_alive(void) { IWDG_KR = KR_RELOAD; }

void nn_cortex_m_take(void) {
    const uint32_t status = USART_SR;
    const uint8_t byte = (uint8_t)USART_DR; /* in this order they clear an overrun as well */
    if ((status & SR_RXNE) != 0U) {
        nn_cortex_m_store(byte);
    }
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
