/*
 * The stopwatch of Cortex-M chips with a SysTick: it counts the core's cycles, downwards. While the
 * chip waits, it may be an alarm clock instead.
 */
#include "nn_cortex_m.h"
#include "nn_port.h"

#define SYST_CSR NN_REGISTER(0xE000E010UL)
#define SYST_RVR NN_REGISTER(0xE000E014UL)
#define SYST_CVR NN_REGISTER(0xE000E018UL)

#define CSR_ON 0x5UL /* by the core's clock, without an exception */
#define CSR_OFF 0x4UL
#define CSR_ALARM 0x7UL         /* with an exception, which ends a sleep */
#define CSR_WRAPPED (1UL << 16) /* since CSR was last read or CVR was written */
#define PERIOD (1UL << 24)

void nn_port_clock_start(void) {
    nn_cortex_m_mask();
    SYST_CSR = CSR_OFF; /* if it was an alarm clock */
    SYST_RVR = PERIOD - 1U;
    SYST_CVR = 0U; /* whatever is written sets it to 0; the first count reloads it */
    SYST_CSR = CSR_ON;
}

void nn_cortex_m_tick(uint8_t on) {
    SYST_RVR = PERIOD - 1U;
    SYST_CVR = 0U;
    SYST_CSR = (on != 0U) ? CSR_ALARM : CSR_OFF;
}

uint32_t nn_port_clock_stop(void) {
    const uint32_t left = SYST_CVR;
    const uint32_t wrapped = SYST_CSR & CSR_WRAPPED;
    SYST_CSR = CSR_OFF;
    nn_cortex_m_unmask();
    return ((wrapped != 0U) ? (2U * PERIOD) : PERIOD) - 1U - left;
}
