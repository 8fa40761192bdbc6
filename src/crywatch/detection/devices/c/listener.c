/* Logits of windows to probabilities of seconds and to events, as `crywatch detect` makes them:
 * crywatch.detection.robust.context.pool and crywatch.detection.decisions, window by window.
 */
#include "crywatch.h"

#include <math.h>

void crywatch_start(struct crywatch_listener *listener)
{
    *listener = (struct crywatch_listener){.first = -1};
}

/* What is heard from `before` windows before to `after` after window number `centre`. */
static float pooled(const struct crywatch_listener *listener, int before, int after, int soft)
{
    const long centre = listener->windows - 1 - CRYWATCH_LOOKAHEAD;
    const long begin = centre > before ? centre - before : 0;
    float highest = -1e30f;
    double sum = 0.0, exponentials = 0.0;
    for (long w = begin; w <= centre + after; w++) {
        const float logit = listener->logits[w % CRYWATCH_REACH];
        sum += logit;
        highest = logit > highest ? logit : highest;
    }
    const double count = (double)(centre + after - begin + 1);
    if (soft == CRYWATCH_POOL_MEAN)
        return (float)(sum / count);
    if (soft == CRYWATCH_POOL_MAX)
        return highest;
    for (long w = begin; w <= centre + after; w++)
        exponentials += exp(listener->logits[w % CRYWATCH_REACH] - highest);
    return highest + (float)log(exponentials / count);
}

float crywatch_probability(float logit)
{
    const float most = 16.1181f; /* of a probability 1e-7 from 0 or 1 */
    logit = logit > most ? most : logit < -most ? -most : logit;
#if CRYWATCH_KNOTS
    static const float scores[] = CRYWATCH_KNOT_SCORES;
    static const float probabilities[] = CRYWATCH_KNOT_PROBABILITIES;
    const float score = 1.0f / (1.0f + expf(-logit));
    int k = 0;
    while (k < CRYWATCH_KNOTS && scores[k] < score)
        k++;
    float knotted = probabilities[k < CRYWATCH_KNOTS ? k : CRYWATCH_KNOTS - 1];
    if (k > 0 && k < CRYWATCH_KNOTS)
        knotted = probabilities[k - 1] + (score - scores[k - 1]) / (scores[k] - scores[k - 1])
                                             * (probabilities[k] - probabilities[k - 1]);
    return (1.0f - CRYWATCH_SCORE_SHARE) * knotted + CRYWATCH_SCORE_SHARE * score;
#else
    return 1.0f / (1.0f + expf(-(CRYWATCH_SLOPE * logit + CRYWATCH_OFFSET)));
#endif
}

/* Stretches at or above `off`, with gaps: a cry from the second on in which it is high and long. */
static void decide(struct crywatch_listener *listener)
{
    if (listener->probability >= CRYWATCH_OFF) {
        if (listener->first < 0)
            listener->first = listener->second, listener->peak = 0.0f;
        listener->last = listener->second;
        if (listener->probability > listener->peak)
            listener->peak = listener->probability;
        listener->crying = listener->peak >= CRYWATCH_ON
                           && listener->last - listener->first + 1 >= CRYWATCH_MIN_EVENT_S;
    } else if (listener->first >= 0 && listener->second - listener->last > CRYWATCH_MAX_GAP_S) {
        listener->first = -1;
        listener->crying = 0;
    }
}

int crywatch_hear(struct crywatch_listener *listener, float logit)
{
    listener->logits[listener->windows % CRYWATCH_REACH] = logit;
    listener->windows++;
    const long centre = listener->windows - 1 - CRYWATCH_LOOKAHEAD;
    if (centre < 0 || centre % CRYWATCH_HOPS)
        return 0;
    const float own = pooled(listener, CRYWATCH_OWN, CRYWATCH_OWN, CRYWATCH_POOL_MEAN);
    float all = own;
#if CRYWATCH_BEFORE || CRYWATCH_AFTER
    const float near = pooled(listener, CRYWATCH_BEFORE, CRYWATCH_AFTER, CRYWATCH_POOLING);
    all = CRYWATCH_OWN_WEIGHT * own + (1.0f - CRYWATCH_OWN_WEIGHT) * near;
#endif
    listener->second = centre / CRYWATCH_HOPS;
    listener->probability = crywatch_probability(all);
    decide(listener);
    return 1;
}

#ifdef CRYWATCH_INPUT_SCALE
void crywatch_quantise(const float *picture, signed char *input)
{
    for (int i = 0; i < CRYWATCH_PIXELS; i++) {
        const float value = rintf(picture[i] / CRYWATCH_INPUT_SCALE) + CRYWATCH_INPUT_ZERO;
        input[i] = (signed char)(value < -128.0f ? -128.0f : value > 127.0f ? 127.0f : value);
    }
}

float crywatch_logit(signed char output)
{
    return CRYWATCH_OUTPUT_SCALE * (float)(output - CRYWATCH_OUTPUT_ZERO);
}
#endif
