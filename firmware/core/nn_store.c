#include "nn_store.h"

#include "nn_config.h"

#ifdef NN_CHECKPOINT

#include "nn_crc.h"
#include "nn_digest.h"
#include "nn_map.h"
#include "nn_net.h"
#include "nn_pages.h"
#include "nn_program.h"
#include "nn_train.h"

#define MAGIC 0x4E31U /* of this layout */

/*
 * What a slot begins with; the state follows. The first word is written last: as its halves are
 * each other's complement, one that has been written or erased in part only seals nothing.
 */
typedef struct {
    uint16_t crc; /* of what follows the first word */
    uint16_t complement;
    uint32_t program;
    uint32_t sequence; /* checkpoints written so far, whatever the program: the store's wear */
    uint32_t step;
    uint16_t state; /* CRC of the state */
    uint16_t magic;
} header_t;

#define HEADER_BYTES 20U
#define TAKEN (HEADER_BYTES + (nn_place_t)NN_STATE_BYTES)

typedef char nn_header_has_no_gaps[(sizeof(header_t) == HEADER_BYTES) ? 1 : -1];

/* In external RAM, as locals are not: an 8051 has little internal. */
static NN_XDATA header_t header;
static NN_XDATA uint8_t word[NN_PAGES_WORD];
static NN_XDATA nn_place_t slot;  /* at work on */
static NN_XDATA nn_place_t at;    /* the next word in it */
static NN_XDATA nn_offset_t left; /* bytes of the state */
static NN_XDATA nn_place_t kept;  /* the slot to leave alone */
static NN_XDATA uint32_t written; /* checkpoints so far, of whatever program */

static uint16_t header_crc(void) {
    nn_crc_begin(NN_CRC_START);
    nn_crc_add((const uint8_t *)&header + NN_PAGES_WORD, HEADER_BYTES - NN_PAGES_WORD);
    return nn_crc_value();
}

/* Reads the slot's header; 1 if it is whole. */
static uint8_t look(void) {
    for (at = 0U; at != HEADER_BYTES; at += NN_PAGES_WORD) {
        nn_pages_read((nn_place_t)(slot + at), (NN_XDATA uint8_t *)&header + at);
    }
    if ((header.magic != MAGIC) || ((header.crc ^ header.complement) != 0xFFFFU)) {
        return 0U;
    }
    return (header.crc == header_crc()) ? 1U : 0U;
}

/* To the slot's state, and the map's beginning. */
static void begin_state(void) {
    at = (nn_place_t)(slot + HEADER_BYTES);
    left = NN_STATE_BYTES;
    nn_map_open(nn_state_map, 0U);
}

/* Reads the slot's state, and puts it into place if `load` is 1; its CRC. */
static uint16_t read_state(uint8_t load) {
    begin_state();
    nn_crc_begin(NN_CRC_START);
    while (left != 0U) {
        const uint8_t size = (left < NN_PAGES_WORD) ? (uint8_t)left : (uint8_t)NN_PAGES_WORD;
        nn_pages_read(at, word);
        nn_crc_add(word, size);
        if (load != 0U) {
            nn_map_put(word, size);
        }
        at = (nn_place_t)(at + NN_PAGES_WORD);
        left = (nn_offset_t)(left - size);
    }
    return nn_crc_value();
}

static void write_state(void) {
    begin_state();
    while (left != 0U) {
        uint8_t i;
        for (i = 0U; i < NN_PAGES_WORD; i++) {
            word[i] = 0xFFU;
            if (left != 0U) {
                word[i] = nn_map_get();
                left--;
            }
        }
        nn_pages_write(at, word);
        at = (nn_place_t)(at + NN_PAGES_WORD);
    }
}

/* Breaks the slot's seal, if it is whole: some memories let a word be written twice only. */
static void break_seal(void) {
    if (look() != 0U) {
        uint8_t i;
        for (i = 0U; i < NN_PAGES_WORD; i++) {
            word[i] = 0U;
        }
        nn_pages_write(slot, word);
    }
}

uint32_t nn_store_load(void) {
    static NN_XDATA uint32_t newest;
    static NN_XDATA uint32_t step;
    newest = 0UL;
    step = 0UL;
    written = 0UL;
    kept = NN_STORE_SLOT;
    slot = 0U;
    do {
        if (look() != 0U) {
            if (header.sequence > written) {
                written = header.sequence;
            }
            if ((header.program == NN_PROGRAM) && (header.sequence > newest) &&
                (header.state == read_state(0U))) {
                newest = header.sequence;
                step = header.step;
                kept = slot;
            }
        }
        slot = (nn_place_t)(slot + NN_STORE_SLOT);
    } while (slot == NN_STORE_SLOT);
    if (step != 0UL) {
        slot = kept;
        (void)read_state(1U);
    }
    return step;
}

/*
 * Breaks the seal, erases, writes the state, the header and last the seal. A checkpoint that cannot
 * be read back, because the memory is worn out, does not displace the one in the other slot.
 */
void nn_store_save(void) {
    slot = (nn_place_t)(NN_STORE_SLOT - kept);
    break_seal();
    for (at = 0U; at < TAKEN; at = (nn_place_t)(at + NN_STORE_PAGE)) {
        nn_pages_erase((nn_place_t)(slot + at));
    }
    write_state();
    written++;
    header.program = NN_PROGRAM;
    header.sequence = written;
    header.step = nn_train_steps;
    header.state = nn_digest_state();
    header.magic = MAGIC;
    header.crc = header_crc();
    header.complement = (uint16_t)~header.crc;
    for (at = HEADER_BYTES; at != 0U;) {
        at = (nn_place_t)(at - NN_PAGES_WORD);
        nn_pages_write((nn_place_t)(slot + at), (const NN_XDATA uint8_t *)&header + at);
    }
    if ((look() != 0U) && (header.sequence == written) && (header.state == read_state(0U))) {
        kept = slot;
    }
}

void nn_store_forget(void) {
    slot = 0U;
    break_seal();
    slot = NN_STORE_SLOT;
    break_seal();
}

#endif
