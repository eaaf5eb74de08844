/*
 * The UART of a Nordic nRF51, on the pins of the micro:bit (version 1) that lead to its USB chip.
 */
#include "nn_port.h"

#include "nn_config.h"
#include "nn_cortex_m.h"
#include "nn_messages.h"

#define CLOCK(offset) NN_REGISTER(0x40000000UL + (offset))
#define UART(offset) NN_REGISTER(0x40002000UL + (offset))
#define TIMER0(offset) NN_REGISTER(0x40008000UL + (offset))
#define WDT(offset) NN_REGISTER(0x40010000UL + (offset))
#define GPIO(offset) NN_REGISTER(0x50000000UL + (offset))

#define UART_IRQ 2U
#define TXD_PIN 24U
#define RXD_PIN 25U
#define DISCONNECTED 0xFFFFFFFFUL

#define HFCLKSTART CLOCK(0x000UL)
#define HFCLKSTARTED CLOCK(0x100UL)
#define RESETREAS CLOCK(0x400UL) /* of POWER, which has the same address */
#define STARTRX UART(0x000UL)
#define STARTTX UART(0x008UL)
#define RXDRDY UART(0x108UL)
#define TXDRDY UART(0x11CUL)
#define INTENSET UART(0x304UL)
#define ENABLE UART(0x500UL)
#define PSELRTS UART(0x508UL)
#define PSELTXD UART(0x50CUL)
#define PSELCTS UART(0x510UL)
#define PSELRXD UART(0x514UL)
#define RXD UART(0x518UL)
#define TXD UART(0x51CUL)
#define BAUDRATE UART(0x524UL)
#define CONFIG UART(0x56CUL)
#define START TIMER0(0x000UL)
#define STOP TIMER0(0x004UL)
#define CLEAR TIMER0(0x00CUL)
#define CAPTURE TIMER0(0x040UL)
#define SHORTS TIMER0(0x200UL)
#define MODE TIMER0(0x504UL)
#define BITMODE TIMER0(0x508UL)
#define PRESCALER TIMER0(0x510UL)
#define CC TIMER0(0x540UL)
#define WDT_START WDT(0x000UL)
#define WDT_CRV WDT(0x504UL)
#define WDT_RREN WDT(0x508UL)
#define WDT_CONFIG WDT(0x50CUL)
#define WDT_RR0 WDT(0x600UL)
#define OUTSET GPIO(0x508UL)
#define DIRSET GPIO(0x518UL)

/* BAUD * 2^32 / 16 MHz; the hardware ignores the lower 12 bits, so round to them. */
#define BAUD_SETTING ((uint32_t)((((uint64_t)NN_BAUD << 32) / 16000000U + 0x800U) & 0xFFFFF000U))
#define WDT_RELOAD 0x6E524635UL /* written to RR0: a sign of life */
#define WDT_HZ 32768UL

#define RESETREAS_PIN (1UL << 0)
#define RESETREAS_DOG (1UL << 1)

#define ENOUGH_WAITING 100000UL /* the crystal starts within 1 ms; QEMU's never says so */

static uint8_t sending; /* a byte is on its way, TXDRDY will tell its end */

static void wait_sent(void) {
    if (sending != 0U) {
        while (TXDRDY == 0U) {
        }
        sending = 0U;
    }
}

void nn_port_init(void) {
    uint32_t waited;
    HFCLKSTARTED = 0U;
    HFCLKSTART = 1U;
    for (waited = 0U; (waited < ENOUGH_WAITING) && (HFCLKSTARTED == 0U); waited++) {
    }
    OUTSET = 1UL << TXD_PIN;
    DIRSET = 1UL << TXD_PIN;
    PSELRTS = DISCONNECTED;
    PSELCTS = DISCONNECTED;
    PSELTXD = TXD_PIN;
    PSELRXD = RXD_PIN;
    BAUDRATE = BAUD_SETTING;
    CONFIG = 0U; /* no parity, no flow control */
    ENABLE = 4U;
    TXDRDY = 0U;
    RXDRDY = 0U;
    INTENSET = 1UL << 2; /* RXDRDY */
    nn_cortex_m_expect(UART_IRQ);
    STARTTX = 1U;
    STARTRX = 1U;
    WDT_CRV = (NN_WATCHDOG_MS * WDT_HZ) / 1000U;
    WDT_RREN = 1U;
    WDT_CONFIG = 0U; /* stands still while the core sleeps, or is halted by a debugger */
    WDT_START = 1U;

    /*
     * QEMU looks at its input only when something wakes it, and STARTRX does not: a timer that
     * fires once, 100 us from here, does. On a chip it is of no consequence.
     */
    MODE = 0U;      /* timer */
    BITMODE = 3U;   /* 32 */
    PRESCALER = 4U; /* 1 MHz */
    CC = 100U;
    SHORTS = 1UL << 8; /* stop at CC */
    CLEAR = 1U;
    START = 1U;
}

void nn_port_listen(uint8_t on) {
    (void)on;
    WDT_RR0 = WDT_RELOAD;
}

uint8_t nn_chip_cause(void) {
    const uint32_t reason = RESETREAS;
    RESETREAS = reason; /* what is written is cleared */
    if ((reason & RESETREAS_DOG) != 0U) {
        return NN_CAUSE_WATCHDOG;
    }
    if ((reason & RESETREAS_PIN) != 0U) {
        return NN_CAUSE_PIN;
    }
    return (reason == 0U) ? NN_CAUSE_POWER : NN_CAUSE_UNKNOWN;
}

void nn_cortex_m_alive(void) {}

void nn_cortex_m_take(void) {
    if (RXDRDY != 0U) {
        RXDRDY = 0U; /* before RXD is read: reading may raise it again for the next byte */
        nn_cortex_m_store((uint8_t)RXD);
    }
}

void nn_port_write(uint8_t byte) {
    wait_sent();
    TXDRDY = 0U;
    TXD = byte;
    sending = 1U;
}

void nn_port_clock_start(void) {
    nn_cortex_m_mask();
    STOP = 1U;
    SHORTS = 0U;
    PRESCALER = 0U; /* 16 MHz, the core's clock */
    CLEAR = 1U;
    START = 1U;
}

uint32_t nn_port_clock_stop(void) {
    CAPTURE = 1U;
    STOP = 1U;
    nn_cortex_m_unmask();
    return CC;
}

void nn_port_reset(void) {
    wait_sent();
    nn_cortex_m_reset();
}
