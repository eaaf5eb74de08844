#include "nn_link.h"

#include "nn_config.h"
#include "nn_crc.h"
#include "nn_digest.h"
#include "nn_frame.h"
#include "nn_map.h"
#include "nn_messages.h"
#include "nn_net.h"
#include "nn_port.h"
#include "nn_program.h"
#ifdef NN_CHECKPOINT
#include "nn_store.h"
#endif
#include "nn_train.h"

/* A frame in memory: one byte of COBS, the header, the payload, the checksum. */
#define AT_LENGTH 1U /* bytes of header and payload */
#define AT_TYPE 2U
#define AT_SESSION 3U
#define AT_SEQUENCE 5U
#define AT_PAYLOAD 7U
#define SMALLEST_FRAME (AT_PAYLOAD + NN_FRAME_CRC_BYTES)
#define LARGEST_FRAME (SMALLEST_FRAME + NN_PAYLOAD)
#define LARGEST_ANSWER (SMALLEST_FRAME + NN_ANSWER)

#if (NN_PAYLOAD > NN_PAYLOAD_MOST) || (NN_ANSWER < NN_PAYLOAD_LEAST) || (NN_ANSWER > NN_PAYLOAD)
#error "NN_PAYLOAD or NN_ANSWER is out of range: see docs/protocol.md"
#endif
#if (NN_WINDOW < 1) || (NN_WINDOW > NN_WINDOW_MOST)
#error "NN_WINDOW is out of range: see docs/protocol.md"
#endif

static NN_XDATA uint8_t request[LARGEST_FRAME];
static NN_XDATA uint8_t reply[LARGEST_ANSWER]; /* kept encoded, to be sent again */
static NN_XDATA uint8_t reply_size;

#if NN_WINDOW > 1
/* The answer before that: the host may have sent on before it missed it. */
static NN_XDATA uint8_t former[LARGEST_ANSWER];
static NN_XDATA uint8_t former_size; /* 0: there is none in this session */
#endif

static NN_XDATA uint16_t session;  /* 0: none since the board started */
static NN_XDATA uint16_t sequence; /* number of the request that `reply` answers */

#if NN_BOUNDED_STATE && !NN_STANDALONE
static NN_XDATA uint8_t unsettled; /* 1: the state has been written, and no step resumed from */
#define SET_UNSETTLED(value) unsettled = (value)
#else
#define SET_UNSETTLED(value)
#endif

static NN_XDATA uint16_t executed; /* requests carried out */
static NN_XDATA uint16_t corrupt;  /* frames that did not pass the checks */
static NN_XDATA uint32_t spent;    /* in steps and forward passes, by the port's clock */
static NN_XDATA uint16_t repeated; /* requests answered again from `reply` */

/* Numbers travel with their low byte first. */

#if defined(__SDCC_mcs51)
/* As numbers lie in memory, too: at an address that is known they take fewer bytes than a call. */
#define get16(from) (*(const NN_XDATA uint16_t *)(from))
#define get32(from) (*(const NN_XDATA uint32_t *)(from))
#define put16(to, value) (*(NN_XDATA uint16_t *)(to) = (value))
#define put32(to, value) (*(NN_XDATA uint32_t *)(to) = (value))
#else
static uint16_t get16(const uint8_t *from) {
    return (uint16_t)(from[0] | ((uint16_t)from[1] << 8));
}

#if !NN_STANDALONE || (NN_STATE_BYTES >= 0xFFFFU)
static uint32_t get32(const uint8_t *from) {
    return ((uint32_t)get16(from + 2) << 16) | get16(from);
}
#endif

