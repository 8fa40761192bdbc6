#include "loop.h"

#include <string.h>

void loop_start(struct loop *loop, loop_network network)
{
    memset(loop, 0, sizeof *loop);
    loop->network = network;
    crywatch_start(&loop->listener);
}

int loop_hear(struct loop *loop, const short *samples)
{
    memmove(loop->wave, loop->wave + LOOP_STEP, sizeof loop->wave - LOOP_STEP * sizeof(float));
    for (int i = 0; i < LOOP_STEP; i++)
        loop->wave[CRYWATCH_SAMPLES - LOOP_STEP + i] = samples[i] / 32768.0f;
    if (loop->filled < CRYWATCH_SAMPLES)
        loop->filled += LOOP_STEP;
    if (loop->filled < CRYWATCH_SAMPLES)
        return 0;
    float logit = CRYWATCH_SILENT_LOGIT;
    if (!crywatch_silent(loop->wave)) {
        crywatch_picture(loop->wave, loop->picture, loop->work);
        crywatch_quantise(loop->picture, loop->input);
        logit = crywatch_logit(loop->network(loop->input));
    }
    return crywatch_hear(&loop->listener, logit);
}
