/*
 * An STM32F1: USART1 on PA9 (TX) and PA10 (RX).
 */
#include "nn_chip.h"

#include "nn_cortex_m.h"

#define RCC_APB2ENR NN_REGISTER(0x40021018UL)
#define GPIOA_CRH NN_REGISTER(0x40010804UL)

#define APB2ENR_GPIOA (1UL << 2)
#define APB2ENR_USART1 (1UL << 14)
#define CRH_PINS_9_10 0x00000FF0UL
#define CRH_OUT_IN 0x000004B0UL /* PA9: alternate function, 50 MHz; PA10: floating input */

void nn_chip_init(void) {
    RCC_APB2ENR |= APB2ENR_GPIOA | APB2ENR_USART1;
    GPIOA_CRH = (GPIOA_CRH & ~CRH_PINS_9_10) | CRH_OUT_IN;
}