static void put16(uint8_t *to, uint16_t value) {
    to[0] = (uint8_t)(value & 0xFFU);
    to[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *to, uint32_t value) {
    put16(to, (uint16_t)(value & 0xFFFFUL));
    put16(to + 2, (uint16_t)(value >> 16));
}
#endif

/* An offset in the state. What nn_offset_t cannot hold lies behind every end, as 0xFFFF does. */
static nn_offset_t get_offset(const NN_XDATA uint8_t *from) {
#if NN_STATE_BYTES < 0xFFFFU
    return (get16(from + 2) != 0U) ? 0xFFFFU : get16(from);
#else
    return get32(from);
#endif
}

/* Stores the bytes up to the next delimiter; their number, LARGEST_FRAME + 1 if too many. */
static uint8_t receive(void) {
    uint8_t size = 0U;
    nn_port_listen(1U);
    for (;;) {
        const uint8_t byte = nn_port_read();
        if (byte != 0U) {
            if (size < LARGEST_FRAME) {
                request[size] = byte;
                size++;
            } else {
                size = LARGEST_FRAME + 1U;
            }
        } else if (size != 0U) {
            break;
        } else {
            /* Frames begin with a delimiter, too: it clears what noise has left behind. */
        }
    }
    nn_port_listen(0U);
    return size;
}

#if NN_WINDOW > 1
static void keep_former(void) {
    uint8_t i;
    for (i = 0U; i < reply_size; i++) {
        former[i] = reply[i];
    }
    former_size = reply_size;
}
#endif

static void transmit(const NN_XDATA uint8_t *frame, uint8_t size) {
    nn_port_write(0U);
    for (; size != 0U; size--) {
        nn_port_write(*frame);
        frame++;
    }
    nn_port_write(0U);
}

/*
 * The checksums of frames of this type begin with the dictionary's hash, but for a greeting, which
 * is understood by boards that speak another.
 */
static void begin_checksum(uint8_t type) {
    nn_crc_begin(((type == NN_MSG_HELLO) || (type == NN_MSG_WELCOME)) ? NN_CRC_START : NN_ABI);
}

/* Checks and decodes the `size` bytes received; 1 if they are a sound frame. */
static uint8_t unseal(uint8_t size) {
    const uint8_t end = (uint8_t)(size - NN_FRAME_CRC_BYTES);
    if ((size < SMALLEST_FRAME) || (size > LARGEST_FRAME)) {
        return 0U;
    }
    begin_checksum(request[AT_TYPE]);
    if (nn_frame_decode(request, end) == 0U) {
        return 0U;
    }
    return (request[AT_LENGTH] == (uint8_t)(end - 1U)) ? 1U : 0U;
}

/* Encodes a frame that lacks only its length and adds its checksum; its size. */
static uint8_t seal(NN_XDATA uint8_t *frame, uint8_t payload) {
    frame[0] = 0U;
    frame[AT_LENGTH] = (uint8_t)(NN_HEADER_BYTES + payload);
    begin_checksum(frame[AT_TYPE]);
    nn_frame_encode(frame, (uint8_t)(AT_PAYLOAD + payload));
    return (uint8_t)(SMALLEST_FRAME + payload);
}

/* Says which request is expected; the request buffer serves, for what it held is void. */
static void object(uint8_t reason) {
    request[AT_TYPE] = NN_MSG_NAK;
    request[AT_PAYLOAD + NN_MSG_NAK_REASON] = reason;
    put16(request + AT_SESSION, session);
    put16(request + AT_SEQUENCE, (uint16_t)(sequence + 1U));
    transmit(request, seal(request, NN_MSG_NAK_SIZE));
}

/* The handlers write the reply's payload and return its size; reply[AT_TYPE] is preset to DONE. */

static uint8_t refuse(uint8_t reason) {
    reply[AT_TYPE] = NN_MSG_ERROR;
    reply[AT_PAYLOAD + NN_MSG_ERROR_REASON] = reason;
    return NN_MSG_ERROR_SIZE;
}

static uint8_t welcome(void) {
    static const NN_CODE char name[] = NN_BOARD;
    uint8_t size = NN_MSG_WELCOME_SIZE;
    uint8_t i;
    reply[AT_TYPE] = NN_MSG_WELCOME;
    put16(reply + AT_PAYLOAD + NN_MSG_WELCOME_ABI, NN_ABI);
    put32(reply + AT_PAYLOAD + NN_MSG_WELCOME_PROGRAM, NN_PROGRAM);
    reply[AT_PAYLOAD + NN_MSG_WELCOME_PAYLOAD] = NN_PAYLOAD;
    reply[AT_PAYLOAD + NN_MSG_WELCOME_ANSWER] = NN_ANSWER;
    put16(reply + AT_PAYLOAD + NN_MSG_WELCOME_SAMPLE_BYTES, NN_SAMPLE_BYTES);
    put32(reply + AT_PAYLOAD + NN_MSG_WELCOME_STATE_BYTES, NN_STATE_BYTES);
    put32(reply + AT_PAYLOAD + NN_MSG_WELCOME_STEP, nn_train_steps);
    put16(reply + AT_PAYLOAD + NN_MSG_WELCOME_CRC, nn_digest_state());
    reply[AT_PAYLOAD + NN_MSG_WELCOME_WINDOW] = NN_WINDOW;
    reply[AT_PAYLOAD + NN_MSG_WELCOME_CAUSE] = nn_port_cause();
    for (i = 0U; (name[i] != '\0') && (size < NN_ANSWER); i++) {
        reply[AT_PAYLOAD + size] = (uint8_t)name[i];
        size++;
    }
    return size;
}

/* Bytes of the request's payload from byte `at` of the frame on. */
static uint8_t rest(uint8_t at) { return (uint8_t)(AT_LENGTH + request[AT_LENGTH] - at); }

/* Copies them to `offset` in a map of `total` bytes. 0: they do not fit. */
static uint8_t store(const NN_CODE nn_segment_t *map, nn_offset_t total, nn_offset_t offset,
                     uint8_t at) {
    const uint8_t size = rest(at);
    if ((size > total) || (offset > (nn_offset_t)(total - size))) {
        return 0U;
    }
    if (size != 0U) {
        nn_map_open(map, offset);
        nn_map_put(request + at, size);
    }
    return 1U;
}

/* Copies the last bytes of a sample to its end. 0: there are too many, or it is not sound. */
static uint8_t complete(uint8_t at) {
    const uint8_t size = rest(at);
#if NN_SAMPLE_BYTES < 0xFFU
    if (size > NN_SAMPLE_BYTES) {
        return 0U;
    }
#endif
    if (size != 0U) {
        nn_map_open(nn_sample_map, (nn_offset_t)(NN_SAMPLE_BYTES - size));
        nn_map_put(request + at, size);
    }
#if NN_BOUNDED_SAMPLE
    return nn_sound_sample();
#else
    return 1U;
#endif
}

#if !NN_STANDALONE
static uint8_t step(void) {
    const uint8_t flags = request[AT_PAYLOAD + NN_MSG_STEP_FLAGS];
    uint8_t size = NN_MSG_REPORT_SIZE;
    const uint16_t next = (uint16_t)((uint16_t)(nn_train_steps & 0xFFFFUL) + 1U);
    if (get16(request + AT_PAYLOAD + NN_MSG_STEP_STEP) != next) {
        return refuse(NN_REASON_STEP);
    }
    if (complete(AT_PAYLOAD + NN_MSG_STEP_SIZE) == 0U) {
        return refuse(NN_REASON_RANGE);
    }
    if ((flags & NN_FLAG_COUNT) != 0U) {
        nn_port_clock_start();
    }
    if ((flags & NN_FLAG_EPOCH) != 0U) {
        nn_epoch();
    }
    nn_train_step((uint8_t)(flags & NN_FLAG_FIRST), (uint8_t)((flags & NN_FLAG_LAST) >> 1));
    reply[AT_TYPE] = NN_MSG_REPORT;
    put32(reply + AT_PAYLOAD + NN_MSG_REPORT_LOSS, nn_report_loss());
    put16(reply + AT_PAYLOAD + NN_MSG_REPORT_PREDICTION, nn_report_prediction());
    if ((flags & NN_FLAG_DIGEST) != 0U) {
        reply[AT_TYPE] = NN_MSG_AUDIT;
        put16(reply + AT_PAYLOAD + NN_MSG_AUDIT_TRACE, nn_digest_trace());
        put16(reply + AT_PAYLOAD + NN_MSG_AUDIT_SLICE,
              nn_digest_slice((uint16_t)(nn_train_steps & 0xFFFFUL)));
        size = NN_MSG_AUDIT_SIZE;
    }
    if ((flags & NN_FLAG_COUNT) != 0U) {
        spent += nn_port_clock_stop();
    }
    return size;
}
#endif

static uint8_t evaluate(void) {
    if (complete(AT_PAYLOAD + NN_MSG_EVALUATE_SIZE) == 0U) {
        return refuse(NN_REASON_RANGE);
    }
    nn_port_clock_start();
    nn_forward();
    spent += nn_port_clock_stop();
    nn_measure();
    reply[AT_TYPE] = NN_MSG_EVALUATION;
    put32(reply + AT_PAYLOAD + NN_MSG_EVALUATION_LOSS, nn_report_loss());
    put16(reply + AT_PAYLOAD + NN_MSG_EVALUATION_PREDICTION, nn_report_prediction());
    put16(reply + AT_PAYLOAD + NN_MSG_EVALUATION_TRACE, nn_digest_trace());
    return NN_MSG_EVALUATION_SIZE;
}

static uint8_t read_state(void) {
    const nn_offset_t offset = get_offset(request + AT_PAYLOAD + NN_MSG_READ_OFFSET);
    const uint8_t size = request[AT_PAYLOAD + NN_MSG_READ_LENGTH];
    uint8_t i;
    if ((size == 0U) || (size > NN_ANSWER) || (offset > NN_STATE_BYTES) ||
        (size > (NN_STATE_BYTES - offset))) {
        return refuse(NN_REASON_RANGE);
    }
    reply[AT_TYPE] = NN_MSG_CHUNK;
    nn_map_open(nn_state_map, offset);
    for (i = 0U; i < size; i++) {
        reply[AT_PAYLOAD + i] = nn_map_get();
    }
    return size;
}

#if NN_HEALTH
/* What some boards can tell besides; its size. The image does not change: it is read once. */
static uint8_t put_health(NN_XDATA uint8_t *to) {
    static NN_XDATA uint8_t known;
    static NN_XDATA uint16_t image;
    if (known == 0U) {
        image = nn_digest_image();
        known = 1U;
    }
    put32(to, nn_port_fault());
    put16(to + 4, image);
    return 6U;
}
#endif

static uint8_t verify(void) {
    reply[AT_TYPE] = NN_MSG_STATE;
    put32(reply + AT_PAYLOAD + NN_MSG_STATE_STEP, nn_train_steps);
    put16(reply + AT_PAYLOAD + NN_MSG_STATE_CRC, nn_digest_state());
    put16(reply + AT_PAYLOAD + NN_MSG_STATE_EXECUTED, executed);
    put16(reply + AT_PAYLOAD + NN_MSG_STATE_CORRUPT, corrupt);
    put16(reply + AT_PAYLOAD + NN_MSG_STATE_REPEATED, repeated);
    put32(reply + AT_PAYLOAD + NN_MSG_STATE_SPENT, spent);
    put16(reply + AT_PAYLOAD + NN_MSG_STATE_STACK, nn_port_stack());
#if NN_HEALTH
    return (uint8_t)(NN_MSG_STATE_SIZE + put_health(reply + AT_PAYLOAD + NN_MSG_STATE_SIZE));
#else
    return NN_MSG_STATE_SIZE;
#endif
}

/* Does what the request asks; the size of the reply's payload. */
static uint8_t execute(void) {
    static const NN_CODE uint8_t least[NN_MSG_REQUESTS] = NN_MSG_LEAST_SIZES;
    const uint8_t type = request[AT_TYPE];
    if (nn_port_overrun() != 0U) {
        return refuse(NN_REASON_STACK);
    }
    if ((type == 0U) || (type > NN_MSG_REQUESTS)) {
        return refuse(NN_REASON_UNKNOWN);
    }
    if ((uint8_t)(request[AT_LENGTH] - NN_HEADER_BYTES) < least[type - 1U]) {
        return refuse(NN_REASON_RANGE);
    }
#if NN_STANDALONE
    if ((type == NN_MSG_RESET) || (type == NN_MSG_STEP) || (type == NN_MSG_WRITE) ||
        (type == NN_MSG_RESUME)) {
        return refuse(NN_REASON_STANDALONE);
    }
#elif NN_BOUNDED_STATE
    if ((unsettled != 0U) && ((type == NN_MSG_STEP) || (type == NN_MSG_EVALUATE))) {
        return refuse(NN_REASON_STEP);
    }
#endif
    reply[AT_TYPE] = NN_MSG_DONE;
    switch (type) {
    case NN_MSG_HELLO:
        return welcome();
#if !NN_STANDALONE
    case NN_MSG_RESET:
        nn_train_reset(get16(request + AT_PAYLOAD + NN_MSG_RESET_SEED));
        SET_UNSETTLED(0U);
        break;
    case NN_MSG_STEP:
        return step();
    case NN_MSG_WRITE:
        if (store(nn_state_map, NN_STATE_BYTES,
                  get_offset(request + AT_PAYLOAD + NN_MSG_WRITE_OFFSET),
                  AT_PAYLOAD + NN_MSG_WRITE_SIZE) == 0U) {
            return refuse(NN_REASON_RANGE);
        }
        SET_UNSETTLED(1U);
        break;
    case NN_MSG_RESUME:
#if NN_BOUNDED_STATE
        if (nn_sound_state() == 0U) {
            return refuse(NN_REASON_RANGE);
        }
#endif
        SET_UNSETTLED(0U);
        nn_train_steps = get32(request + AT_PAYLOAD + NN_MSG_RESUME_STEP);
        break;
#endif
    case NN_MSG_SAMPLE:
        if (store(nn_sample_map, NN_SAMPLE_BYTES,
                  get16(request + AT_PAYLOAD + NN_MSG_SAMPLE_OFFSET),
                  AT_PAYLOAD + NN_MSG_SAMPLE_SIZE) == 0U) {
            return refuse(NN_REASON_RANGE);
        }
        break;
    case NN_MSG_EVALUATE:
        return evaluate();
    case NN_MSG_READ:
        return read_state();
    case NN_MSG_VERIFY:
        return verify();
    default: /* NN_MSG_RESTART: done by nn_link_serve, after the reply */
        break;
    }
    return 0U;
}

void nn_link_serve(void) {
    uint16_t from;
    uint16_t number;
    if (unseal(receive()) == 0U) {
        corrupt++;
        object(NN_OBJECTION_CORRUPT);
        return;
    }
    from = get16(request + AT_SESSION);
    number = get16(request + AT_SEQUENCE);
    if ((request[AT_TYPE] == NN_MSG_HELLO) && (from != session)) {
        session = from;
        sequence = (uint16_t)(number - 1U);
#if NN_WINDOW > 1
        reply_size = 0U;
#endif
    }
    if ((from == 0U) || (from != session)) {
        object(NN_OBJECTION_SESSION);
    } else if (number == sequence) {
        repeated++;
        transmit(reply, reply_size);
#if NN_WINDOW > 1
    } else if ((number == (uint16_t)(sequence - 1U)) && (former_size != 0U)) {
        repeated++;
        transmit(former, former_size);
#endif
    } else if (number != (uint16_t)(sequence + 1U)) {
        object(NN_OBJECTION_SEQUENCE);
    } else {
        const uint8_t type = request[AT_TYPE];
        executed++;
        sequence = number;
#if NN_WINDOW > 1
        keep_former();
#endif
        put16(reply + AT_SESSION, from);
        put16(reply + AT_SEQUENCE, number);
        reply_size = seal(reply, execute());
        transmit(reply, reply_size);
        if (type == NN_MSG_RESTART) {
#ifdef NN_CHECKPOINT
            nn_store_forget();
#endif
            nn_port_reset();
        }
    }
}
