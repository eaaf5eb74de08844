#ifndef NN_CHIP_H
#define NN_CHIP_H

#define NN_USART 0x40011400UL /* USART6 */
#define NN_USART_IRQ 71U

/* Wakes the USART and gives it its pins. */
void nn_chip_init(void);

#endif
