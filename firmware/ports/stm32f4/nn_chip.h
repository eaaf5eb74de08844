#ifndef NN_CHIP_H
#define NN_CHIP_H

#define NN_USART 0x40011400UL /* USART6 */
#define NN_USART_IRQ 71U

#define NN_RCC_CSR NN_REGISTER(0x40023874UL)
#define NN_LSI_HZ_MOST 47000UL /* 17 to 47 kHz */

/* DBGMCU_APB1_FZ: what stands still while a debugger halts the core. */
#define NN_DEBUG_FREEZE NN_REGISTER(0xE0042008UL)
#define NN_DEBUG_FREEZE_IWDG (1UL << 12)

/* Wakes the USART and gives it its pins. */
void nn_chip_init(void);

#endif
