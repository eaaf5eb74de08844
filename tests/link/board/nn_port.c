/* The test board's port: bytes through stdin and stdout; ends when the host closes them. */
#include "nn_port.h"

#include <stdlib.h>
#include <unistd.h>

static uint8_t waiting[4096];
static size_t waiting_size;
static uint8_t arrived[4096];
static size_t arrived_size;
static size_t arrived_at;

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

uint8_t nn_port_ready(void) { return (arrived_at < arrived_size) ? 1U : 0U; }

uint8_t nn_port_read(void) {
    if (arrived_at == arrived_size) {
        const ssize_t count = read(STDIN_FILENO, arrived, sizeof arrived);
        if (count <= 0) {
            exit(0);
        }
        arrived_size = (size_t)count;
        arrived_at = 0U;
    }
    return arrived[arrived_at++];
}

void nn_port_write(uint8_t byte) {
    waiting[waiting_size++] = byte;
    if (waiting_size == sizeof waiting) {
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
    exit(0);
}
