#ifndef NN_NET_H
#define NN_NET_H

#include "nn_types.h"

#define NN_STATE_SEGMENTS 3U
#define NN_TRACE_SEGMENTS 1U
extern const nn_segment_t nn_state_map[NN_STATE_SEGMENTS];
extern const nn_segment_t nn_trace_map[NN_TRACE_SEGMENTS];

#endif
