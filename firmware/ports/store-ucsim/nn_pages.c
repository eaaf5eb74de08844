/*
 * The store of an 8051 in uCsim: memory beyond the chip's external RAM, filled by nnhost when it
 * powers the board on. Each change is also told to uCsim's interface, which writes it to a file at
 * once: the word's place, or the page's with its highest bit set, and the word. nnhost puts these
 * changes into the store before it powers the board on again.
 */
#include "nn_pages.h"

#define WRITE_TO_FILE 0x77U /* the interface's command for the byte that follows */
#define ERASED 0x80U

/* Where nnhost puts the interface, beyond the store. */
#define INTERFACE (*(volatile NN_XDATA uint8_t *)0xFFF0U)

static void tell(uint8_t byte) {
    INTERFACE = WRITE_TO_FILE;
    INTERFACE = byte;
}

static void note(nn_place_t at, uint8_t erased, const NN_XDATA uint8_t *word) {
    uint8_t i;
    tell((uint8_t)(at & 0xFFU));
    tell((uint8_t)((uint8_t)(at >> 8) | erased));
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        tell(word[i]);
    }
}

void nn_pages_erase(nn_place_t at) {
    NN_XDATA uint8_t *page = (NN_XDATA uint8_t *)(NN_STORE_ORIGIN + at);
    uint16_t i;
    for (i = 0U; i < NN_STORE_PAGE; i++) {
        page[i] = 0xFFU;
    }
    note(at, ERASED, page);
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    NN_XDATA uint8_t *to = (NN_XDATA uint8_t *)(NN_STORE_ORIGIN + at);
    uint8_t i;
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        to[i] = word[i];
    }
    note(at, 0U, word);
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    const NN_XDATA uint8_t *from = (const NN_XDATA uint8_t *)(NN_STORE_ORIGIN + at);
    uint8_t i;
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        word[i] = from[i];
    }
}
