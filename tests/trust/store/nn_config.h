/* A state in three pieces, and slots of three pages of which a checkpoint takes two. */
#ifndef NN_CONFIG_H
#define NN_CONFIG_H

#define NN_STATE_BYTES 75U
#define NN_TRACE_BYTES 1U
#define NN_CHECKPOINT 1U
#define NN_STANDALONE 1
#define NN_STORE_ORIGIN 0x0UL
#define NN_STORE_SLOT 192UL
#define NN_STORE_PAGE 64UL

#endif
