/*
 * Flash memory whose power fails: at the operation that has been chosen, which is then carried out
 * in part only. A bit is written from 1 to 0 and erased from 0 to 1. What a real memory forbids
 * ends the test.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "nn_net.h"
#include "nn_pages.h"
#include "nn_program.h"
#include "nn_store.h"
#include "nn_train.h"

#define STORE_BYTES (2U * NN_STORE_SLOT)
#define WRITES_A_WORD 2 /* between two erasures: an nRF51 allows no more */

uint32_t nn_train_steps;
uint32_t store_program;
uint8_t store_memory[STORE_BYTES];
uint8_t store_state[NN_STATE_BYTES];
uint8_t store_stuck; /* a bit of the second slot that no longer erases */
uint32_t store_violations;
uint32_t store_operations;

const nn_segment_t nn_state_map[NN_STATE_SEGMENTS] = {
    {store_state, 1U}, {store_state + 1, 40U}, {store_state + 41, 34U}};
const nn_segment_t nn_trace_map[NN_TRACE_SEGMENTS] = {{store_state, 1U}};

static uint8_t times[STORE_BYTES / NN_PAGES_WORD]; /* that words were written */
static uint32_t left;                              /* operations until power fails; 0: never */
static uint32_t tear;                              /* how: 0 before, 1 after, else a seed */
static jmp_buf off;

static uint8_t random_byte(void) {
    tear = tear * 1103515245U + 12345U;
    return (uint8_t)(tear >> 16);
}

/* Whether power fails at this operation. */
static int failing(void) {
    store_operations++;
    return (left != 0U) && (--left == 0U);
}

/* The bits of a cell that change before power is gone. */
static uint8_t reached(void) {
    if (tear < 2U) {
        return (tear == 0U) ? 0x00U : 0xFFU;
    }
    return (uint8_t)(random_byte() | random_byte());
}

static void check(int right) {
    if (!right) {
        store_violations++;
    }
}

void nn_pages_erase(nn_place_t at) {
    const int fails = failing();
    uint32_t i;
    check((at % NN_STORE_PAGE == 0U) && (at < STORE_BYTES));
    for (i = 0U; i < NN_STORE_PAGE; i++) {
        store_memory[at + i] |= fails ? reached() : 0xFFU;
    }
    if ((store_stuck != 0U) && (at >= NN_STORE_SLOT)) {
        store_memory[at + 40U] &= (uint8_t)~store_stuck;
    }
    memset(times + at / NN_PAGES_WORD, 0, NN_STORE_PAGE / NN_PAGES_WORD);
    if (fails) {
        longjmp(off, 1);
    }
}

void nn_pages_write(nn_place_t at, const uint8_t *word) {
    static const uint8_t nothing[NN_PAGES_WORD];
    static const uint8_t erased[NN_PAGES_WORD] = {0xFFU, 0xFFU, 0xFFU, 0xFFU};
    const int fails = failing();
    uint8_t changed = 0U;
    uint32_t i;
    check((at % NN_PAGES_WORD == 0U) && (at + NN_PAGES_WORD <= STORE_BYTES));
    check((memcmp(store_memory + at, erased, NN_PAGES_WORD) == 0) || (store_stuck != 0U) ||
          (memcmp(word, nothing, NN_PAGES_WORD) == 0));
    for (i = 0U; i < NN_PAGES_WORD; i++) {
        const uint8_t before = store_memory[at + i];
        store_memory[at + i] &= (uint8_t)(word[i] | (fails ? (uint8_t)~reached() : 0U));
        changed |= before ^ store_memory[at + i];
    }
    times[at / NN_PAGES_WORD] += (changed != 0U) || !fails;
    check(times[at / NN_PAGES_WORD] <= WRITES_A_WORD);
    if (fails) {
        longjmp(off, 1);
    }
}

void nn_pages_read(nn_place_t at, uint8_t *word) {
    check((at % NN_PAGES_WORD == 0U) && (at + NN_PAGES_WORD <= STORE_BYTES));
    memcpy(word, store_memory + at, NN_PAGES_WORD);
}

void store_clear(void) {
    memset(store_memory, 0xFF, sizeof(store_memory));
    memset(times, 0, sizeof(times));
}

/* 1 if the checkpoint was made, 0 if power failed at that operation. */
uint32_t store_save(uint32_t step, uint32_t operation, uint32_t torn) {
    left = operation;
    tear = torn;
    if (setjmp(off) != 0) {
        return 0U;
    }
    nn_train_steps = step;
    nn_store_save();
    left = 0U;
    return 1U;
}

/* The same for voiding both. */
uint32_t store_forget(uint32_t operation, uint32_t torn) {
    left = operation;
    tear = torn;
    if (setjmp(off) != 0) {
        return 0U;
    }
    nn_store_forget();
    left = 0U;
    return 1U;
}
