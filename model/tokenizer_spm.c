/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_spm.c - SentencePiece's tokenizer.model: the few fields of its protobuf.
 * Source: sentencepiece_model.proto; wire format: protobuf's encoding page. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

enum piece_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { UNIGRAM = 1, BPE = 2 };

struct reader {
    const unsigned char *p, *end;
};

struct field {
    uint64_t      number, value; /* of VARINT; FIXED32's bits */
    unsigned      wire;
    struct reader inside; /* of BYTES */
};

static int read_varint(struct reader *r, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        const unsigned char b = *r->p++;
        value |= (uint64_t)(b & 0x7F) << shift;
        if (b & 0x80) continue;
        *out = value;
        return 1;
    }
    return 0;
}

static int take(struct reader *r, uint64_t n, struct reader *out)
{
    if (n > (uint64_t)(r->end - r->p)) return 0;
    *out = (struct reader){r->p, r->p + n};
    r->p += n;
    return 1;
}

/* 1: a field, 0: the end, -1: malformed */
static int next_field(struct reader *r, struct field *f)
{
    uint64_t      tag;
    struct reader bits;
    if (r->p == r->end) return 0;
    if (!read_varint(r, &tag)) return -1;
    f->number = tag >> 3, f->wire = tag & 7, f->value = 0, f->inside = (struct reader){r->p, r->p};
    switch (f->wire) {
    case VARINT: return read_varint(r, &f->value) ? 1 : -1;
    case FIXED64: return take(r, 8, &f->inside) ? 1 : -1;
    case BYTES: return read_varint(r, &f->value) && take(r, f->value, &f->inside) ? 1 : -1;
    case FIXED32:
        if (!take(r, 4, &bits)) return -1;
        f->value = (uint64_t)bits.p[0] | (uint64_t)bits.p[1] << 8 | (uint64_t)bits.p[2] << 16 |
                   (uint64_t)bits.p[3] << 24;
        return 1;
    default: return -1;
    }
}

/* What decides how a text is cut; the defaults are the format's. */
struct settings {
    uint64_t model_type, byte_fallback, suffix;
    int32_t  unk, bos, eos;
    uint64_t prefix, trim, escape, charsmap_bytes;
};

static int read_trainer(struct reader r, struct settings *s)
{
    struct field f;
    int          more;
    while ((more = next_field(&r, &f)) > 0) {
        if (f.wire != VARINT) continue;
        if (f.number == 3) s->model_type = f.value;
        if (f.number == 24) s->suffix = f.value;
        if (f.number == 35) s->byte_fallback = f.value;
        if (f.number == 40) s->unk = (int32_t)f.value;
        if (f.number == 41) s->bos = (int32_t)f.value;
        if (f.number == 42) s->eos = (int32_t)f.value;
    }
    return more;
}

static int read_normalizer(struct reader r, struct settings *s)
{
    struct field f;
    int          more;
    while ((more = next_field(&r, &f)) > 0) {
        if (f.number == 2 && f.wire == BYTES) s->charsmap_bytes = f.value;
        if (f.number == 3 && f.wire == VARINT) s->prefix = f.value;
        if (f.number == 4 && f.wire == VARINT) s->trim = f.value;
        if (f.number == 5 && f.wire == VARINT) s->escape = f.value;
    }
    return more;
}

struct pieces {
    float   *scores;
    uint8_t *types;
    size_t   count, capacity;
};

static int pieces_room(struct pieces *p)
{
    if (p->count < p->capacity) return 1;
    const size_t capacity = p->capacity * 2 + 1024;
    float       *scores   = realloc(p->scores, capacity * sizeof *scores);
    if (scores) p->scores = scores;
    uint8_t *types = scores ? realloc(p->types, capacity) : NULL;
    if (!types) return 0;
    p->types = types, p->capacity = capacity;
    return 1;
}

