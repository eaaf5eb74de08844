#include "nn_text.h"

#include "nn_config.h"
#include "nn_port.h"

#if NN_STANDALONE

#define PLACES 10U /* decimal digits of a uint32_t */

static const NN_CODE uint32_t power_of_ten[PLACES] = {
    1000000000UL, 100000000UL, 10000000UL, 1000000UL, 100000UL, 10000UL, 1000UL, 100UL, 10UL, 1UL,
};

static void print(const NN_CODE char *text) {
    for (; *text != '\0'; text++) {
        nn_port_write((uint8_t)*text);
    }
}

/* In decimal, with a point before the last `decimals` digits. Subtracts, for want of a divider. */
static void print_number(uint32_t value, uint8_t decimals) NN_STACKED {
    const uint8_t unit = (uint8_t)(PLACES - 1U - decimals);
    uint8_t begun = 0U;
    uint8_t place;
    for (place = 0U; place < PLACES; place++) {
        uint8_t digit = 0U;
        while (value >= power_of_ten[place]) {
            value -= power_of_ten[place];
            digit++;
        }
        if ((digit != 0U) || (place == unit)) {
            begun = 1U;
        }
        if (begun != 0U) {
            nn_port_write((uint8_t)('0' + digit));
        }
        if ((place == unit) && (decimals != 0U)) {
            nn_port_write((uint8_t)'.');
        }
    }
}

static void print_hex(uint16_t value) {
    uint8_t shift = 16U;
    do {
        uint8_t digit;
        shift = (uint8_t)(shift - 4U);
        digit = (uint8_t)((uint16_t)(value >> shift) & 0xFU);
        nn_port_write((uint8_t)((digit < 10U) ? ('0' + digit) : ('A' - 10 + digit)));
    } while (shift != 0U);
}

void nn_text_program(uint32_t program) NN_STACKED {
    print("program:");
    print_hex((uint16_t)(program >> 16));
    print_hex((uint16_t)(program & 0xFFFFUL));
    print("\n");
}

#ifdef NN_CHECKPOINT
void nn_text_resumed(uint32_t step) NN_STACKED {
    print("resumed:");
    print_number(step, 0U);
    print("\n");
}
#endif

void nn_text_step(uint32_t step, uint32_t loss_milli) NN_STACKED {
    print("step:");
    print_number(step, 0U);
    print("\tloss:");
    print_number(loss_milli, 3U);
    print("\n");
}

void nn_text_done(uint32_t steps, uint16_t digest) NN_STACKED {
    print("done:");
    print_number(steps, 0U);
    print("\tdigest:");
    print_hex(digest);
    print("\n");
}

#endif
