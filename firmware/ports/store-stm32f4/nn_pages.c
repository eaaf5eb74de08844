/*
 * The store of an STM32F4: two sectors of 128 KB of its flash, written by words, which takes 2.7 V
 * at least (ST's RM0090, chapter 3). The caches of the flash are off from reset.
 */
#include "nn_pages.h"
#include "nn_cortex_m.h"

#define FLASH(offset) NN_REGISTER(0x40023C00UL + (offset))
#define KEYR FLASH(0x04UL)
#define SR FLASH(0x0CUL)
#define CR FLASH(0x10UL)

#define SR_BSY (1UL << 16)
#define CR_PG (1UL << 0)
#define CR_SER (1UL << 1)
#define CR_SNB_AT 3U
#define CR_BY_WORDS (2UL << 8)
#define CR_STRT (1UL << 16)
#define CR_LOCK (1UL << 31)

/* Sector 5 and those after it have 128 KB each, from this address on. */
#define SECTOR_5 0x08020000UL
#define SECTOR_BYTES 0x20000UL

#include "nn_flash.h"

void nn_pages_erase(nn_place_t at) {
    const uint32_t sector = 5U + (NN_STORE_ORIGIN + at - SECTOR_5) / SECTOR_BYTES;
    unlock();
    CR = CR_BY_WORDS | CR_SER | (sector << CR_SNB_AT);
    CR |= CR_STRT;
    await();
    CR = CR_LOCK;
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    unlock();
    CR = CR_BY_WORDS | CR_PG;
    NN_REGISTER(NN_STORE_ORIGIN + at) = nn_cortex_m_word(word);
    await();
    CR = CR_LOCK;
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    nn_cortex_m_bytes(NN_REGISTER(NN_STORE_ORIGIN + at), word);
}
