/* The configuration of the link's test board: a net in shape only. */
#ifndef NN_CONFIG_H
#define NN_CONFIG_H

#define NN_BOARD "test-board"
#define NN_STATE_BYTES 103U
#define NN_SAMPLE_BYTES 41U
#define NN_TRACE_BYTES 7U
#ifndef NN_PAYLOAD
#define NN_PAYLOAD 32U
#endif
#ifndef NN_ANSWER
#define NN_ANSWER 32U
#endif
#ifndef NN_WINDOW
#define NN_WINDOW 1U
#endif
#ifndef NN_STANDALONE
#define NN_STANDALONE 0
#endif
#define NN_BAUD 115200UL
#define NN_CLOCK_HZ 11059200UL
#define NN_BOUNDED_SAMPLE 1
#define NN_BOUNDED_STATE 1
#define NN_ROWS 5U
#define NN_ORDER_SIZE 8U
#define NN_BATCH 2U

#endif
