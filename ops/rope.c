/* SPDX-License-Identifier: Apache-2.0 */
/* ops/rope.c - tables of cos and sin for the rotary embedding and its scalings. */
#include "ek/vector.h"

#include <math.h>

static const double TWO_PI = 6.283185307179586476925286766559;

static double or_default(double v, double def)
{
    return v != 0 ? v : def;
}

static double clamp01(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Llama 3.1: long wavelengths are slowed by factor, short ones kept, blended in between. */
static double llama3(const struct ek_rope_config *c, double freq)
{
    const double low = or_default(c->low_freq, 1), high = or_default(c->high_freq, 4);
    const double turns = c->original_context * freq / TWO_PI; /* context / wavelength */
    if (turns < low) return freq / c->factor;
    if (turns > high) return freq;
    const double keep = (turns - low) / (high - low);
    return (1 - keep) * freq / c->factor + keep * freq;
}

/* YaRN: the dimension at which a position makes `turns` turns over the original context. */
static double yarn_dim(const struct ek_rope_config *c, double rot, double turns)
{
    return rot * log(c->original_context / (turns * TWO_PI)) / (2 * log(c->theta));
}

static double yarn(const struct ek_rope_config *c, double rot, double i, double freq)
{
    const double lo0 = floor(yarn_dim(c, rot, or_default(c->beta_fast, 32)));
    const double hi0 = ceil(yarn_dim(c, rot, or_default(c->beta_slow, 1)));
    const double lo = lo0 > 0 ? lo0 : 0, hi1 = hi0 < rot - 1 ? hi0 : rot - 1;
    const double hi   = hi1 == lo ? hi1 + 0.001 : hi1;
    const double ramp = clamp01((i - lo) / (hi - lo)); /* 0: keep, 1: interpolate */
    return freq * (1 - ramp) + freq / c->factor * ramp;
}

static double frequency(const struct ek_rope_config *c, size_t rot, size_t i)
{
    const double freq = pow(c->theta, -2.0 * (double)i / (double)rot);
    switch (c->scaling) {
    case EK_ROPE_PLAIN: break;
    case EK_ROPE_LINEAR: return freq / c->factor;
    case EK_ROPE_LLAMA3: return llama3(c, freq);
    case EK_ROPE_YARN: return yarn(c, (double)rot, (double)i, freq);
    }
    return freq;
}

static int config_sound(const struct ek_rope_config *c)
{
    if (!c || c->struct_size < sizeof *c || !(c->theta > 0)) return 0;
    switch (c->scaling) {
    case EK_ROPE_PLAIN: return 1;
    case EK_ROPE_LINEAR: return c->factor >= 1;
    case EK_ROPE_LLAMA3:
        return c->factor >= 1 && c->original_context > 0 &&
               or_default(c->high_freq, 4) > or_default(c->low_freq, 1);
    case EK_ROPE_YARN: return c->factor >= 1 && c->original_context > 0 && c->theta != 1;
    }
    return 0;
}

ek_status ek_rope_table(const struct ek_rope_config *c, size_t rot, size_t pos0, size_t count,
                        float *cos_table, float *sin_table)
{
    if (!config_sound(c) || !rot || rot % 2 || !count || !cos_table || !sin_table) return EK_E_ARG;
    const double scale = c->scaling != EK_ROPE_YARN ? 1
                         : c->attention_factor != 0 ? c->attention_factor
                                                    : 0.1 * log(c->factor) + 1;
    for (size_t i = 0; i < rot / 2; i++) {
        const double f = frequency(c, rot, i);
        for (size_t p = 0; p < count; p++) {
            cos_table[p * (rot / 2) + i] = (float)(scale * cos((double)(pos0 + p) * f));
            sin_table[p * (rot / 2) + i] = (float)(scale * sin((double)(pos0 + p) * f));
        }
    }
    return EK_OK;
}
