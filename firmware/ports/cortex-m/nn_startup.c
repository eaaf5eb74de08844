/*
 * Start-up of a Cortex-M: vector table, initial values of variables, main. Interrupts only wake the
 * chip, none is served. nn_cortex_m.ld says where everything lies.
 */
#include "nn_cortex_m.h"
#include "nn_port.h"

#define NVIC_ISER(interrupt) NN_REGISTER(0xE000E100UL + (((interrupt) / 32U) * 4U))
#define NVIC_ICPR(interrupt) NN_REGISTER(0xE000E280UL + (((interrupt) / 32U) * 4U))
#define CPACR NN_REGISTER(0xE000ED88UL)
#define CPACR_VECTORS (0xFUL << 20) /* coprocessors 10 and 11: the vector registers */
#define AIRCR NN_REGISTER(0xE000ED0CUL)
#define AIRCR_RESET 0x05FA0004UL /* SYSRESETREQ, with its key */

extern const uint32_t nn_data_load[];
extern uint32_t nn_data[];
extern uint32_t nn_bss[];
extern uint32_t nn_stack[];
extern uint32_t nn_stack_end[];

/* Not variables: their addresses are numbers of words. */
extern uint32_t nn_data_words[];
extern uint32_t nn_bss_words[];

#define UNTOUCHED 0xA5A5A5A5UL /* fills the stack, so that it shows how far it has grown */

int main(void);
void nn_startup(void);

/* The stack's end, reset, then 14 exceptions, none of which this firmware expects. */
typedef struct {
    uint32_t *stack;
    void (*reset)(void);
    void (*exceptions[14])(void);
} nn_vectors_t;

/* Stands still, so that a debugger shows where; to the host, the board falls silent. */
static void halt(void) {
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const nn_vectors_t vectors = {
    nn_stack_end,
    nn_startup,
    {halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt},
};

void nn_startup(void) {
    const uintptr_t data_words = (uintptr_t)nn_data_words;
    const uintptr_t bss_words = (uintptr_t)nn_bss_words;
    volatile uint32_t *free; /* volatile: the loop must not become a call, which would use them */
    uintptr_t i;
#if defined(__ARM_FEATURE_MVE)
    CPACR |= CPACR_VECTORS;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    for (i = 0U; i < data_words; i++) {
        nn_data[i] = nn_data_load[i];
    }
    for (i = 0U; i < bss_words; i++) {
        nn_bss[i] = 0U;
    }
    for (free = nn_stack; free < (uint32_t *)__builtin_frame_address(0); free++) {
        *free = UNTOUCHED;
    }
    (void)main();
    halt();
}

uint16_t nn_port_stack(void) {
    const uint32_t *free = nn_stack;
    while (*free == UNTOUCHED) {
        free++;
    }
    return (uint16_t)((uintptr_t)nn_stack_end - (uintptr_t)free);
}

void nn_cortex_m_expect(uint32_t interrupt) {
    __asm volatile("cpsid i" ::: "memory");
    NVIC_ISER(interrupt) = 1UL << (interrupt % 32U);
}

void nn_cortex_m_sleep(uint32_t interrupt) {
    __asm volatile("dsb\n\twfi" ::: "memory");
    NVIC_ICPR(interrupt) = 1UL << (interrupt % 32U);
}

void nn_cortex_m_reset(void) {
    __asm volatile("dsb" ::: "memory");
    AIRCR = AIRCR_RESET;
    halt();
}
