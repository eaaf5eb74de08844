/*
 * The firmware's frame parser and message handlers, fed with anything. An input is a list of
 * actions, each of which sends a frame to nn_link_serve, sound or spoilt (see `act`); after each,
 * what must hold is checked: a frame that is not taken changes nothing, and all that the board
 * sends is a frame.
 *
 * With a compiler that has libFuzzer: LLVMFuzzerTestOneInput alone, -DNN_LIBFUZZER. Else main:
 *
 *     fuzz_link SEED FRAMES [FILE ...]    the files first, then inputs drawn from SEED and mutants
 *                                         of all that opened new edges, until FRAMES are sent
 *
 * An input that crashes is written to crash.bin in the current folder.
 */
#include "nn_config.h"
#include "nn_digest.h"
#include "nn_link.h"
#include "nn_messages.h"
#include "nn_port.h"
#include "nn_program.h"
#include "nn_train.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_MOST 256U

static uint8_t line[1024]; /* to the board */
static size_t line_size;
static size_t line_at;
static jmp_buf no_more;
static uint8_t answer[1024]; /* from the board */
static size_t answer_size;
static unsigned restarts;

static void demand(int held, const char *what) {
    if (!held) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* ---- the port ---- */

void nn_port_init(void) {}
void nn_port_listen(uint8_t on) { (void)on; }
uint8_t nn_port_ready(void) { return (uint8_t)(line_at < line_size); }

uint8_t nn_port_read(void) {
    if (line_at == line_size) {
        longjmp(no_more, 1);
    }
    line_at++;
    return line[line_at - 1U];
}

void nn_port_write(uint8_t byte) {
    demand(answer_size < sizeof(answer), "a board says no more than it is asked");
    answer[answer_size] = byte;
    answer_size++;
}

void nn_port_clock_start(void) {}
uint32_t nn_port_clock_stop(void) { return 1U; }
uint16_t nn_port_stack(void) { return 0U; }
uint8_t nn_port_overrun(void) { return 0U; }
uint8_t nn_port_cause(void) { return 0U; }
void nn_port_reset(void) { restarts++; }

/* ---- frames, written apart from the firmware's ---- */

static uint16_t crc_of(const uint8_t *from, size_t size, uint16_t crc) {
    static uint16_t table[256];
    if (table[1] == 0U) {
        for (unsigned byte = 0U; byte < 256U; byte++) {
            unsigned value = byte << 8;
            for (int bit = 0; bit < 8; bit++) {
                value = (value << 1) ^ (((value & 0x8000U) != 0U) ? 0x11021U : 0U);
            }
            table[byte] = (uint16_t)value;
        }
    }
    for (; size != 0U; size--) {
        crc = (uint16_t)((unsigned)(crc << 8) ^ table[(crc >> 8) ^ *from]);
        from++;
    }
    return crc;
}

static void put_checksum(uint8_t *frame, size_t end) {
    const int open = (frame[2] == NN_MSG_HELLO) || (frame[2] == NN_MSG_WELCOME);
    const uint16_t crc = crc_of(frame, end, open ? 0xFFFFU : NN_ABI);
    frame[end] = (uint8_t)(0x80U | (crc & 0x7FU));
    frame[end + 1U] = (uint8_t)(0x80U | ((crc >> 7) & 0x7FU));
    frame[end + 2U] = (uint8_t)(0x80U | (crc >> 14));
}

/* Body: length, type, session, sequence, payload. Returns the size of the frame in `to`. */
static size_t frame_of(uint8_t *to, const uint8_t *body, size_t size) {
    size_t code = 0U;
    for (size_t at = 0U; at < size; at++) {
        to[at + 1U] = body[at];
        if (body[at] == 0U) {
            to[code] = (uint8_t)(at + 1U - code);
            code = at + 1U;
        }
    }
    to[code] = (uint8_t)(size + 1U - code);
    put_checksum(to, size + 1U);
    return size + 4U;
}

/* ---- what the board has answered ---- */

static uint8_t reply_type;
static uint16_t reply_session;
static uint16_t reply_sequence;
static uint8_t reply_reason;

/* Decodes the answer: exactly one frame, whose checksum, COBS and length are right. */
static void read_answer(void) {
    uint8_t body[FRAME_MOST];
    uint8_t crc[3];
    const size_t end = answer_size - 4U;
    size_t at = 0U;
    demand((answer_size >= 12U) && (answer_size <= (FRAME_MOST - 2U)), "an answer's size");
    demand((answer[0] == 0U) && (answer[answer_size - 1U] == 0U), "delimiters");
    demand(memchr(answer + 1, 0, answer_size - 2U) == NULL, "no zero in a frame");
    memcpy(body, answer + 1, answer_size - 2U);
    memcpy(crc, body + end - 1U, 3U);
    put_checksum(body, end - 1U);
    demand(memcmp(crc, body + end - 1U, 3U) == 0, "an answer's checksum");
    while (at < (end - 1U)) {
        const uint8_t code = body[at];
        body[at] = 0U;
        at += code;
    }
    demand(at == (end - 1U), "an answer's COBS");
    demand(body[1] == (uint8_t)(end - 2U), "an answer's length");
    reply_type = body[2];
    reply_session = (uint16_t)(body[3] | (body[4] << 8));
    reply_sequence = (uint16_t)(body[5] | (body[6] << 8));
    reply_reason = body[7];
}

/* Sends a frame between delimiters; 1 if the board has answered. */
static int send(const uint8_t *frame, size_t size) {
    line[0] = 0U;
    memcpy(line + 1, frame, size);
    line[size + 1U] = 0U;
    line_size = size + 2U;
    line_at = 0U;
    answer_size = 0U;
    if (setjmp(no_more) == 0) {
        for (;;) {
            nn_link_serve();
        }
    }
    return answer_size != 0U;
}

/* ---- actions ---- */

static const uint8_t *input;
static size_t left;
static uint16_t session;
static uint16_t sequence; /* that the board expects next */
static unsigned long frames;

static uint8_t take(void) {
    if (left == 0U) {
        return 0U;
    }
    left--;
    input++;
    return input[-1];
}

enum { RAW, SOUND, AGAIN, STRANGE, WRONG_LENGTH, SPOILT, NEXT_STEP, ACTIONS };

/* Opens a session of a number that the board does not have. */
static void greet(void) {
    int tries;
    reply_type = NN_MSG_NAK;
    for (tries = 0; (tries < 2) && (reply_type != NN_MSG_WELCOME); tries++) {
        uint8_t frame[FRAME_MOST];
        uint8_t body[6] = {6U, NN_MSG_HELLO};
        session = (uint16_t)((session % 0xFFFFU) + 1U);
        body[2] = (uint8_t)session;
        body[3] = (uint8_t)(session >> 8);
        demand(send(frame, frame_of(frame, body, sizeof(body))), "a greeting is answered");
        read_answer();
    }
    demand(reply_type == NN_MSG_WELCOME, "a greeting opens a session");
    sequence = 1U;
}

static void act(void) {
    uint8_t frame[FRAME_MOST];
    uint8_t body[FRAME_MOST];
    const uint8_t kind = (uint8_t)(take() % ACTIONS);
    const uint8_t wanted = take();
    const size_t payload = (kind == RAW) ? wanted : wanted % (NN_PAYLOAD_MOST + 1U);
    const uint16_t before = nn_digest_state();
    const uint32_t steps = nn_train_steps;
    uint16_t number = sequence;
    uint16_t from = session;
    size_t size = payload + 6U;
    int taken = 1;
    frames++;
    if (kind == RAW) {
        for (size_t i = 0U; i < payload; i++) {
            frame[i] = take();
        }
        (void)send(frame, payload);
        greet(); /* what the bytes meant is not known here */
        return;
    }
    body[0] = (uint8_t)size;
    body[1] = take();
    if (kind == AGAIN) {
        number = (uint16_t)(number - 1U);
    } else if (kind == STRANGE) {
        from = (uint16_t)(take() | (take() << 8));
        number = (uint16_t)(take() | (take() << 8));
    }
    body[2] = (uint8_t)from;
    body[3] = (uint8_t)(from >> 8);
    body[4] = (uint8_t)number;
    body[5] = (uint8_t)(number >> 8);
    for (size_t i = 6U; i < size; i++) {
        body[i] = take();
    }
    if ((kind == NEXT_STEP) &&
        (payload >= NN_MSG_STEP_SIZE)) { /* else hardly any STEP would be the next */
        const uint32_t step = nn_train_steps + 1U;
        body[1] = NN_MSG_STEP;
        body[6] = (uint8_t)step;
        body[7] = (uint8_t)(step >> 8);
    }
    if (kind == WRONG_LENGTH) {
        body[0] = (uint8_t)(body[0] + 1U + (take() % 255U));
        taken = 0;
    }
    size = frame_of(frame, body, size);
    if (kind == SPOILT) {
        const size_t at = take() % (size - 3U);
        const uint8_t byte = take();
        if ((byte != 0U) && (at != 2U)) { /* the type chooses the checksum */
            frame[at] = byte;
        }
        put_checksum(frame, size - 3U);
    }
    if (send(frame, size) == 0) {
        demand(0, "a frame is answered");
    }
    read_answer();
    if (kind == SPOILT) {
        taken = (reply_type != NN_MSG_NAK);
        greet();
        if (taken) {
            return;
        }
    } else if (kind == STRANGE) {
        const int hello = (body[1] == NN_MSG_HELLO) && (from != session);
        taken = hello || ((from == session) && (from != 0U) && (number == sequence));
        if (hello && (from == 0U)) {
            taken = 0;
        }
        if (taken || hello) {
            greet();
        }
    } else if (size > (NN_PAYLOAD + 10U)) {
        taken = 0;
    } else if (kind == AGAIN) {
        demand(reply_type != NN_MSG_NAK, "an answer is sent again");
        taken = 0;
    } else if (taken) {
        demand(reply_type != NN_MSG_NAK, "the next request is taken");
        demand((reply_session == session) && (reply_sequence == number), "whom it answers");
        sequence++;
    }
    if ((reply_type == NN_MSG_NAK) || !taken || (reply_type == NN_MSG_ERROR)) {
        demand(nn_train_steps == steps, "a frame that is not taken makes no step");
        demand(nn_digest_state() == before, "a frame that is not taken changes no state");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int started;
    if (!started) {
        nn_train_reset(NN_SEED);
        started = 1;
    }
    input = data;
    left = size;
    greet();
    while (left != 0U) {
        act();
    }
    return 0;
}

#ifndef NN_LIBFUZZER

void __sanitizer_set_death_callback(void (*callback)(void));
void __sanitizer_cov_trace_pc(void);

#define INPUT_MOST 1024U
#define KEPT_MOST 4096U

static uint8_t edges[65536];
static unsigned fresh; /* edges that this input was the first to take */
static struct {
    uint8_t *data;
    size_t size;
} kept[KEPT_MOST];
static size_t kept_count;
static uint8_t now[INPUT_MOST];
static size_t now_size;
static uint64_t chance;

/* Called by the firmware, which alone is compiled so, at each edge of its code. */
__attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc(void) {
    const uintptr_t here = (uintptr_t)__builtin_return_address(0);
    uint8_t *edge = &edges[(here ^ (here >> 16)) & 0xFFFFU];
    if (*edge == 0U) {
        *edge = 1U;
        fresh++;
    }
}

static void died(void) {
    FILE *file = fopen("crash.bin", "wb");
    if (file != NULL) {
        (void)fwrite(now, 1U, now_size, file);
        (void)fclose(file);
    }
}

static uint32_t draw(uint32_t below) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (uint32_t)((chance >> 16) % below);
}

/* Numbers at which offsets, sizes and flags turn. */
static uint16_t edge_number(void) {
    static const uint16_t numbers[] = {0U,
                                       1U,
                                       2U,
                                       4U,
                                       7U,
                                       0xFFU,
                                       0x7FFFU,
                                       0x8000U,
                                       0xFFFFU,
                                       NN_SAMPLE_BYTES,
                                       NN_PAYLOAD,
                                       (uint16_t)NN_STATE_BYTES,
                                       (uint16_t)(NN_STATE_BYTES - 1U),
                                       (uint16_t)(NN_STATE_BYTES + 1U),
                                       NN_SAMPLE_BYTES - 1U,
                                       NN_SAMPLE_BYTES + 1U};
    return numbers[draw(sizeof(numbers) / sizeof(numbers[0]))];
}

/* A new input: actions whose payloads are drawn, with numbers of interest in them. */
static void compose(void) {
    const uint32_t actions = 1U + draw(12U);
    now_size = 0U;
    for (uint32_t i = 0U; i < actions; i++) {
        const uint32_t size = draw(4U) == 0U ? draw(NN_PAYLOAD_MOST + 1U) : draw(24U);
        uint8_t *at = now + now_size;
        if ((now_size + size + 12U) > INPUT_MOST) {
            break;
        }
        at[0] = (uint8_t)draw(4U) == 0U ? (uint8_t)draw(ACTIONS) : (uint8_t)SOUND;
        at[1] = (uint8_t)size;
        at[2] = (uint8_t)(1U + draw(NN_MSG_REQUESTS + 2U));
        for (uint32_t j = 0U; j < (size + 4U); j++) {
            at[3U + j] = (uint8_t)draw(256U);
        }
        for (uint32_t j = 0U; (j + 1U) < size; j += 2U) {
            if (draw(3U) == 0U) {
                const uint16_t number = edge_number();
                at[3U + j] = (uint8_t)number;
                at[4U + j] = (uint8_t)(number >> 8);
            }
        }
        now_size += 3U + size;
    }
}

/* An input that was kept, with a few bytes changed, or joined with another. */
static void mutate(void) {
    const size_t which = draw((uint32_t)kept_count);
    now_size = kept[which].size;
    memcpy(now, kept[which].data, now_size);
    if (draw(4U) == 0U) {
        const size_t other = draw((uint32_t)kept_count);
        const size_t cut = draw((uint32_t)now_size + 1U);
        size_t more = kept[other].size;
        if (more > (INPUT_MOST - cut)) {
            more = INPUT_MOST - cut;
        }
        memcpy(now + cut, kept[other].data, more);
        now_size = cut + more;
    }
    for (uint32_t i = draw(4U); (i != 0U) && (now_size != 0U); i--) {
        const size_t at = draw((uint32_t)now_size);
        now[at] = (uint8_t)(now[at] ^ ((draw(2U) == 0U) ? (1U << draw(8U)) : draw(256U)));
    }
}

static void try_it(void) {
    fresh = 0U;
    (void)LLVMFuzzerTestOneInput(now, now_size);
    if ((fresh != 0U) && (kept_count < KEPT_MOST) && (now_size != 0U)) {
        kept[kept_count].data = malloc(now_size);
        kept[kept_count].size = now_size;
        memcpy(kept[kept_count].data, now, now_size);
        kept_count++;
    }
}

/* Writes what was kept to files in the current folder, to become the corpus. */
static void save(void) {
    for (size_t i = 0U; i < kept_count; i++) {
        char name[32];
        FILE *file;
        (void)snprintf(name, sizeof(name), "kept-%04u.bin", (unsigned)i);
        file = fopen(name, "wb");
        if (file != NULL) {
            (void)fwrite(kept[i].data, 1U, kept[i].size, file);
            (void)fclose(file);
        }
    }
}

int main(int count, char **arguments) {
    unsigned long wanted;
    size_t taken = 0U;
    if (count < 3) {
        return 2;
    }
    __sanitizer_set_death_callback(died);
    chance = strtoull(arguments[1], NULL, 10) | 1U;
    wanted = strtoul(arguments[2], NULL, 10);
    for (int i = 3; i < count; i++) {
        FILE *file = fopen(arguments[i], "rb");
        if (file == NULL) {
            return 2;
        }
        now_size = fread(now, 1U, sizeof(now), file);
        (void)fclose(file);
        (void)alarm(60U);
        try_it();
    }
    while (frames < wanted) {
        if ((taken % 4096U) == 0U) {
            (void)alarm(60U); /* a hang ends the program */
        }
        taken++;
        if ((kept_count != 0U) && (draw(4U) == 0U)) {
            mutate();
        } else {
            compose();
        }
        try_it();
    }
    for (size_t i = 0U; i < sizeof(edges); i++) {
        fresh += edges[i];
    }
    printf("%lu frames, %lu inputs, %u edges, %lu kept, %u restarts\n", frames,
           (unsigned long)taken, fresh, (unsigned long)kept_count, restarts);
    if (getenv("NN_FUZZ_SAVE") != NULL) {
        save();
    }
    for (size_t i = 0U; i < kept_count; i++) {
        free(kept[i].data);
    }
    return 0;
}

#endif
