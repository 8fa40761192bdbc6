/* The loop of a device between its microphone and its network; no hardware in it. */
#ifndef LOOP_H
#define LOOP_H

#include "crywatch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOOP_STEP (CRYWATCH_SAMPLES / CRYWATCH_HOPS) /* samples from window to window */

/* Runs network_int8.tflite on CRYWATCH_PIXELS whole numbers. */
typedef signed char (*loop_network)(const signed char *input);

struct loop {
    float wave[CRYWATCH_SAMPLES]; /* the last second */
    float picture[CRYWATCH_PIXELS];
    float work[CRYWATCH_WORK];
    signed char input[CRYWATCH_PIXELS];
    int filled; /* samples of the first second so far */
    struct crywatch_listener listener;
    loop_network network;
};

void loop_start(struct loop *loop, loop_network network);

/* The next LOOP_STEP samples of 16 bits; 1 where loop->listener has decided a second. */
int loop_hear(struct loop *loop, const short *samples);

#ifdef __cplusplus
}
#endif
#endif
