/*
 * The EEPROM of an STC89C5xRC: its registers, what triggers a command, and how long the flash
 * takes at this clock (STC89C51RC/RD+ data sheet, "EEPROM").
 */
#ifndef NN_IAP_H
#define NN_IAP_H

#include "nn_config.h"
#include "nn_types.h"

__sfr __at(0xE2) IAP_DATA;
__sfr __at(0xE3) IAP_ADDRH;
__sfr __at(0xE4) IAP_ADDRL;
__sfr __at(0xE5) IAP_CMD;
__sfr __at(0xE6) IAP_TRIG;
__sfr __at(0xE7) IAP_CONTR;

#define TRIGGER_1 0x46U
#define TRIGGER_2 0xB9U

#if NN_CLOCK_HZ > 20000000UL
#define IAP_ON 0x80U
#elif NN_CLOCK_HZ > 10000000UL
#define IAP_ON 0x81U
#else
#define IAP_ON 0x82U
#endif

#endif
