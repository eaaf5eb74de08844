/*
 * A stand-in for a generated net: every call leaves a mark in the state that depends on all marks
 * before it, so a step that is missed, repeated or fed other bytes changes all that follows.
 */
#ifndef NN_NET_H
#define NN_NET_H

#include "nn_types.h"

extern const NN_CODE nn_segment_t nn_state_map[];
extern const NN_CODE nn_segment_t nn_sample_map[];
#define NN_TRACE_SEGMENTS 2U
extern const NN_CODE nn_segment_t nn_trace_map[NN_TRACE_SEGMENTS];

void nn_init(void);
void nn_epoch(void);
void nn_pick(void);
void nn_forward(void);
void nn_measure(void);
void nn_backward(void);
void nn_update(void);
uint32_t nn_report_loss(void);
uint16_t nn_report_prediction(void);
uint32_t nn_report_milli(void);
void nn_set_batch(uint8_t first, uint8_t last);
uint8_t nn_sound_sample(void);
uint8_t nn_sound_state(void);
void nn_set_position(uint16_t position);
uint16_t nn_get_row(void);
void nn_load_row(uint16_t row);

#endif
