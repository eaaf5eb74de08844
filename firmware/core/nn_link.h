/*
 * The board's end of the link (docs/protocol.md): takes a frame, does what it asks at most once,
 * and answers.
 */
#ifndef NN_LINK_H
#define NN_LINK_H

/* Waits for one frame and answers it. */
void nn_link_serve(void);

#endif
