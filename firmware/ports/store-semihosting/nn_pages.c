/*
 * The store of a Cortex-M in QEMU: the file "store" in QEMU's folder, by Arm's semihosting
 * ("Semihosting for AArch32 and AArch64", chapter 5). QEMU does no more than one system call each.
 */
#include "nn_pages.h"

#define SYS_OPEN 0x01UL
#define SYS_WRITE 0x05UL
#define SYS_READ 0x06UL
#define SYS_SEEK 0x0AUL
#define MODE_READ_AND_WRITE 3UL /* "r+b" */
#define MODE_NEW 7UL            /* "w+b" */
#define FAILED 0xFFFFFFFFUL
#define PIECE 64U /* bytes of a page that are erased at once */

/* The file's handle, never 0; that of no file until the first call after a start. */
static uint32_t handle;

static uint32_t call(uint32_t operation, const volatile uint32_t *arguments) {
    register uint32_t r0 __asm("r0") = operation;
    register const volatile uint32_t *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t opened(uint32_t mode) {
    static const char name[] = "store";
    const volatile uint32_t arguments[] = {(uint32_t)name, mode, sizeof(name) - 1U};
    return call(SYS_OPEN, arguments);
}

static void seek(nn_place_t at) {
    volatile uint32_t arguments[2];
    if (handle == 0U) {
        handle = opened(MODE_READ_AND_WRITE);
        if (handle == FAILED) {
            handle = opened(MODE_NEW);
        }
    }
    arguments[0] = handle;
    arguments[1] = at;
    (void)call(SYS_SEEK, arguments);
}

static void put(const uint8_t *bytes, uint32_t size) {
    const volatile uint32_t arguments[] = {handle, (uint32_t)bytes, size};
    (void)call(SYS_WRITE, arguments);
}

void nn_pages_erase(nn_place_t at) {
    uint8_t erased[PIECE];
    uint32_t i;
    for (i = 0U; i < PIECE; i++) {
        erased[i] = 0xFFU;
    }
    seek(at);
    for (i = 0U; i < NN_STORE_PAGE; i += PIECE) {
        put(erased, PIECE);
    }
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) {
    seek(at);
    put(word, NN_PAGES_WORD);
}

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    volatile uint32_t arguments[3];
    uint32_t i;
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        word[i] = 0xFFU; /* what lies behind the file's end */
    }
    seek(at);
    arguments[0] = handle;
    arguments[1] = (uint32_t)word;
    arguments[2] = NN_PAGES_WORD;
    (void)call(SYS_READ, arguments);
}
