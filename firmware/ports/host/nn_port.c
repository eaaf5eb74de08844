/*
 * A process as a board: bytes come from standard input and go to standard output. It ends when the
 * host closes either.
 */
#include "nn_port.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static uint8_t arrived[512];
static size_t arrived_size;
static size_t arrived_at;
static uint8_t waiting[512]; /* to leave in one piece: a system call costs more than a frame */
static size_t waiting_size;

static void flush(void) {
    size_t done = 0U;
    while (done < waiting_size) {
        const ssize_t count = write(STDOUT_FILENO, waiting + done, waiting_size - done);
        if (count <= 0) {
            exit(0);
        }
        done += (size_t)count;
    }
    waiting_size = 0U;
}

void nn_port_init(void) {}

void nn_port_listen(uint8_t on) {
    if (on != 0U) {
        flush();
    }
}

uint8_t nn_port_ready(void) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    flush();
    return ((arrived_at < arrived_size) || (poll(&input, 1U, 0) > 0)) ? 1U : 0U;
}

uint8_t nn_port_read(void) {
    if (arrived_at == arrived_size) {
        ssize_t count;
        flush();
        count = read(STDIN_FILENO, arrived, sizeof(arrived));
        if (count <= 0) {
            exit(0);
        }
        arrived_size = (size_t)count;
        arrived_at = 0U;
    }
    arrived_at++;
    return arrived[arrived_at - 1U];
}

void nn_port_write(uint8_t byte) {
    waiting[waiting_size] = byte;
    waiting_size++;
    if ((waiting_size == sizeof(waiting)) || (byte == (uint8_t)'\n')) {
        flush();
    }
}

void nn_port_clock_start(void) {}

uint32_t nn_port_clock_stop(void) { return 0U; }

uint16_t nn_port_stack(void) { return 0U; }

uint8_t nn_port_overrun(void) { return 0U; }

uint8_t nn_port_cause(void) { return 0U; }

void nn_port_reset(void) {
    flush();
    (void)execl("/proc/self/exe", "firmware", (char *)NULL);
    exit(0);
}
