/* SPDX-License-Identifier: Apache-2.0 */
/* model/ggml_blocks.c - decodes the quantised blocks of GGUF files. */
#include "model/ggml_blocks.h"

#include <string.h>

static const struct {
    const char   *name;
    uint32_t      number; /* ggml's */
    unsigned char columns_log2;
    unsigned char bytes;
} types[] = {
    [TENSOR_F32] = {"F32", 0, 0, 4},      [TENSOR_F16] = {"F16", 1, 0, 2},
    [TENSOR_BF16] = {"BF16", 30, 0, 2},   [TENSOR_Q8_0] = {"Q8_0", 8, 5, 34},
    [TENSOR_Q4_0] = {"Q4_0", 2, 5, 18},   [TENSOR_Q4_1] = {"Q4_1", 3, 5, 20},
    [TENSOR_Q5_0] = {"Q5_0", 6, 5, 22},   [TENSOR_Q4_K] = {"Q4_K", 12, 8, 144},
    [TENSOR_Q5_K] = {"Q5_K", 13, 8, 176}, [TENSOR_Q6_K] = {"Q6_K", 14, 8, 210},
};
enum { TYPES = sizeof types / sizeof *types };

const char *tensor_type_name(enum tensor_type type)
{
    return (unsigned)type < TYPES   ? types[type].name
           : type == TENSOR_NEURONS ? "neurons"
                                    : "packed";
}

ek_status ggml_type(uint32_t number, enum tensor_type *type)
{
    for (unsigned i = 0; i < TYPES; i++)
        if (types[i].number == number) {
            *type = (enum tensor_type)i;
            return EK_OK;
        }
    return EK_E_UNSUPPORTED;
}

const char *ggml_type_name(uint32_t number)
{
    static const char *const names[] = {
        "F32",      "F16",      "Q4_0",    "Q4_1",  "Q4_2",   "Q4_3",  "Q5_0",  "Q5_1",
        "Q8_0",     "Q8_1",     "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
        "IQ2_XXS",  "IQ2_XS",   "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
        "I8",       "I16",      "I32",     "I64",   "F64",    "IQ1_M", "BF16",  "Q4_0_4_4",
        "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0"};
    return number < sizeof names / sizeof *names ? names[number] : "of an unknown type";
}

size_t ggml_block_columns(enum tensor_type type)
{
    return (size_t)1 << types[type].columns_log2;
}

size_t ggml_block_bytes(enum tensor_type type)
{
    return types[type].bytes;
}

