/*
 * The pages of a board's store: memory that keeps what it holds without power, and is erased page
 * by page. A folder of firmware/ports that the board's record names implements these functions;
 * it is compiled where a net makes checkpoints.
 */
#ifndef NN_PAGES_H
#define NN_PAGES_H

#include "nn_config.h"
#include "nn_types.h"

/* A byte's place in the store, whose two slots have NN_STORE_SLOT bytes each. */
#if NN_STORE_SLOT <= 0x8000UL
typedef uint16_t nn_place_t;
#else
typedef uint32_t nn_place_t;
#endif

#define NN_PAGES_WORD 4U /* bytes; places of words are divisible by it */

/* Turns all bytes of the page that begins at `at` to 0xFF. */
void nn_pages_erase(nn_place_t at);

/* Writes a word; it has been erased since it was last written, or becomes 0. */
void nn_pages_write(nn_place_t at, const NN_XDATA uint8_t *word);

/* Reads a word. What has never been written is 0xFF. */
void nn_pages_read(nn_place_t at, NN_XDATA uint8_t *word);

#endif
