/*
 * The store of an STM32F1: pages of its flash, written by half-words (ST's PM0075, chapter 2; of
 * the value line PM0063). The internal oscillator that flash needs is the clock already.
 */
#include "nn_pages.h"
#include "nn_cortex_m.h"

#define FLASH(offset) NN_REGISTER(0x40022000UL + (offset))
#define KEYR FLASH(0x04UL)
#define SR FLASH(0x0CUL)
#define CR FLASH(0x10UL)
#define AR FLASH(0x14UL)

#define SR_BSY (1UL << 0)
#define CR_PG (1UL << 0)
#define CR_PER (1UL << 1)
#define CR_STRT (1UL << 6)
#define CR_LOCK (1UL << 7)

#include "nn_flash.h"

void nn_pages_erase(nn_place_t at) {
    unlock();
    CR = CR_PER;
    AR = NN_STORE_ORIGIN + at;
    CR = CR_PER | CR_STRT;
    await();
    CR = CR_LOCK;
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    volatile uint16_t *to = (volatile uint16_t *)(NN_STORE_ORIGIN + at);
    uint32_t i;
    unlock();
    CR = CR_PG;
    for (i = 0U; i < NN_PAGES_WORD; i += 2U) {
        *to = (uint16_t)(word[i] | ((uint32_t)word[i + 1U] << 8));
        await();
        to++;
    }
    CR = CR_LOCK;
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    nn_cortex_m_bytes(NN_REGISTER(NN_STORE_ORIGIN + at), word);
}
