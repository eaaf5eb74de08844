/*
 * A process's store: the file "store" in its folder, which is that of the board.
 */
#include "nn_pages.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int store(void) {
    static int file = -1;
    if (file < 0) {
        file = open("store", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    }
    return file;
}

static void put(nn_place_t at, const uint8_t *bytes, size_t size) {
    if (pwrite(store(), bytes, size, (off_t)at) != (ssize_t)size) {
        exit(1);
    }
}

void nn_pages_erase(nn_place_t at) {
    uint8_t page[NN_STORE_PAGE];
    memset(page, 0xFF, sizeof(page));
    put(at, page, sizeof(page));
}

void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word) { put(at, word, NN_PAGES_WORD); }

void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word) {
    if (pread(store(), word, NN_PAGES_WORD, (off_t)at) != (ssize_t)NN_PAGES_WORD) {
        memset(word, 0xFF, NN_PAGES_WORD);
    }
}
