/*
 * The store of an STC8: pages of 512 bytes of its EEPROM, which is flash, by the commands of IAP
 * (STC8A data sheet, "EEPROM"). The core stands still while one is carried out.
 */
#include "nn_pages.h"

__sfr __at(0xC2) IAP_DATA;
__sfr __at(0xC3) IAP_ADDRH;
__sfr __at(0xC4) IAP_ADDRL;
__sfr __at(0xC5) IAP_CMD;
__sfr __at(0xC6) IAP_TRIG;
__sfr __at(0xC7) IAP_CONTR;

#define TRIGGER_1 0x5AU
#define TRIGGER_2 0xA5U

/* Enabled, with the waits that the flash takes at this clock. */
#if NN_CLOCK_HZ > 24000000UL
#define IAP_ON 0x80U
#elif NN_CLOCK_HZ > 20000000UL
#define IAP_ON 0x81U
#elif NN_CLOCK_HZ > 12000000UL
#define IAP_ON 0x82U
#else
#define IAP_ON 0x83U
#endif

#define READ 1U
#define PROGRAM 2U
#define ERASE 3U

/* A command at a place, with the byte that it takes; the byte that it leaves. */
static uint8_t command(uint8_t what, nn_place_t at, uint8_t byte) {
    const uint16_t address = (uint16_t)(NN_STORE_ORIGIN + at);
    IAP_CONTR = IAP_ON;
    IAP_CMD = what;
    IAP_ADDRL = (uint8_t)(address & 0xFFU);
    IAP_ADDRH = (uint8_t)(address >> 8);
    IAP_DATA = byte;
    IAP_TRIG = TRIGGER_1;
    IAP_TRIG = TRIGGER_2;
    __asm__("nop");
    byte = IAP_DATA;
    IAP_CONTR = 0U; /* nothing that goes astray can trigger another one */
    IAP_CMD = 0U;
    IAP_TRIG = 0U;
    return byte;
}

void nn_pages_erase(nn_place_t at) { (void)command(ERASE, at, 0U); }

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    uint8_t i;
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        (void)command(PROGRAM, (nn_place_t)(at + i), word[i]);
    }
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    uint8_t i;
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        word[i] = command(READ, (nn_place_t)(at + i), 0U);
    }
}
