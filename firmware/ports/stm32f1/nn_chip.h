#ifndef NN_CHIP_H
#define NN_CHIP_H

#define NN_USART 0x40013800UL /* USART1 */
#define NN_USART_IRQ 37U

/* Wakes the USART and gives it its pins. */
void nn_chip_init(void);

#endif
