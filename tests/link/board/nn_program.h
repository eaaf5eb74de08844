/* The program of the link's test board. */
#ifndef NN_PROGRAM_H
#define NN_PROGRAM_H

#define NN_PROGRAM 0xC0FFEE42UL
#define NN_EPOCHS 3U
#define NN_SEED 7U

#endif
