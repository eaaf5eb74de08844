/*
 * The EEPROM of an STC8: its registers, what triggers a command, and how long the flash takes at
 * this clock (STC8A8K64S4A12 data sheet, "EEPROM").
 */
#ifndef NN_IAP_H
#define NN_IAP_H

#include "nn_config.h"
#include "nn_types.h"

__sfr __at(0xC2) IAP_DATA;
__sfr __at(0xC3) IAP_ADDRH;
__sfr __at(0xC4) IAP_ADDRL;
__sfr __at(0xC5) IAP_CMD;
__sfr __at(0xC6) IAP_TRIG;
__sfr __at(0xC7) IAP_CONTR;

#define TRIGGER_1 0x5AU
#define TRIGGER_2 0xA5U

#if NN_CLOCK_HZ > 24000000UL
#define IAP_ON 0x80U
#elif NN_CLOCK_HZ > 20000000UL
#define IAP_ON 0x81U
#elif NN_CLOCK_HZ > 12000000UL
#define IAP_ON 0x82U
#else
#define IAP_ON 0x83U
#endif

#endif
