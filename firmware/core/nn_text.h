/*
 * The text a board prints while it trains by itself: lines that any serial monitor shows and any
 * plotter of `label:value` pairs draws.
 */
#ifndef NN_TEXT_H
#define NN_TEXT_H

#include "nn_config.h"
#include "nn_types.h"

/* "program:0012C0DE<newline>": what is going to train. */
void nn_text_program(uint32_t program) NN_STACKED;

#ifdef NN_CHECKPOINT
/* "resumed:120<newline>": the step of the checkpoint from which training goes on. */
void nn_text_resumed(uint32_t step) NN_STACKED;
#endif

/* "step:120<tab>loss:0.412<newline>", the loss in thousandths. */
void nn_text_step(uint32_t step, uint32_t loss_milli) NN_STACKED;

/* "done:4311<tab>digest:09AF<newline>". */
void nn_text_done(uint32_t steps, uint16_t digest) NN_STACKED;

#endif
