/*
 * Start-up of a Cortex-M: vector table, initial values of variables, main. An exception resets the
 * chip, and leaves a note of where it struck. nn_cortex_m.ld says where everything lies.
 */
#include "nn_cortex_m.h"
#include "nn_messages.h"
#include "nn_port.h"

#define CPACR NN_REGISTER(0xE000ED88UL)
#define CPACR_VECTORS (0xFUL << 20) /* coprocessors 10 and 11: the vector registers */
#define AIRCR NN_REGISTER(0xE000ED0CUL)
#define AIRCR_RESET 0x05FA0004UL /* SYSRESETREQ, with its key */

extern const uint8_t nn_text[];
extern const uint32_t nn_data_load[];
extern uint32_t nn_data[];
extern uint32_t nn_bss[];
extern uint32_t nn_stack[];
extern uint32_t nn_stack_end[];

/* Not variables: their addresses are numbers of bytes and words. */
extern const uint8_t nn_text_bytes[];
extern const uint8_t nn_data_bytes[];
extern uint32_t nn_data_words[];
extern uint32_t nn_bss_words[];

#define UNTOUCHED 0xA5A5A5A5UL /* fills the stack, so that it shows how far it has grown */
#define NOTED 0x6E6F7465UL     /* the note is one, and not what memory holds after power-on */
#define INTERRUPTS 72U         /* the last UART's is 71 */
#define NMI 2U                 /* the number of the exception that warns of a watchdog */

/* What a reset leaves alone: why the firmware itself made the chip start again, and where. */
static __attribute__((section(".noinit"))) struct {
    uint32_t noted;
    uint32_t cause;
    uint32_t at;
} note;

static uint8_t start_cause; /* of this start, and where it was then */
static uint32_t start_at;

int main(void);
void nn_startup(void);

/* The stack's end, reset, 14 exceptions, of which only the SysTick is expected, interrupts. */
typedef struct {
    uint32_t *stack;
    void (*reset)(void);
    void (*exceptions[14])(void);
    void (*interrupts[INTERRUPTS])(void);
} nn_vectors_t;

__attribute__((noreturn)) static void reset(uint8_t cause, uint32_t at) {
    note.noted = NOTED;
    note.cause = cause;
    note.at = at;
    __asm volatile("dsb" ::: "memory");
    AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

__attribute__((used, noreturn)) static void note_exception(uint32_t at, uint32_t number) {
    reset((uint8_t)((number == NMI) ? NN_CAUSE_WATCHDOG : NN_CAUSE_FAULT), at);
}

/*
 * The exception has stacked eight words, the seventh of which is where it struck. If the stack has
 * run out, so that they are not in it, nobody knows. The handler begins the stack anew.
 */
__attribute__((naked)) static void catch (void) {
    __asm volatile(".syntax unified\n\t"
                   "mrs r2, msp\n\t"
                   "ldr r1, =nn_stack_end\n\t"
                   "mov sp, r1\n\t"
                   "subs r1, #32\n\t"
                   "movs r0, #0\n\t"
                   "cmp r2, r1\n\t"
                   "bhi 1f\n\t"
                   "ldr r1, =nn_stack\n\t"
                   "cmp r2, r1\n\t"
                   "blo 1f\n\t"
                   "ldr r0, [r2, #24]\n"
                   "1: mrs r1, ipsr\n\t"
                   "bl note_exception\n\t"
                   ".ltorg");
}

const nn_part_t nn_port_image[NN_PORT_PARTS] = {
    {nn_text, (uint32_t)nn_text_bytes},
    {(const uint8_t *)nn_data_load, (uint32_t)nn_data_bytes},
};

/* The SysTick has ended a sleep. */
static void wake(void) {}

__attribute__((section(".vectors"), used)) static const nn_vectors_t vectors = {
    nn_stack_end,
    nn_startup,
    {catch, catch, catch, catch, catch, catch, catch, catch, catch, catch, catch, catch, catch,
     wake},
    {[0 ... INTERRUPTS - 1U] = nn_cortex_m_serve},
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
    start_cause = nn_chip_cause();
    if (note.noted == NOTED) {
        start_cause = (uint8_t)note.cause;
        start_at = note.at;
    }
    note.noted = 0U;
    (void)main();
}

uint16_t nn_port_stack(void) {
    const uint32_t *free = nn_stack;
    while (*free == UNTOUCHED) {
        free++;
    }
    return (uint16_t)((uintptr_t)nn_stack_end - (uintptr_t)free);
}

uint8_t nn_port_overrun(void) { return (uint8_t)(nn_stack[0] != UNTOUCHED); }

uint8_t nn_port_cause(void) { return start_cause; }

uint32_t nn_port_fault(void) { return start_at; }

void nn_cortex_m_reset(void) { reset(NN_CAUSE_SOFTWARE, 0U); }
