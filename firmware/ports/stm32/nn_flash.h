/*
 * How the flash of every STM32 is waited for and unlocked. Each family's registers and bits, KEYR,
 * SR, SR_BSY, CR and CR_LOCK, come before.
 */
#ifndef NN_FLASH_H
#define NN_FLASH_H

#define KEY_1 0x45670123UL
#define KEY_2 0xCDEF89ABUL

static void await(void) {
    while ((SR & SR_BSY) != 0U) {
    }
}

static void unlock(void) {
    await();
    if ((CR & CR_LOCK) != 0U) {
        KEYR = KEY_1;
        KEYR = KEY_2;
    }
}

#endif
