/* One second of sound to the level-free picture of crywatch.detection.blazenet.frontend, scale mean.
 *
 * C99, float, no allocation: all memory is the caller's. Two frames share one complex transform.
 */
#include "crywatch.h"
#include "tables.h"

#include <math.h>

#define BINS (CRYWATCH_FFT / 2 + 1)

/* In place, of powers of two: samples in natural order to bins in natural order. */
static void transform(float *re, float *im)
{
    for (int i = 1, j = 0; i < CRYWATCH_FFT; i++) {
        int bit = CRYWATCH_FFT >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            float swapped = re[i];
            re[i] = re[j], re[j] = swapped;
            swapped = im[i];
            im[i] = im[j], im[j] = swapped;
        }
    }
    for (int half = 1; half < CRYWATCH_FFT; half <<= 1) {
        const int step = CRYWATCH_FFT / (2 * half);
        for (int first = 0; first < CRYWATCH_FFT; first += 2 * half)
            for (int k = 0; k < half; k++) {
                const float c = crywatch_cosines[k * step], s = -crywatch_sines[k * step];
                const int a = first + k, b = a + half;
                const float r = re[b] * c - im[b] * s, i = re[b] * s + im[b] * c;
                re[b] = re[a] - r, im[b] = im[a] - i;
                re[a] += r, im[a] += i;
            }
    }
}

/* The bands of one frame, in decibels, from its bins' powers. */
static void decibels(const float *power, float *picture, int frame)
{
    const float *weight = crywatch_filters;
    for (int band = 0; band < CRYWATCH_BANDS; band++) {
        float sum = 0.0f;
        for (int bin = 0; bin < crywatch_filter_bins[band]; bin++)
            sum += *weight++ * power[crywatch_filter_first[band] + bin];
        sum = sum > CRYWATCH_AMIN ? sum : CRYWATCH_AMIN;
        picture[band * CRYWATCH_FRAMES + frame] = 10.0f * log10f(sum);
    }
}

float crywatch_rms(const float *wave)
{
    double sum = 0.0;
    for (int i = 0; i < CRYWATCH_SAMPLES; i++)
        sum += (double)wave[i] * wave[i];
    return (float)sqrt(sum / CRYWATCH_SAMPLES);
}

int crywatch_silent(const float *wave)
{
    return crywatch_rms(wave) < CRYWATCH_SILENT_RMS;
}

void crywatch_picture(const float *wave, float *picture, float *work)
{
    float *re = work, *im = work + CRYWATCH_FFT;
    float rms = crywatch_rms(wave);
    rms = rms > CRYWATCH_LEAST_RMS ? rms : CRYWATCH_LEAST_RMS;
    for (int frame = 0; frame < CRYWATCH_FRAMES; frame += 2) {
        const float *one = wave + frame * CRYWATCH_HOP, *other = one + CRYWATCH_HOP;
        for (int i = 0; i < CRYWATCH_FFT; i++) {
            re[i] = one[i] / rms * crywatch_window[i];
            im[i] = other[i] / rms * crywatch_window[i];
        }
        transform(re, im);
        /* One frame is the even part of the sum, the other the odd one: powers in their places. */
        for (int k = 0; k < BINS; k++) {
            const int m = (CRYWATCH_FFT - k) % CRYWATCH_FFT;
            const float ar = 0.5f * (re[k] + re[m]), ai = 0.5f * (im[k] - im[m]);
            const float br = 0.5f * (im[k] + im[m]), bi = 0.5f * (re[m] - re[k]);
            work[2 * CRYWATCH_FFT + k] = ar * ar + ai * ai;
            work[2 * CRYWATCH_FFT + BINS + k] = br * br + bi * bi;
        }
        decibels(work + 2 * CRYWATCH_FFT, picture, frame);
        decibels(work + 2 * CRYWATCH_FFT + BINS, picture, frame + 1);
    }
    float peak = picture[0];
    for (int i = 1; i < CRYWATCH_PIXELS; i++)
        peak = picture[i] > peak ? picture[i] : peak;
    double sum = 0.0;
    for (int i = 0; i < CRYWATCH_PIXELS; i++) {
        picture[i] = picture[i] > peak - CRYWATCH_TOP_DB ? picture[i] : peak - CRYWATCH_TOP_DB;
        sum += picture[i];
    }
    const float mean = (float)(sum / CRYWATCH_PIXELS);
    for (int i = 0; i < CRYWATCH_PIXELS; i++)
        picture[i] = (picture[i] - mean) / CRYWATCH_SCALE_DB;
}
