/*
 * A board inside the test's own process: the firmware runs until it waits for a byte, and goes on
 * where it was when the test has one for it. No clock, no threads: whoever calls decides on time.
 */
#include "nn_port.h"
#include "nn_train.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define VISIBLE __attribute__((visibility("default")))
#define STACK_BYTES 65536U
#define ANSWER_BYTES 1024U

int nn_main(void);

/* What a reset does not clear: it is not zero, and so not where the firmware's variables are. */
static struct {
    ucontext_t test;
    ucontext_t board;
    void *stack;
    const uint8_t *heard; /* what is still to be read */
    uint32_t left;
    uint32_t said; /* bytes of the answer */
    uint8_t answer[ANSWER_BYTES];
    uint8_t resetting;
    uint8_t marker;
} port = {.marker = 1U};

extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));

VISIBLE void board_power(void);
VISIBLE uint32_t board_feed(const uint8_t *data, uint32_t size);
VISIBLE uint32_t board_answer(uint8_t *out);
VISIBLE uint32_t board_steps(void);

static void pause_board(void) { (void)swapcontext(&port.board, &port.test); }

static void run_board(void) { (void)swapcontext(&port.test, &port.board); }

static void board_main(void) { (void)nn_main(); }

/* What happens when the supply comes back: all is forgotten. */
void board_power(void) {
    memset(__bss_start, 0, (size_t)(_end - __bss_start));
    if (port.stack == NULL) {
        port.stack = malloc(STACK_BYTES);
    }
    port.left = 0U;
    port.said = 0U;
    port.resetting = 0U;
    (void)getcontext(&port.board);
    port.board.uc_stack.ss_sp = port.stack;
    port.board.uc_stack.ss_size = STACK_BYTES;
    makecontext(&port.board, board_main, 0);
    run_board();
}

/* Lets the board hear bytes until it has answered; how many it has read. */
uint32_t board_feed(const uint8_t *data, uint32_t size) {
    port.heard = data;
    port.left = size;
    run_board();
    if (port.resetting != 0U) {
        const uint32_t said = port.said;
        const uint32_t left = port.left;
        board_power();
        port.said = said;
        port.left = left;
    }
    return size - port.left;
}

/* Moves what the board has answered to `out`, of ANSWER_BYTES; how many bytes. */
uint32_t board_answer(uint8_t *out) {
    const uint32_t said = port.said;
    memcpy(out, port.answer, said);
    port.said = 0U;
    return said;
}

/* Training steps that the board has made, by its own count. */
uint32_t board_steps(void) { return nn_train_steps; }

void nn_port_init(void) {}

void nn_port_listen(uint8_t on) {
    if ((on != 0U) && (port.said != 0U)) {
        pause_board();
    }
}

uint8_t nn_port_ready(void) { return (port.left != 0U) ? 1U : 0U; }

uint8_t nn_port_read(void) {
    while (port.left == 0U) {
        pause_board();
    }
    port.left--;
    port.heard++;
    return port.heard[-1];
}

void nn_port_write(uint8_t byte) {
    if (port.said < ANSWER_BYTES) {
        port.answer[port.said] = byte;
        port.said++;
    }
}

void nn_port_clock_start(void) {}

uint32_t nn_port_clock_stop(void) { return 0U; }

uint16_t nn_port_stack(void) { return 0U; }

uint8_t nn_port_overrun(void) { return 0U; }

uint8_t nn_port_cause(void) { return 0U; }

void nn_port_reset(void) {
    port.resetting = 1U;
    pause_board();
}