static uint16_t half_bits(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

static float half_at(const unsigned char *p)
{
    return ek_f32_from_f16(half_bits(p));
}

/* ---- codes of one block: 32 or 256 of them ---- */

/* 16 bytes: columns 0..15 in the low nibbles, 16..31 in the high ones. */
static void nibbles_32(const unsigned char *p, uint8_t *q)
{
    for (size_t i = 0; i < 16; i++) q[i] = p[i] & 15, q[i + 16] = p[i] >> 4;
}

static void codes_q5_0(const unsigned char *p, uint8_t *q)
{
    uint32_t high;
    memcpy(&high, p + 2, sizeof high);
    nibbles_32(p + 6, q);
    for (size_t i = 0; i < 32; i++) q[i] = (uint8_t)(q[i] | (high >> i & 1) << 4);
}

/* 128 bytes: 32 of them hold columns 64 p + 0..31 (low) and 64 p + 32..63 (high). */
static void nibbles_256(const unsigned char *p, uint8_t *q)
{
    for (size_t i = 0; i < 128; i++) {
        const size_t column = i / 32 * 64 + i % 32;
        q[column] = p[i] & 15, q[column + 32] = p[i] >> 4;
    }
}

static void codes_q5_k(const unsigned char *p, uint8_t *q)
{
    const unsigned char *high = p + 16;
    nibbles_256(p + 48, q);
    for (size_t i = 0; i < 256; i++) q[i] = (uint8_t)(q[i] | (high[i % 32] >> (i / 32) & 1) << 4);
}

/* Low nibbles in ql[128], upper two bits in qh[64]; each half of 128 columns on its own. */
static void codes_q6_k(const unsigned char *p, uint8_t *q)
{
    for (size_t i = 0; i < 256; i++) {
        const size_t   half = i / 128, quarter = i % 128 / 32, l = i % 32;
        const unsigned low = p[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
        const unsigned up  = p[128 + half * 32 + l] >> (quarter * 2) & 3;
        q[i]               = (uint8_t)(low | up << 4);
    }
}

/* The 6-bit scale and minimum of group j from the twelve bytes of Q4_K and Q5_K. */
static void scales_k(const unsigned char *b, size_t j, uint8_t *sd, uint8_t *sm)
{
    *sd = (uint8_t)(j < 4 ? b[j] & 63 : (b[j + 4] & 15) | b[j - 4] >> 6 << 4);
    *sm = (uint8_t)(j < 4 ? b[j + 4] & 63 : b[j + 4] >> 4 | b[j] >> 6 << 4);
}

/* ---- values ---- */

static void decode_32(enum tensor_type type, const unsigned char *p, float *out)
{
    const float d = half_at(p), m = half_at(p + 2);
    uint8_t     q[32];
    if (type == TENSOR_Q8_0) {
        for (size_t i = 0; i < 32; i++)
            out[i] = d * (float)(p[2 + i] < 128 ? p[2 + i] : p[2 + i] - 256);
        return;
    }
    if (type == TENSOR_Q5_0)
        codes_q5_0(p, q);
    else
        nibbles_32(p + (type == TENSOR_Q4_1 ? 4 : 2), q);
    const float zero = type == TENSOR_Q4_0 ? 8.0F : type == TENSOR_Q5_0 ? 16.0F : 0.0F;
    for (size_t i = 0; i < 32; i++)
        out[i] = type == TENSOR_Q4_1 ? d * (float)q[i] + m : d * ((float)q[i] - zero);
}

static void decode_k(enum tensor_type type, const unsigned char *p, float *out)
{
    const float d = half_at(p), m = half_at(p + 2);
    uint8_t     q[256];
    if (type == TENSOR_Q4_K)
        nibbles_256(p + 16, q);
    else
        codes_q5_k(p, q);
    for (size_t j = 0; j < 8; j++) {
        uint8_t sd, sm;
        scales_k(p + 4, j, &sd, &sm);
        const float scale = d * (float)sd, least = m * (float)sm;
        for (size_t i = j * 32; i < j * 32 + 32; i++) out[i] = scale * (float)q[i] - least;
    }
}

static void decode_q6_k(const unsigned char *p, float *out)
{
    const float d = half_at(p + 208);
    uint8_t     q[256];
    codes_q6_k(p, q);
    for (size_t i = 0; i < 256; i++) {
        const int byte = p[192 + i / 16], scale = byte < 128 ? byte : byte - 256;
        out[i] = d * (float)scale * ((float)q[i] - 32);
    }
}

void ggml_decode(enum tensor_type type, const unsigned char *data, size_t k, float *out)
{
    const size_t columns = ggml_block_columns(type), bytes = ggml_block_bytes(type);
    switch (type) {
    case TENSOR_F32: memcpy(out, data, k * sizeof *out); break;
    case TENSOR_F16:
        for (size_t c = 0; c < k; c++) out[c] = half_at(data + 2 * c);
        break;
    case TENSOR_BF16:
        for (size_t c = 0; c < k; c++) { /* the upper half of an f32 */
            const uint32_t bits = (uint32_t)half_bits(data + 2 * c) << 16;
            memcpy(&out[c], &bits, sizeof bits);
        }
        break;
    case TENSOR_Q8_0:
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
    case TENSOR_Q5_0:
        for (size_t c = 0; c < k; c += columns, data += bytes) decode_32(type, data, out + c);
        break;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        for (size_t c = 0; c < k; c += columns, data += bytes) decode_k(type, data, out + c);
        break;
    case TENSOR_Q6_K:
        for (size_t c = 0; c < k; c += columns, data += bytes) decode_q6_k(data, out + c);
        break;
    case TENSOR_PACKED:
    case TENSOR_NEURONS:
    case TENSOR_TYPES: break;
    }
}

/* ---- codes of one row ---- */

void ggml_codes(enum tensor_type type, const unsigned char *data, size_t k,
                const struct ek_codes *c)
{
    const size_t columns = ggml_block_columns(type), bytes = ggml_block_bytes(type);
    for (size_t b = 0; b < k / columns; b++, data += bytes) {
        uint8_t *q = c->q + b * columns;
        c->d[b]    = half_bits(data);
        if (type == TENSOR_Q4_1 || type == TENSOR_Q4_K) c->m[b] = half_bits(data + 2);
        if (type == TENSOR_Q8_0)
            for (size_t i = 0; i < 32; i++) q[i] = data[2 + i] ^ 0x80; /* value + 128 */
        else if (type == TENSOR_Q4_K)
            nibbles_256(data + 16, q);
        else
            nibbles_32(data + (type == TENSOR_Q4_1 ? 4 : 2), q);
        for (size_t j = 0; j < 8 && type == TENSOR_Q4_K; j++)
            scales_k(data + 4, j, &c->sd[b * 8 + j], &c->sm[b * 8 + j]);
    }
}
