#ifndef NN_PROGRAM_H
#define NN_PROGRAM_H

#include <stdint.h>

#define NN_PROGRAM store_program
extern uint32_t store_program;

#endif
