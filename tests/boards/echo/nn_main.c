/*
 * Proves a port: greets, then obeys one-letter commands. All else of a board is in ports/.
 */
#include "nn_config.h"
#include "nn_memory.h"
#include "nn_port.h"

/* Where it was when a fault struck, and F: what no chip can execute. */
#if NN_HEALTH
#define FAULT nn_port_fault()
#define FAIL() __builtin_trap()
#else
#define FAULT 0U
#define FAIL()
#endif

static const NN_CODE char greeting[] = "HELLO " NN_BOARD "\n";

static uint16_t read_count(void) {
    const uint8_t low = nn_port_read();
    return (uint16_t)(low | ((uint16_t)nn_port_read() << 8));
}

/* E: sends back each byte as it comes. */
static void echo(uint16_t count) {
    while (count != 0U) {
        nn_port_write(nn_port_read());
        count--;
    }
}

/* B: takes a burst, then answers with the sum of its bytes, each weighed by its place. */
static void burst(uint16_t count) {
    uint16_t sum = 0U;
    uint16_t i;
    for (i = 0U; i < count; i++) {
        sum = (uint16_t)((uint16_t)(sum * 31U) + nn_port_read());
    }
    nn_port_write((uint8_t)(sum & 0xFFU));
    nn_port_write((uint8_t)(sum >> 8));
}

/* W: computes for a while with the receiver off. Bytes that come meanwhile must not be lost. */
static void work(uint16_t rounds) {
    nn_port_listen(0U);
    while (rounds != 0U) {
        rounds--;
        spoil_memory();
    }
    nn_port_listen(1U);
}

/* C: the stopwatch's count of so many rounds. */
static void count(uint16_t rounds) {
    uint32_t counted;
    uint8_t i;
    nn_port_clock_start();
    while (rounds != 0U) {
        rounds--;
        spoil_memory();
    }
    counted = nn_port_clock_stop();
    for (i = 0U; i < 4U; i++) {
        nn_port_write((uint8_t)(counted & 0xFFU));
        counted >>= 8;
    }
}

/* D: calls itself so many times, so that the stack grows; then says how far it has ever grown. */
static void dig(uint8_t depth) NN_STACKED {
    volatile uint8_t kept = depth;
    if (depth != 0U) {
        dig((uint8_t)(depth - 1U));
        kept++;
    }
}

static void stack(uint8_t depth) {
    uint16_t most;
    dig(depth);
    most = nn_port_stack();
    nn_port_write((uint8_t)(most & 0xFFU));
    nn_port_write((uint8_t)(most >> 8));
}

/* S: why it started, and where it was before. */
static void start(void) {
    uint32_t fault = FAULT;
    uint8_t i;
    nn_port_write(nn_port_cause());
    for (i = 0U; i < 4U; i++) {
        nn_port_write((uint8_t)(fault & 0xFFU));
        fault >>= 8;
    }
}

/* H: computes for ever. */
static void hang(void) {
    nn_port_listen(0U);
    for (;;) {
    }
}

int main(void) {
    const NN_CODE char *letter;
    nn_port_init();
    nn_port_listen(1U);
    for (letter = greeting; *letter != '\0'; letter++) {
        nn_port_write((uint8_t)*letter);
    }
    for (;;) {
        const uint8_t command = nn_port_read();
        if (command == (uint8_t)'R') {
            nn_port_reset();
        } else if (command == (uint8_t)'M') {
            nn_port_write(memory_is_fresh() ? (uint8_t)'y' : (uint8_t)'n');
            spoil_memory();
        } else if (command == (uint8_t)'P') {
            while (nn_port_ready() == 0U) {
            }
            nn_port_write(nn_port_read());
        } else if (command == (uint8_t)'E') {
            echo(read_count());
        } else if (command == (uint8_t)'B') {
            burst(read_count());
        } else if (command == (uint8_t)'C') {
            count(read_count());
        } else if (command == (uint8_t)'D') {
            stack(nn_port_read());
        } else if (command == (uint8_t)'S') {
            start();
        } else if (command == (uint8_t)'O') {
            nn_port_write(nn_port_overrun());
        } else if (command == (uint8_t)'H') {
            hang();
        } else if (command == (uint8_t)'F') {
            FAIL();
        } else if (command == (uint8_t)'W') {
            work(read_count());
        } else {
            nn_port_write((uint8_t)'?');
        }
    }
}
