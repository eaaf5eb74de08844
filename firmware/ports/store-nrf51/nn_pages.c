/*
 * The store of a Nordic nRF51: pages of its flash, by the NVMC (nRF51 Series Reference Manual,
 * chapter 6). The core stands still while the flash is busy.
 */
#include "nn_pages.h"
#include "nn_cortex_m.h"

#define NVMC(offset) NN_REGISTER(0x4001E000UL + (offset))
#define READY NVMC(0x400UL)
#define CONFIG NVMC(0x504UL)
#define ERASEPAGE NVMC(0x508UL)

#define CONFIG_READ 0U
#define CONFIG_WRITE 1U
#define CONFIG_ERASE 2U

static void change(uint32_t mode) {
    while (READY == 0U) {
    }
    CONFIG = mode;
    while (READY == 0U) {
    }
}

void nn_pages_erase(nn_place_t at) {
    change(CONFIG_ERASE);
    ERASEPAGE = NN_STORE_ORIGIN + at;
    change(CONFIG_READ);
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    change(CONFIG_WRITE);
    NN_REGISTER(NN_STORE_ORIGIN + at) = nn_cortex_m_word(word);
    change(CONFIG_READ);
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    nn_cortex_m_bytes(NN_REGISTER(NN_STORE_ORIGIN + at), word);
}