static ek_status read_piece(struct tokenizer *t, struct reader r, struct pieces *p, struct error *e)
{
    struct field  f;
    struct reader text  = {r.p, r.p};
    float         score = 0;
    uint64_t      type  = NORMAL;
    int           more;
    while ((more = next_field(&r, &f)) > 0) {
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.wire == BYTES) text = f.inside;
        if (f.number == 2 && f.wire == FIXED32) memcpy(&score, &bits, sizeof score);
        if (f.number == 3 && f.wire == VARINT) type = f.value;
    }
    if (more || type < NORMAL || type > BYTE)
        return fail(e, EK_E_FORMAT, "%s: piece %zu: malformed", t->path, p->count);
    if (!pieces_room(p)) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    const unsigned flags = (type == NORMAL || type == USER_DEFINED ? 0 : TOKEN_APART) |
                           (type == CONTROL || type == UNKNOWN ? TOKEN_SPECIAL : 0);
    const ek_status s = vocab_add(t, (int64_t)p->count, (const char *)text.p,
                                  (size_t)(text.end - text.p), flags, e);
    if (s) return s;
    if (vocab_index(t, (int32_t)p->count) < 0)
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    p->scores[p->count] = score, p->types[p->count++] = (uint8_t)type;
    return EK_OK;
}

static ek_status check(const struct tokenizer *t, const struct settings *s, struct error *e)
{
    if (s->model_type != BPE)
        return fail(e, EK_E_UNSUPPORTED, "%s: SentencePiece model type %llu: only BPE is supported",
                    t->path, (unsigned long long)s->model_type);
    if (s->charsmap_bytes || !s->escape || s->suffix)
        return fail(e, EK_E_UNSUPPORTED, "%s: SentencePiece %s: not supported", t->path,
                    s->charsmap_bytes ? "normalization rules"
                    : s->suffix       ? "treat_whitespace_as_suffix"
                                      : "without escape_whitespaces");
    return EK_OK;
}

static int32_t known_id(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size ? id : -1;
}

static ek_status finish(struct tokenizer *t, const struct settings *set, const struct pieces *p,
                        struct error *e)
{
    ek_status s = check(t, set, e);
    if (!s) s = sentencepiece_setup(t, set->prefix != 0, set->trim != 0, e);
    if (s) return s;
    t->byte_fallback = set->byte_fallback != 0;
    t->unk = known_id(t, set->unk), t->bos = known_id(t, set->bos), t->eos = known_id(t, set->eos);
    for (size_t i = 0; !s && i < p->count; i++) {
        const int special = p->types[i] == CONTROL || p->types[i] == UNKNOWN;
        if (!t->tokens[i].bytes || (!special && p->types[i] != USER_DEFINED)) continue;
        s = added_add(t, (struct added){.id = (int32_t)i, .special = (unsigned char)special}, e);
    }
    if (t->bos >= 0) t->prefix[t->prefix_count++] = t->bos; /* as Llama's tokenizers do */
    return s ? s : merges_from_scores(t, p->scores, e);
}

ek_status read_sentencepiece(struct tokenizer *t, const unsigned char *data, size_t bytes,
                             struct error *e)
{
    struct settings set = {
        .model_type = UNIGRAM, .bos = 1, .eos = 2, .prefix = 1, .trim = 1, .escape = 1};
    struct pieces p = {NULL, NULL, 0, 0};
    struct reader r = {data, data + bytes};
    struct field  f;
    ek_status     s = EK_OK;
    int           more;
    while (!s && (more = next_field(&r, &f))) {
        if (more > 0 && f.wire == BYTES && f.number == 1) s = read_piece(t, f.inside, &p, e);
        if (more > 0 && f.wire == BYTES && f.number == 2)
            more = -(read_trainer(f.inside, &set) < 0);
        if (more > 0 && f.wire == BYTES && f.number == 3)
            more = -(read_normalizer(f.inside, &set) < 0);
        if (!s && more < 0) s = fail(e, EK_E_FORMAT, "%s: malformed protobuf", t->path);
    }
    if (!s && !p.count) s = fail(e, EK_E_FORMAT, "%s: no pieces", t->path);
    if (!s) s = finish(t, &set, &p, e);
    free(p.scores);
    free(p.types);
    return s;
}
