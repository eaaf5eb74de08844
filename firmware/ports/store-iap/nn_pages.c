/*
 * The store of an STC: pages of 512 bytes of its EEPROM, which is flash, by the commands of IAP.
 * The core stands still while one is carried out.
 */
#include "nn_pages.h"
#include "nn_iap.h"

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
