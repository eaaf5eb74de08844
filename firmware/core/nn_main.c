/*
 * The firmware of every board: draw the weights; train, if the data are in flash; then answer
 * the host for ever.
 */
#include "nn_config.h"
#include "nn_link.h"
#include "nn_port.h"
#include "nn_program.h"
#include "nn_train.h"

#if NN_STANDALONE
#include "nn_digest.h"
#include "nn_net.h"
#include "nn_text.h"

#ifdef NN_CHECKPOINT
#include "nn_store.h"

static NN_XDATA uint16_t unsaved; /* steps since the last checkpoint */

/* Goes on from the newest checkpoint, if there is one. */
static void resume(void) {
    const uint32_t step = nn_store_load();
    unsaved = 0U;
    if (step != 0UL) {
        nn_train_resume(step);
        nn_text_resumed(step);
    }
}

/* Makes a checkpoint once so many steps have been made since the last. */
static void keep(uint16_t steps) {
    if (unsaved >= steps) {
        nn_store_save();
        unsaved = 0U;
    }
}
#endif

static void train(void) {
    nn_text_program(NN_PROGRAM);
    nn_train_start(NN_SEED);
#ifdef NN_CHECKPOINT
    resume();
#endif
    while (nn_train_next(NN_EPOCHS) != 0U) {
        nn_load_row(nn_get_row());
        nn_train_visit();
        nn_text_step(nn_train_steps, nn_report_milli());
        nn_port_listen(0U); /* lets the UART rest while the next step computes */
#ifdef NN_CHECKPOINT
        unsaved++;
        keep(NN_CHECKPOINT);
#endif
    }
#ifdef NN_CHECKPOINT
    keep(1U);
#endif
    nn_text_done(nn_train_steps, nn_digest_state());
}
#endif

int main(void) {
    nn_port_init();
#if NN_STANDALONE
    train();
#else
    nn_train_reset(NN_SEED);
#endif
    for (;;) {
        nn_link_serve();
    }
}
