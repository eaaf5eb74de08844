#ifndef NN_CHIP_H
#define NN_CHIP_H

#define NN_USART 0x40013800UL /* USART1 */
#define NN_USART_IRQ 37U

#define NN_RCC_CSR NN_REGISTER(0x40021024UL)
#define NN_LSI_HZ_MOST 60000UL /* 30 to 60 kHz */

/* DBGMCU_CR: what stands still while a debugger halts the core. */
#define NN_DEBUG_FREEZE NN_REGISTER(0xE0042004UL)
#define NN_DEBUG_FREEZE_IWDG (1UL << 8)

/* Wakes the USART and gives it its pins. */
void nn_chip_init(void);

#endif
