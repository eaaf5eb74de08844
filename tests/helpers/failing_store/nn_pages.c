/*
 * A process's store, in the file "store" of its folder, whose power fails at the operation that the
 * environment names: half of it is carried out.
 */
#include "nn_pages.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(nn_place_t at, const uint8_t *bytes, size_t size) {
    static long left = -1;
    const char *chosen = getenv("POWER_FAILS_AT");
    const int file = open("store", O_RDWR | O_CREAT, 0644);
    if (left < 0) {
        left = (chosen == NULL) ? 0 : atol(chosen);
    }
    if (left == 1) {
        size /= 2U;
    }
    if (pwrite(file, bytes, size, (off_t)at) != (ssize_t)size) {
        abort();
    }
    (void)close(file);
    if ((left != 0) && (--left == 0)) {
        _exit(9);
    }
}

void nn_pages_erase(nn_place_t at) {
    uint8_t page[NN_STORE_PAGE];
    memset(page, 0xFF, sizeof(page));
    put(at, page, sizeof(page));
}

void nn_pages_write(nn_place_t at, const uint8_t *word) { put(at, word, NN_PAGES_WORD); }

void nn_pages_read(nn_place_t at, uint8_t *word) {
    const int file = open("store", O_RDWR | O_CREAT, 0644);
    memset(word, 0xFF, NN_PAGES_WORD);
    (void)!pread(file, word, NN_PAGES_WORD, (off_t)at);
    (void)close(file);
}
