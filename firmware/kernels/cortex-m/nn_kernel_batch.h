/*
 * What a batch gathers, of the steps of an instruction set that changes several weights at once:
 * nn_kernel_update, nn_clear and nn_move are its own, and come before.
 */
#ifndef NN_KERNEL_BATCH_H
#define NN_KERNEL_BATCH_H

/*
 * Slots that gather the steps of a batch:
 * saturate((first ? 0 : slot) - ((factor * x + noise) >> p)).
 */
NN_INLINE void nn_kernel_gather(int16_t *room, int16_t *slot, const void *x, uint8_t kind,
                                const int16_t *factor, const uint16_t *draws, uint8_t first,
                                uint16_t rows, uint16_t columns, uint8_t p) {
    if (first != 0U) {
        nn_clear(slot, rows, columns);
    }
    nn_kernel_update(room, slot, x, kind, factor, draws, rows, columns, p);
}

/* Velocities, which gather them as well. */
NN_INLINE void nn_kernel_velocity(int16_t *room, int16_t *velocity, const void *x, uint8_t kind,
                                  const int16_t *factor, const uint16_t *draws, uint8_t first,
                                  uint16_t momentum, uint16_t rows, uint16_t columns, uint8_t p) {
    if (first != 0U) {
        nn_move(velocity, x, kind, factor, draws, momentum, rows, columns, p);
    } else {
        nn_kernel_update(room, velocity, x, kind, factor, draws, rows, columns, p);
    }
}

#endif
